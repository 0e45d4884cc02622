include { quoted ; repeated } from '../tools.nf'

// lentiMPRA table → training table with grouped folds; its overlap with the windows is reported.
process PREPARE_MPRA {
    tag "${name}"
    label 'process_single'

    input:
    tuple val(name), path(table, stageAs: 'table/*')
    path windows, stageAs: 'windows/*'
    val tool

    output:
    tuple val(name), path("${name}.tsv"), emit: table
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    """
    prepare_mpra.py --table ${quoted(table)} --name ${quoted(name)} --out ${quoted("${name}.tsv")} \\
        ${repeated('--compare-windows', windows)} --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    touch ${quoted(name)}.tsv
    """
}
