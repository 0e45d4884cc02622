// How far the running trainings are, in the log of the run.

/**
 * Twice a minute, log a line of each training that has moved: epoch, loss, time left. `state` is the folder of
 * unfinished models, where each training keeps such a line with its partial checkpoint.
 */
def followTrainings(String state) {
    def said = [:]
    def look = {
        progressLines(state).each { model, line ->
            if (said.put(model, line) != line) {
                log.info("${model}: ${line}")
            }
        }
    }
    new Timer('trainings', true).schedule(look as TimerTask, 30000, 30000)
}

/** The latest line of each unfinished model on a file system that is mounted here, by name of its folder. */
def progressLines(String state) {
    def folder = java.nio.file.Path.of(state)
    def files = java.nio.file.Files.isDirectory(folder) ? folder.toFile().listFiles().sort() : []
    files.collect { model -> new File(model, 'progress.txt') }.findAll { record -> record.exists() }
        .collectEntries { record -> [record.parentFile.name, record.text.trim()] }
}
