include { quoted } from '../tools.nf'

// The linear k-mer model that the networks must beat, fitted on lentiMPRA.
process FIT_KMERS {
    tag "${table.simpleName}"
    label 'process_single'

    input:
    path table
    val tool

    output:
    path 'kmers.npz', emit: kmers
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    """
    fit_kmers.py --table ${quoted(table)} --out kmers.npz --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    touch kmers.npz
    """
}
