include { quoted ; repeated } from '../tools.nf'

// The linear k-mer model that the networks must beat, fitted on lentiMPRA outside the windows that are tested.
process FIT_KMERS {
    tag "${table.simpleName}"
    label 'process_single'

    input:
    path table
    path windows, stageAs: 'windows/*'
    val folds
    val tool

    output:
    path 'kmers.npz', emit: kmers
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    """
    fit_kmers.py --table ${quoted(table)} ${repeated('--held-out-windows', windows)} \\
        ${repeated('--held-out-fold', folds)} --out kmers.npz --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    touch kmers.npz
    """
}
