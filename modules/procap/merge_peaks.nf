include { quoted ; tableCommand } from '../tools.nf'

// Peaks of all libraries → consensus windows of one width, with their folds.
process MERGE_PEAKS {
    label 'process_single'

    input:
    val libraries
    path peaks, stageAs: 'peaks/?/*'
    path elements, stageAs: 'elements/?/*'
    tuple path(genome, stageAs: 'genome/*'), path(genome_index, stageAs: 'genome/*')
    val tool

    output:
    path 'windows.bed', emit: windows
    path 'windows.json', emit: summary
    path 'windows.metrics.tsv', emit: metrics
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def files = [[peaks].flatten(), [elements].flatten()].transpose()
    def rows = [libraries, files].transpose().collect { meta, pair -> [meta.library, meta.donor] + pair }
    """
    ${tableCommand('peaks.tsv', [['library', 'donor', 'peaks', 'elements']] + rows)}
    merge_peaks.py --sheet peaks.tsv --fasta ${quoted(genome)} \\
        --out windows.bed --out-summary windows.json --out-metrics windows.metrics.tsv ${tool.args}
    """

    stub:
    """
    touch windows.bed windows.json windows.metrics.tsv
    """
}
