// What a run leaves behind about itself: resolved parameters, versions, checksums, closing words.

/** The parameters as JSON, sorted by name. */
def parametersText(Map given) {
    groovy.json.JsonOutput.prettyPrint(groovy.json.JsonOutput.toJson(given.sort()))
}

/**
 * Files of pipeline_info, by name, from the (process, "name=value …") records of all tasks; the report is given the
 * same.
 */
def provenanceTexts(List records, Map given, List stages, runtime) {
    def tasks = records.collect { process, text ->
        [process: process.tokenize(':').last(), said: text.tokenize()*.tokenize('=').collectEntries { pair -> pair }]
    }
    [
        'params.json': parametersText(given), 'stages.tsv': stagesTable(stages),
        'versions.yml': versionsText(tasks, runtime), 'costs.tsv': costsText(tasks),
    ]
}

/** TSV: which stages the run has, and why it lacks the others. */
def stagesTable(List stages) {
    ([['stage', 'runs', 'why_not']] + stages.collect { stage -> [stage.name, stage.runs ? 'yes' : 'no', stage.why] })*.join('\t')
        .join('\n')
}

/**
 * YAML: a block of versions a process, and Nextflow itself. Tasks taken from the cache may have used others, which are
 * listed too.
 */
def versionsText(List tasks, runtime) {
    def blocks = tasks.groupBy { task -> task.process }.collect { process, group ->
        def used = group*.said*.entrySet().flatten().findAll { entry -> !entry.key.startsWith('cost.') }
        (["${process}:"] + used.groupBy { entry -> entry.key }.sort().collect { name, entries ->
            "    ${name}: '${entries*.value.unique().sort().join(', ')}'"
        }).join('\n')
    }
    (["Workflow:\n    nextflow: '${runtime}'".toString()] + blocks.sort()).join('\n')
}

/**
 * TSV: what the tasks of each process took, as their tools measured it; a task taken from the cache counts as it was
 * when it ran.
 */
def costsText(List tasks) {
    def header = ['process', 'tasks', 'seconds', 'longest_seconds', 'cpu_seconds', 'memory_mib', 'gpu_memory_mib']
    def measured = tasks.findAll { task -> task.said['cost.seconds'] }.groupBy { task -> task.process }
    def rows = measured.sort().collect { process, group ->
        def seconds = costs(group, 'seconds')
        def memory = [costs(group, 'memory_mib').max(), costs(group, 'gpu_memory_mib').max()]
        [process, group.size(), seconds.sum(), seconds.max(), costs(group, 'cpu_seconds').sum()] + memory
    }
    ([header] + rows)*.join('\t').join('\n')
}

/** One kind of cost of each task. */
def costs(List tasks, String name) {
    tasks.collect { task -> task.said["cost.${name}".toString()] as BigDecimal }
}

/**
 * Where Nextflow writes what it records of this run, below pipeline_info, as nextflow.config says: runs that stop at a
 * wrong parameter, and previews, must not touch the records of the last real run.
 */
def runFolder() {
    def start = java.lang.management.ManagementFactory.runtimeMXBean.startTime
    "runs/${new Date(start).format('yyyy-MM-dd_HH-mm-ss-SSS')}".toString()
}

/** Let trace.tsv and the others in a local pipeline_info be links to those of this run, as they appear. */
def linkRecords(outdir) {
    def info = file("${outdir}/pipeline_info")
    if (info.toUriString() ==~ /\w+:\/\/.*/) {
        return
    }
    ['timeline.html', 'execution.html', 'trace.tsv', 'dag.mmd'].each { name ->
        java.nio.file.Files.deleteIfExists(info.resolve(name))
        java.nio.file.Files.createSymbolicLink(info.resolve(name), java.nio.file.Path.of(runFolder(), name))
    }
}

/** Write a text file, its folders too. */
def writeText(String path, String text) {
    def target = file(path)
    target.parent.mkdirs()
    target.text = text + '\n'
}

/**
 * SHA-256 of the files of a local results folder, in the layout of sha256sum: those that are the same in every run of
 * the same inputs. What holds time and memory (`isTimed`) is not.
 */
def writeChecksums(outdir) {
    def root = file(outdir)
    if (root.toUriString() ==~ /\w+:\/\/.*/ || !root.isDirectory()) {
        return
    }
    def lines = []
    root.eachFileRecurse { path ->
        def name = root.relativize(path).toString()
        if (path.isFile() && !isTimed(name) && name != 'SHA256SUMS') {
            lines << "${sha256(path)}  ${name}".toString()
        }
    }
    root.resolve('SHA256SUMS').text = lines.sort { line -> line.substring(66) }.join('\n') + '\n'
}

/** Whether a result holds what the run took (records of cost, the page and figures that show them) or where its genome is. */
def isTimed(String name) {
    name ==~ /pipeline_info\/.*|.*\.cost\.json|report\/report\.html|report\/browser\/session\.xml|report\/\w+\/time-by-process\.\w+/
}

def sha256(path) {
    def digest = java.security.MessageDigest.getInstance('SHA-256')
    path.withInputStream { stream -> stream.eachByte(1 << 20) { buffer, length -> digest.update(buffer, 0, length) } }
    digest.digest().encodeHex().toString()
}
