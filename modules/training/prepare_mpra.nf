// lentiMPRA table → training table with grouped folds; its overlap with the windows is reported.
process PREPARE_MPRA {
    tag "${name}"
    label 'single'

    input:
    tuple val(name), path(table)
    path windows
    val tool

    output:
    tuple val(name), path("${name}.tsv"), emit: table
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def compare = windows ? "--compare-windows ${windows}" : ''
    """
    prepare_mpra.py --table ${table} --name ${name} --out ${name}.tsv ${compare} --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    touch ${name}.tsv
    """
}
