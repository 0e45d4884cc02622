include { PROCAP_COVERAGE } from './procap_coverage.nf'
include { CALL_PEAKS } from './call_peaks.nf'
include { MERGE_PEAKS } from './merge_peaks.nf'
include { COUNT_WINDOWS } from './count_windows.nf'
include { MATCH_DONORS } from './match_donors.nf'
include { LIBRARY_QC } from './library_qc.nf'

// Libraries → coverage → peaks → windows → counts, with quality control. Peaks, windows or counts of one's own are taken as they are.
workflow PROCAP {
    take:
    libraries // [library, donor], reads, indices, plus, minus
    genome
    variants
    given     // map: peaks, windows, counts → files or null
    tools

    main:
    rows = libraries.map { meta, _reads, _indices, _plus, _minus -> meta }.toSortedList { left, right -> left.library <=> right.library }
    PROCAP_COVERAGE(given.counts ? channel.empty() : libraries, tools.procap_coverage)
    coverage = PROCAP_COVERAGE.out.coverage
    signal = coverage.flatMap { _meta, plus, minus -> [plus, minus] }.collect(sort: byName())

    CALL_PEAKS(given.peaks ? channel.empty() : coverage, tools.call_peaks)
    called = given.peaks ? peaksOf(given.peaks) : CALL_PEAKS.out.peaks
    merged = given.windows || given.counts ? channel.empty() : called.toSortedList { left, right -> left[0].library <=> right[0].library }.filter { found -> found }
    MERGE_PEAKS(
        merged.map { found -> found.collect { meta, peaks, elements -> [meta, peaks.name, elements.name] } },
        merged.map { found -> found.collect { _meta, peaks, _elements -> peaks } },
        merged.map { found -> found.collect { _meta, _peaks, elements -> elements } },
        genome, tools.merge_peaks,
    )
    own = given.windows ?: given.counts ? "${given.counts}/windows.bed" : null
    windows = own ? channel.value(file(own, checkIfExists: true)) : MERGE_PEAKS.out.windows

    COUNT_WINDOWS(given.counts ? channel.empty() : windows, rows, signal, tools.count_windows)
    counts = given.counts ? channel.value(file(given.counts, checkIfExists: true)) : COUNT_WINDOWS.out.counts

    aligned = (given.counts ? channel.empty() : libraries).filter { _meta, reads, _indices, _plus, _minus -> reads }.map { meta, reads, indices, _plus, _minus -> [meta, reads, indices] }
    MATCH_DONORS(aligned, variants, tools.match_donors)
    peaks = called.flatMap { _meta, peaks, elements -> [peaks, elements] }
    LIBRARY_QC(
        COUNT_WINDOWS.out.counts, PROCAP_COVERAGE.out.qc.collect(sort: byName()), signal,
        peaks.collect(sort: byName()), MATCH_DONORS.out.qc.collect(sort: byName()).ifEmpty([]),
        tools.library_qc,
    )

    emit:
    windows  = windows
    counts   = counts
    donors   = rows.map { metas -> metas*.donor.unique().sort() }
    results  = windows.mix(MERGE_PEAKS.out.summary, MERGE_PEAKS.out.metrics, counts, LIBRARY_QC.out.qc).map { path -> ['procap', path] }.mix(
        PROCAP_COVERAGE.out.qc.mix(signal.flatMap()).map { path -> ['procap/coverage', path] },
        peaks.map { path -> ['procap/peaks', path] },
    )
    records  = PROCAP_COVERAGE.out.records.mix(
        CALL_PEAKS.out.records, MERGE_PEAKS.out.records, COUNT_WINDOWS.out.records, MATCH_DONORS.out.records, LIBRARY_QC.out.records,
    )
}

/** One order of files on every run, so that -resume finds the task. */
def byName() {
    { left, right -> left.name <=> right.name }
}

/** A sheet of peaks of one's own: library donor peaks elements. */
def peaksOf(String sheet) {
    def path = file(sheet, checkIfExists: true)
    channel.of(path).splitCsv(header: true, sep: path.name.endsWith('.csv') ? ',' : '\t').map { row ->
        [[library: row.library, donor: row.donor], path.parent.resolve(row.peaks), path.parent.resolve(row.elements)]
    }
}
