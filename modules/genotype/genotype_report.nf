// Heterozygosity, relatedness, ancestry components and distinct haplotypes, as tidy tables.
process GENOTYPE_REPORT {
    label 'process_single'

    input:
    path haplotypes, stageAs: 'haplotypes'
    val tool

    output:
    path 'qc', emit: qc
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    """
    genotype_report.py --store haplotypes --out qc --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    mkdir qc
    touch qc/donors.tsv
    """
}
