// Peaks of all libraries → consensus windows of one width, with their folds.
process MERGE_PEAKS {
    label 'single'

    input:
    val libraries
    path peaks
    path elements
    tuple path(genome), path(genome_index)
    val tool

    output:
    path 'windows.bed', emit: windows
    path 'windows.json', emit: summary
    path 'windows.metrics.tsv', emit: metrics
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def rows = libraries.collect { meta, peak, element -> "${meta.library}\t${meta.donor}\t${peak}\t${element}" }
    """
    printf '%s\\n' 'library\tdonor\tpeaks\telements' '${rows.join("' '")}' > peaks.tsv
    merge_peaks.py --sheet peaks.tsv --fasta ${genome} --out windows.bed --out-summary windows.json --out-metrics windows.metrics.tsv ${tool.args}
    """

    stub:
    """
    touch windows.bed windows.json windows.metrics.tsv
    """
}
