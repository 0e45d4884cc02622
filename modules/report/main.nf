include { BUILD_REPORT } from './build_report.nf'

// Everything worth showing, staged in the layout of the results folder, into one HTML file.
workflow REPORT {
    take:
    results    // subfolder of the results, file
    provenance // map: file of pipeline_info → text
    tools

    main:
    BUILD_REPORT(
        inFolder(results, 'inputs'), inFolder(results, 'procap'), inFolder(results, 'procap/coverage'), inFolder(results, 'procap/peaks'),
        inFolder(results, 'genotype'), inFolder(results, 'training'), inFolder(results, 'training/mpra'),
        inFolder(results, 'training/pretrained'), inFolder(results, 'training/finetuned'), inFolder(results, 'effects'),
        inFolder(results, 'effects/scores'), inFolder(results, 'effects/benchmarks'), provenance, tools.build_report,
    )

    emit:
    report   = BUILD_REPORT.out.report
    records  = BUILD_REPORT.out.records
}

/** The files of one subfolder, in one order on every run, or an empty list when there are none. */
def inFolder(results, String name) {
    results.filter { folder, _path -> folder == name }.flatMap { _folder, path -> [path].flatten() }
        .toSortedList { left, right -> left.name <=> right.name }
}
