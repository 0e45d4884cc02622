include { SIMULATE_COHORT } from './simulate_cohort.nf'
include { CHECK_INPUTS } from './check_inputs.nf'
include { isPattern ; patternRemedy } from '../parameters.nf'

// Sheets and references, simulated or user-provided, checked together; what the user gives replaces what is simulated.
workflow INPUTS {
    take:
    simulate // preset of the simulator, or null
    given    // map: the sheets of sheetNames(), genome, variants, score → file pattern or null
    tools

    main:
    user = given.findAll { _name, path -> path }.collectEntries { name, path -> [name, givenFiles(name, path)] }
    SIMULATE_COHORT(simulate ? channel.value(simulate) : channel.empty(), tools.simulate_cohort)
    cohort = SIMULATE_COHORT.out.cohort
    sources = simulate ? cohort.map { folder -> simulatedSources(folder) + user }.first() : channel.value(user)

    CHECK_INPUTS(
        sources.map { source -> givenSheets(source) },
        sources.map { source -> withIndex(source.genome, ['.fai', '.gzi']) },
        sources.map { source -> withIndex(source.variants, ['.tbi', '.csi']) },
        sources.map { source -> isRemote(source) ? [] : listedFiles(source) },
        (user.score ?: [])*.name,
        sources.map { source -> isRemote(source) ? '--rows-only' : '' },
        tools.check_inputs,
    )
    checked = CHECK_INPUTS.out.inputs.combine(sources).map { json, source -> [parseJson(json), source] }

    emit:
    excluded     = CHECK_INPUTS.out.excluded
    libraries    = checked.flatMap { rows, source -> libraryFiles(rows.libraries, source.libraries) }
    mpra         = checked.flatMap { rows, source ->
        rows.mpra.collect { row -> [row.name, listedFile(source.mpra, row.table)] }
    }
    peaks        = checked.flatMap { rows, source -> peakFiles(rows.peaks, source.peaks) }
    variant_sets = checked.flatMap { rows, source -> variantSets(rows.variant_sets, source.variant_sets) }
    scored       = checked.flatMap { rows, _source ->
        [rows.scored, user.score ?: []].transpose().collect { name, path -> [[set: name, kind: null], path, []] }
    }
    comparators  = checked.flatMap { rows, source ->
        rows.comparators.collect { row -> [row.set, row.name, listedFile(source.comparators, row.table)] }
    }
    genome       = checked.filter { _rows, source -> source.genome }
        .map { _rows, source -> withIndex(source.genome, ['.fai', '.gzi']) }.first()
    variants     = checked.filter { _rows, source -> source.variants }
        .map { _rows, source -> withIndex(source.variants, ['.tbi', '.csi']) }.first()
    results      = CHECK_INPUTS.out.inputs.mix(cohort).map { path -> ['inputs', path] }
    records      = SIMULATE_COHORT.out.records.mix(CHECK_INPUTS.out.records)
}

def sheetNames() {
    ['libraries', 'peaks', 'mpra', 'variant_sets', 'comparators', 'covariates']
}

def parseJson(path) {
    new groovy.json.JsonSlurperClassic().parseText(path.text)
}

/** Files of a parameter: one, or for a pattern all in one order on every run. Their names are names in a task. */
def givenFiles(String name, pattern) {
    def found = file(pattern, checkIfExists: true)
    def files = [found].flatten().sort { left, right -> left.name <=> right.name }
    def twice = files.countBy { path -> path.name }.find { _name, n -> n > 1 }
    if (twice && name != 'score') {
        error("--${name} ${pattern}: ${twice.value} files are called ${twice.key}; rename all but one")
    }
    name == 'score' || found instanceof List ? files : found
}

/** The files of a simulated cohort, under the names of the parameters they replace. */
def simulatedSources(folder) {
    [
        libraries: folder.resolve('libraries.tsv'), genome: folder.resolve('genome.fa'),
        variants: folder.resolve('variants.vcf.gz'), mpra: folder.resolve('mpra.tsv'),
        variant_sets: folder.resolve('variant_sets.tsv'),
    ]
}

/** Names of the given sheets as options of check_inputs.py, and the sheets. */
def givenSheets(Map source) {
    def names = sheetNames().findAll { name -> source[name] }
    [names*.replace('_', '-'), names.collect { name -> source[name] }]
}

/** Whether sheets are on an object store: their files are checked by the tasks that read them. */
def isRemote(Map source) {
    sheetNames().any { name -> source[name] && source[name].toUriString() ==~ /\w+:\/\/.*/ }
}

/** Existing files named in the sheets: staged so that containers see them. An address that fails stops the run. */
def listedFiles(Map source) {
    def listed = sheetNames().findAll { name -> source[name] }.collectMany { name ->
        def cells = source[name].text.readLines().collectMany { line -> line.split(/[\t,]/).toList() }
        def paths = cells*.replace('"', '')*.trim().findAll { cell -> cell.contains('.') }
        paths.collect { path -> listedFile(source[name], path) }
    }.unique()
    def (found, absent) = listed.split { path -> path.isFile() }
    def failed = absent.collect { path -> path.toUriString() }.findAll { uri -> uri ==~ /\w+:\/\/.*/ }
    if (failed) {
        error("${failed.size()} of the addresses in the sheets cannot be fetched; check them and the network, or name " +
            "downloaded files:\n  ${failed.join('\n  ')}")
    }
    def patterns = found.findAll { path -> isPattern(path) }
    if (patterns) {
        error("${patterns.size()} of the files in the sheets: ${patternRemedy()}:\n  ${patterns.join('\n  ')}")
    }
    found
}

/** A path of a sheet: absolute, a URI, or relative to the sheet. */
def listedFile(sheet, String path) {
    path.startsWith('/') || path.contains('://') ? file(path, glob: false) : sheet.parent.resolve(path)
}

/** Files and those of their indices that exist, next to the files or, where a file is a link, next to its target. */
def withIndex(files, List suffixes) {
    def found = [files].flatten().findAll().collect { path ->
        def target = path.toUriString() ==~ /\w+:\/\/.*/ ? path : path.toRealPath()
        indicesOf(path, suffixes) || !indicesOf(target, suffixes) || isPattern(target) ? path : target
    }
    [found.size() == 1 ? found[0] : found, found.collectMany { path -> indicesOf(path, suffixes) }]
}

def indicesOf(path, List suffixes) {
    suffixes.collect { suffix -> path.resolveSibling("${path.name}${suffix}") }.findAll { index -> index.exists() }
}

/** One pair a library: its identity, and the files of its runs by column of the sheet. */
def libraryFiles(List rows, sheet) {
    rows.collect { row ->
        def columns = ['bam', 'plus', 'minus', 'fastq_1', 'fastq_2']
        def files = columns.collectEntries { column ->
            [column, row[column].collect { path -> listedFile(sheet, path) }]
        }
        [[library: row.library, donor: row.donor], files]
    }
}

/** Peaks and elements of each library. */
def peakFiles(List rows, sheet) {
    rows.collect { row ->
        [[library: row.library, donor: row.donor], listedFile(sheet, row.peaks), listedFile(sheet, row.elements)]
    }
}

/** A variant set, its table, and its genome with index where that is not the run's; an empty list: the run's. */
def variantSets(List rows, sheet) {
    rows.collect { row ->
        def genome = row.genome ? withIndex(listedFile(sheet, row.genome), ['.fai', '.gzi']) : []
        [[set: row.name, kind: row.kind, release: row.release ?: null], listedFile(sheet, row.table), genome]
    }
}
