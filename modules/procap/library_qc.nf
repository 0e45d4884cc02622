// Quality of every library and of the cohort, as tidy tables.
process LIBRARY_QC {
    label 'single'

    input:
    path counts
    path reports
    path coverage
    path peaks
    path donors
    path excluded
    path tss
    val tool

    output:
    path 'qc', emit: qc
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    """
    library_qc.py --counts ${counts} --folder . --out qc ${tss ? "--tss ${tss}" : ''} --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    mkdir qc
    touch qc/libraries.tsv
    """
}
