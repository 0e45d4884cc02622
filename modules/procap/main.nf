include { inTasks } from '../tools.nf'
include { INDEX_GENOME } from './index_genome.nf'
include { ALIGN_READS } from './align_reads.nf'
include { PROCAP_COVERAGE } from './procap_coverage.nf'
include { CALL_PEAKS } from './call_peaks.nf'
include { MERGE_PEAKS } from './merge_peaks.nf'
include { COUNT_ALLELES } from './count_alleles.nf'
include { CALL_ALLELIC_EVENTS } from './call_allelic_events.nf'
include { PREPARE_WINDOWS } from './prepare_windows.nf'
include { COUNT_WINDOWS } from './count_windows.nf'
include { MATCH_DONORS } from './match_donors.nf'
include { LIBRARY_QC } from './library_qc.nf'

// Libraries → coverage → peaks → windows → counts, with quality control. User-provided peaks, windows or counts
// replace what makes them.
workflow PROCAP {
    take:
    libraries // [library, donor], map of files: bam, plus, minus, fastq_1, fastq_2
    excluded  // table of libraries that are excluded already
    peaks     // user-provided: [library, donor], peaks, elements
    genome
    variants
    given     // map: peaks, windows, counts, blacklist, tss, bowtie2_index, unwanted → files or null
    plan      // see runPlan
    tools

    main:
    kind = (given.counts ? channel.empty() : libraries).branch { _meta, files ->
        fastq: files.fastq_1
        other: true
    }
    unindexed = given.bowtie2_index ? channel.empty() : kind.fastq.take(1).combine(genome).map { row -> row[2] }
    INDEX_GENOME(unindexed)
    index = given.bowtie2_index ? channel.value(bowtieIndex(given.bowtie2_index)) : INDEX_GENOME.out.index.first()
    reads_of = kind.fastq.map { meta, files -> [meta, files.fastq_1, files.fastq_2] }
    ALIGN_READS(reads_of, index, givenFile(given.unwanted), variants.ifEmpty([[], []]), tools.align_reads)

    aligned = ALIGN_READS.out.aligned.map { meta, bam, report -> [meta, [bam], report, [], []] }
    readable = kind.other.map { meta, files -> [meta, files.bam, [], files.plus, files.minus] }.mix(aligned)
    PROCAP_COVERAGE(
        withReference(inTasks(readable, plan.libraries_per_task), genome), givenFile(given.blacklist), tools.procap_coverage,
    )
    coverage = byLibrary(PROCAP_COVERAGE.out.coverage, ['plus.bw', 'minus.bw'])
    libraries.count().combine(coverage.count()).subscribe { all, left ->
        requireLibraries(given.counts ? 0 : all, left)
    }
    table = given.counts && file("${given.counts}/libraries.tsv").exists() ? "${given.counts}/libraries.tsv" : null
    counted_of = !table ? libraries.map { meta, _files -> meta } : channel.fromPath(table)
        .splitCsv(header: true, sep: '\t').map { row -> [library: row.library, donor: row.donor] }
    usable = given.counts ? counted_of : coverage.map { meta, _plus, _minus -> meta }
    rows = usable.toSortedList { left, right -> left.library <=> right.library }
    signal = coverage.flatMap { _meta, plus, minus -> [plus, minus] }.collect(sort: byName())

    CALL_PEAKS(inTasks(given.peaks ? channel.empty() : coverage, plan.libraries_per_task), tools.call_peaks)
    called = given.peaks ? peaks : byLibrary(CALL_PEAKS.out.peaks, ['peaks.bed', 'elements.bed'])
    merged = (given.windows || given.counts ? channel.empty() : called)
        .toSortedList { left, right -> left[0].library <=> right[0].library }.filter { found -> found }
    MERGE_PEAKS(
        merged.map { found -> found.collect { row -> row[0] } },
        merged.map { found -> found.collect { row -> row[1] } },
        merged.map { found -> found.collect { row -> row[2] } },
        genome, tools.merge_peaks,
    )
    regions = given.windows ? channel.value(file(given.windows, checkIfExists: true)) : channel.empty()
    PREPARE_WINDOWS(regions, genome, plan.finetunes, tools.prepare_windows)
    counted = given.counts ? channel.value(file("${given.counts}/windows.bed", checkIfExists: true)) : MERGE_PEAKS.out.windows
    windows = given.windows ? PREPARE_WINDOWS.out.windows : counted

    reads = readable.filter { row -> row[1] }.join(coverage).map { row -> row[0..2] }
    counting = given.counts ? channel.empty() : withReference(inTasks(reads, plan.libraries_per_task), genome)
    COUNT_ALLELES(counting, variants, windows, tools.count_alleles)
    snvs = COUNT_ALLELES.out.snvs.flatten().toSortedList(byName()).filter { found -> found }
    CALL_ALLELIC_EVENTS(snvs, tools.call_allelic_events)
    alleles = COUNT_ALLELES.out.counts.flatten().toSortedList(byName())

    COUNT_WINDOWS(given.counts ? channel.empty() : windows, rows, signal, alleles, tools.count_windows)
    counts = given.counts ? channel.value(file(given.counts, checkIfExists: true)) : COUNT_WINDOWS.out.counts

    matching = withReference(inTasks(reads.map { row -> row[0..1] }, plan.libraries_per_task), genome)
    MATCH_DONORS(matching, variants, tools.match_donors)
    bad = excluded.mix(ALIGN_READS.out.excluded, PROCAP_COVERAGE.out.excluded.flatten())
    called_files = called.flatMap { meta, found, elements ->
        [found, elements].findAll { path -> path.name.replaceFirst(/\.(peaks|elements)\.bed$/, '') == meta.library }
    }
    LIBRARY_QC(
        COUNT_WINDOWS.out.counts, PROCAP_COVERAGE.out.qc.collect(sort: byName()), signal,
        called_files.toSortedList(byName()), MATCH_DONORS.out.qc.flatten().toSortedList(byName()),
        bad.toSortedList(byName()), givenFile(given.tss), tools.library_qc,
    )

    emit:
    windows  = windows
    counts   = counts
    donors   = rows.map { metas -> metas*.donor.unique().sort() }
    results  = windows.mix(
            MERGE_PEAKS.out.summary, PREPARE_WINDOWS.out.summary, MERGE_PEAKS.out.metrics, counts, LIBRARY_QC.out.qc,
        ).map { path -> ['procap', path] }.mix(
            PROCAP_COVERAGE.out.qc.flatten().mix(signal.flatMap()).map { path -> ['procap/coverage', path] },
            called_files.map { path -> ['procap/peaks', path] },
            COUNT_ALLELES.out.snvs.flatten().mix(CALL_ALLELIC_EVENTS.out.events, alleles.flatMap().filter { path -> path.name.endsWith('.json') })
                .map { path -> ['procap/alleles', path] },
            ALIGN_READS.out.aligned.map { _meta, _bam, report -> ['procap/alignment', report] },
        )
    records  = INDEX_GENOME.out.records.mix(
        ALIGN_READS.out.records, PROCAP_COVERAGE.out.records, CALL_PEAKS.out.records, MERGE_PEAKS.out.records,
        PREPARE_WINDOWS.out.records, COUNT_ALLELES.out.records, CALL_ALLELIC_EVENTS.out.records,
        COUNT_WINDOWS.out.records, MATCH_DONORS.out.records, LIBRARY_QC.out.records,
    )
}

/** One order of files on every run, so that -resume finds the task. */
def byName() {
    { left, right -> left.name <=> right.name }
}

/** Tasks that begin with [libraries, counts, reads], with the genome and its indices where a CRAM needs it. */
def withReference(tasks, genome) {
    tasks.combine(genome).map { task ->
        def cram = task[2].any { path -> path.name.endsWith('.cram') }
        task[0..-3] + (cram ? task[-2..-1] : [[], []])
    }
}

/** [library, file…] of what tasks made of their libraries: files called by the library; one that failed has none. */
def byLibrary(made, List suffixes) {
    made.flatMap { row ->
        def files = row.tail().flatten()
        def rows = row[0].collect { meta ->
            [meta] + suffixes.collect { suffix -> files.find { path -> path.name == "${meta.library}.${suffix}" } }
        }
        rows.findAll { found -> found.every() }
    }
}

/** Stop when no library can be used. */
def requireLibraries(all, left) {
    if (all && !left) {
        error("none of the ${all} libraries can be used; the warnings above say why of each")
    }
}

/** A user-provided file, or none. */
def givenFile(given) {
    given ? file(given, checkIfExists: true) : []
}

/** A bowtie2 index by its prefix, as that of INDEX_GENOME: name and files. */
def bowtieIndex(String prefix) {
    def files = file("${prefix}.*bt2*")
    if (!files) {
        error("--bowtie2_index ${prefix}: no ${prefix}.1.bt2; give the prefix that bowtie2-build was given")
    }
    [file(prefix).name, files]
}
