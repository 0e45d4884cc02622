include { quoted } from '../tools.nf'

// The whole run in one HTML file, from the results laid out as they are published.
process BUILD_REPORT {
    label 'process_single'

    input:
    val folders
    path files, stageAs: 'files/?/*'
    val provenance
    val tool

    output:
    path 'report', emit: report
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def rows = [folders, [files].flatten()].transpose().groupBy { folder, _path -> folder }
    def staged = rows.collect { folder, pairs ->
        def paths = pairs.collect { _folder, path -> "\"\$PWD\"/${quoted(path)}" }.join(' ')
        "mkdir -p results/${quoted(folder)}\nln -s -t results/${quoted(folder)} ${paths}"
    }
    def written = provenance.collect { name, text -> "printf '%s\\n' ${quoted(text)} > results/pipeline_info/${name}" }
    """
    mkdir -p results/pipeline_info
    ${(staged + written).join('\n')}
    build_report.py --results results --out results/report ${tool.args}
    mv results/report report
    """

    stub:
    """
    mkdir -p report/figures report/data report/browser
    touch report/report.html
    """
}
