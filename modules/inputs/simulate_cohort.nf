// A seeded cohort with a known truth: genome, genotypes, libraries, reporter assays, sheets.
process SIMULATE_COHORT {
    tag "${preset}"
    label 'single'

    input:
    val preset
    val tool

    output:
    path 'simulated', emit: cohort
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    """
    simulate_cohort.py --preset ${preset} --out simulated ${tool.args}
    """

    stub:
    """
    mkdir simulated
    cd simulated
    touch genome.fa genome.fa.fai variants.vcf.gz variants.vcf.gz.tbi truth.json
    touch A.bam B.plus.bw B.minus.bw C.fastq.gz mpra_K562.tsv satmut.tsv asb.tsv
    printf 'library\\tdonor\\tbam\\tplus\\tminus\\tfastq_1\\nA\\tD1\\tA.bam\\t\\t\\t\\nB\\tD2\\t\\tB.plus.bw\\tB.minus.bw\\t\\nC\\tD1\\t\\t\\t\\tC.fastq.gz\\n' > libraries.tsv
    printf 'name\\ttable\\nK562\\tmpra_K562.tsv\\n' > mpra.tsv
    printf 'name\\tkind\\ttable\\nsatmut\\tsatmut\\tsatmut.tsv\\nasb\\tadastra\\tasb.tsv\\n' > variant_sets.tsv
    """
}
