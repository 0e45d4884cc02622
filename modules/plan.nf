// What a run trains and scores: lists of maps, one map a task.

/** What each named model is: its architecture, the genotypes it sees, and whether it starts from lentiMPRA. */
def modelCatalogue() {
    [
        legnet: [architecture: 'legnet', genotypes: 'personal', pretrained: true],
        reference: [architecture: 'legnet', genotypes: 'reference', pretrained: true],
        shuffled: [architecture: 'legnet', genotypes: 'shuffled', pretrained: true],
        scratch: [architecture: 'legnet', genotypes: 'personal', pretrained: false],
        clipnet: [architecture: 'clipnet', genotypes: 'personal', pretrained: false],
    ]
}

/** `a,b,c` as a list, each once. */
def words(value) {
    value.toString().tokenize(',')*.trim().unique()
}

def numbers(value) {
    words(value)*.toInteger().unique()
}

/** The PRO-cap fold after the test fold stops training early. */
def validationFold(int test, Map given) {
    (test + 1) % given.folds.toInteger()
}

/** Fine-tuned models. A member's name never depends on which other folds and seeds a run has, so -resume finds it. */
def finetuningPlan(Map given) {
    words(given.models).collectMany { name ->
        [numbers(given.test_folds), numbers(given.seeds)].combinations().collect { test, seed ->
            def member = "fold${test}-seed${seed}".toString()
            def folds = [test_fold: test, validation_fold: validationFold(test, given), seed: seed]
            [model: name, member: member] + folds + modelCatalogue()[name]
        }
    }
}

/**
 * Pretrained models of each lentiMPRA table. Fine-tuning starts from the first pair of folds, so every PRO-cap test
 * fold needs it; the other pairs only widen the lentiMPRA ensemble.
 */
def pretrainingPlan(Map given) {
    def pairs = words(given.pretrain_folds)*.tokenize(':')*.collect { fold -> fold.toInteger() }
    def tests = numbers(given.test_folds)
    def wanted = [pairs, tests, numbers(given.seeds)].combinations().findAll { pair, test, _seed ->
        pair == pairs[0] || test == tests[0]
    }
    wanted.collect { pair, test, seed ->
        def member = "test${pair[0]}-val${pair[1]}-without${test}-seed${seed}".toString()
        def held_out = [test, validationFold(test, given)]
        [member: member, test_fold: pair[0], validation_fold: pair[1], seed: seed, held_out: held_out]
    }
}

/**
 * Where partial checkpoints are kept: in the work directory, which Google Batch mounts; below the task when it is an
 * object store that nobody mounts.
 */
def checkpointsIn(String work) {
    def folder = work.replaceFirst('^file://', '').replaceFirst('^gs://', '/mnt/disks/')
    folder.startsWith('/') ? "${folder}/checkpoints".toString() : 'checkpoints'
}

/** The folders of --trained: a pattern of the user's, or the name of a model that comes with Allelegro. */
def trainedFolders(pattern) {
    def inBox = "${projectDir}/assets/models/${pattern}".toString()
    pattern ==~ /\w[\w.-]*/ && file(inBox).exists() ? inBox : pattern
}

/** Sequence beyond each window, bp: what CLIPNET's windows are moved by. */
def flankWidth(Map given) {
    'clipnet' in words(given.models) ? given.clipnet_jitter.toInteger() : 0
}

/** Whether a run has windows, which libraries, peaks, regions or a counts store give it. */
def hasWindows(Map given) {
    given.simulate || given.libraries || given.peaks || given.windows || given.counts
}

/** Whether a run has counts of reads. */
def hasCounts(Map given) {
    given.simulate || given.libraries || given.counts
}

/** Whether a run has counts of reads and haplotypes, on which models are fine-tuned. */
def finetunes(Map given) {
    hasCounts(given) && (given.simulate || given.variants || given.haplotypes)
}

/** Whether a run has a model of any kind to score variants with. */
def hasModels(Map given) {
    finetunes(given) || given.simulate || given.mpra || given.trained
}

/**
 * What a run of these parameters does: a run is what its inputs allow, so each stage is also run alone. One map a
 * stage: name, runs, and why not.
 */
def runStages(Map given) {
    def sequences = given.simulate || given.haplotypes || (given.variants && hasWindows(given))
    def measured = given.simulate || given.variant_sets
    def scores = given.score && hasModels(given)
    [
        ['PRO-cap', given.simulate || given.libraries || given.peaks || given.counts, 'no --libraries'],
        ['genotypes', sequences, given.variants ? 'no windows' : 'no --variants or --haplotypes'],
        ['pretraining', !given.checkpoint && (given.simulate || given.mpra),
            given.checkpoint ? '--checkpoint is given' : 'no --mpra'],
        ['fine-tuning', finetunes(given), 'it needs PRO-cap and genotypes of the same donors'],
        ['variant effects', scores || measured && (hasModels(given) || given.comparators),
            'no --score or --variant_sets'],
    ].collect { name, runs, why -> [name: name, runs: runs as boolean, why: runs ? '' : why] }
}

/** The stages in two lines, as a run begins. */
def stagesText(List stages) {
    def runs = stages.findAll { stage -> stage.runs }*.name
    def others = stages.findAll { stage -> !stage.runs }.collect { stage -> "${stage.name} (${stage.why})" }
    ["This run: ${runs.join(', ')}"].plus(others ? ["Not in it: ${others.join(', ')}"] : []).join('\n')
}

/** Everything that is trained and scored. */
def runPlan(Map given) {
    [
        stages: runStages(given),
        windows: hasWindows(given),
        counts: hasCounts(given),
        finetunes: finetunes(given),
        haplotypes: hasWindows(given) && (given.simulate || given.variants || given.haplotypes),
        genome: given.simulate || given.genome,
        models: finetunes(given) ? finetuningPlan(given) : [],
        flank: flankWidth(given),
        tested: numbers(given.test_folds).collectMany { test -> [test, validationFold(test, given)] }.unique(),
        pretrained: given.checkpoint ? [] : pretrainingPlan(given),
        covariates: given.covariates,
        checkpoint: given.checkpoint,
        pretrained_from: given.pretrained_from,
        start_folds: words(given.pretrain_folds)[0].tokenize(':')*.toInteger(),
        state: "${given.checkpoints ?: checkpointsIn(workflow.workDir.toUriString())}/${workflow.sessionId}".toString(),
        shards: given.shards.toInteger(),
        libraries_per_task: given.libraries_per_task.toInteger(),
        saturate: given.saturate,
        scoring: given.score_models ? words(given.score_models) : null,
        trained: trainedFolders(given.trained),
        nulls: given.null_variants,
        annotation: given.annotation,
        motifs: given.motifs,
    ]
}
