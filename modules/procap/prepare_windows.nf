include { quoted } from '../tools.nf'

// User-provided regions, any BED → windows of one width, with folds where models are trained on them.
process PREPARE_WINDOWS {
    label 'process_single'

    input:
    path regions, stageAs: 'regions/*'
    tuple path(genome, stageAs: 'genome/*'), path(genome_index, stageAs: 'genome/*')
    val folds
    val tool

    output:
    path 'windows.bed', emit: windows
    path 'windows.json', emit: summary
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    """
    prepare_windows.py --windows ${quoted(regions)} --fasta ${quoted(genome)} \\
        --out windows.bed --out-summary windows.json ${tool.args} ${folds ? '' : '--no-folds'}
    """

    stub:
    """
    touch windows.bed windows.json
    """
}
