include { SIMULATE_COHORT } from './simulate_cohort.nf'
include { CHECK_INPUTS } from './check_inputs.nf'

// Sheets and references, simulated or the user's own, checked together; what the user gives replaces what is simulated.
workflow INPUTS {
    take:
    simulate // preset of the simulator, or null
    given    // map: libraries, genome, variants, mpra, variant_sets, comparators → file or null
    tools

    main:
    own = given.findAll { _name, path -> path }.collectEntries { name, path -> [name, inOrder(file(path, checkIfExists: true))] }
    if (simulate) {
        SIMULATE_COHORT(simulate, tools.simulate_cohort)
        cohort = SIMULATE_COHORT.out.cohort
        sources = cohort.map { folder -> simulatedSources(folder) + own }
        records  = SIMULATE_COHORT.out.records
    }
    else {
        cohort = channel.empty()
        sources = channel.value(own)
        records  = channel.empty()
    }

    CHECK_INPUTS(sources.map { source -> checkedFiles(source) }, tools.check_inputs)
    checked = CHECK_INPUTS.out.inputs.combine(sources).map { json, source -> [parseJson(json), source] }

    emit:
    excluded     = CHECK_INPUTS.out.excluded
    libraries    = checked.flatMap { rows, source -> libraryFiles(rows.libraries, source.libraries) }
    mpra         = checked.flatMap { rows, source -> rows.mpra.collect { row -> [row.name, beside(source.mpra, row.table)] } }
    variant_sets = checked.flatMap { rows, source ->
        rows.variant_sets.collect { row -> [[set: row.name, kind: row.kind, release: row.release ?: null], beside(source.variant_sets, row.table), ownGenome(source.variant_sets, row.genome)] }
    }
    comparators  = checked.flatMap { rows, source -> rows.comparators.collect { row -> [row.set, row.name, beside(source.comparators, row.table)] } }
    genome       = checked.filter { _rows, source -> source.genome }.map { _rows, source -> withIndex(source.genome, ['.fai', '.gzi']) }.first()
    variants     = checked.filter { _rows, source -> source.variants }.map { _rows, source -> withIndex(source.variants, ['.tbi', '.csi']) }.first()
    results      = CHECK_INPUTS.out.inputs.map { path -> ['inputs', path] }.mix(cohort.map { path -> ['inputs', path] })
    records      = records.mix(CHECK_INPUTS.out.records)
}

def parseJson(path) {
    new groovy.json.JsonSlurperClassic().parseText(path.text)
}

/** The files of a simulated cohort, under the names of the parameters they stand for. */
def simulatedSources(folder) {
    [
        libraries: folder.resolve('libraries.tsv'), genome: folder.resolve('genome.fa'),
        variants: folder.resolve('variants.vcf.gz'), mpra: folder.resolve('mpra.tsv'),
        variant_sets: folder.resolve('variant_sets.tsv'),
    ]
}

/** Options of check_inputs.py and the files it opens; files of sheets on an object store are checked by the tasks that read them. */
def checkedFiles(Map source) {
    def sheets = ['libraries', 'mpra', 'variant_sets', 'comparators'].findAll { name -> source[name] }
    def references = ['genome', 'variants'].findAll { name -> source[name] }
    def remote = sheets.any { name -> source[name].toUriString() ==~ /\w+:\/\/.*/ }
    def options = (sheets + references).collectMany { name ->
        [source[name]].flatten().collect { path -> "--${name.replace('_', '-')} ${sheets.contains(name) ? 'sheets' : 'references'}/'${path.name}'" }
    }
    def opened = references.collectMany { name -> withIndex(source[name], ['.fai', '.gzi', '.tbi', '.csi']).flatten() }
    def listed = remote ? [] : sheets.collectMany { name -> listedFiles(source[name]) }
    [(options + (remote ? ['--rows-only'] : [])).join(' '), sheets.collect { name -> source[name] }, opened, listed]
}

/** Existing files named in a sheet: staged so that containers see them. */
def listedFiles(sheet) {
    def cells = sheet.text.readLines().collectMany { line -> line.split(/[\t,]/).toList() }*.trim()
    cells.findAll { cell -> cell.contains('.') }.collect { cell -> beside(sheet, cell) }.findAll { path -> path.isFile() }.unique()
}

/** A path of a sheet: absolute, a URI, or relative to the sheet. */
def beside(sheet, String path) {
    path.startsWith('/') || path.contains('://') ? file(path) : sheet.parent.resolve(path)
}

/** The files of a glob in one order on every run; a single file as it is. */
def inOrder(files) {
    files instanceof List ? files.sort { left, right -> left.name <=> right.name } : files
}

/** Genome and index of a variant set on another assembly than the run's; an empty list: the run's. */
def ownGenome(sheet, path) {
    path ? withIndex(beside(sheet, path), ['.fai', '.gzi']) : []
}

/** A file (or several) and those of the indices that exist. */
def withIndex(files, List suffixes) {
    def indices = [files].flatten().collectMany { path -> suffixes.collect { suffix -> path.resolveSibling("${path.name}${suffix}") } }
    [files, indices.findAll { index -> index.exists() }]
}

/** One pair a library: its identity, and the files of its runs by column of the sheet. */
def libraryFiles(List rows, sheet) {
    rows.collect { row ->
        def columns = ['bam', 'plus', 'minus', 'fastq_1', 'fastq_2']
        [[library: row.library, donor: row.donor], columns.collectEntries { column -> [column, row[column].collect { path -> beside(sheet, path) }] }]
    }
}
