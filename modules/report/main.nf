include { BUILD_REPORT } from './build_report.nf'

// Everything worth showing, staged in the layout of the results folder, into one HTML file.
workflow REPORT {
    take:
    results    // subfolder of the results, file
    provenance // map: file of pipeline_info → text
    tools

    main:
    // In one order on every run, so that -resume finds the task.
    found = results.toSortedList { left, right -> left[0] <=> right[0] ?: left[1].name <=> right[1].name }
    BUILD_REPORT(
        found.map { rows -> rows.collect { row -> row[0] } }, found.map { rows -> rows.collect { row -> row[1] } },
        provenance, tools.build_report,
    )

    emit:
    report   = BUILD_REPORT.out.report
    records  = BUILD_REPORT.out.records
}
