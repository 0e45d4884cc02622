include { quoted } from '../tools.nf'

// A seeded cohort with a known truth: genome, genotypes, libraries, reporter assays, sheets.
process SIMULATE_COHORT {
    tag "${preset}"
    label 'process_single'

    input:
    val preset
    val tool

    output:
    path 'simulated', emit: cohort
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    """
    simulate_cohort.py --preset ${quoted(preset)} --out simulated ${tool.args}
    """

    stub:
    """
    mkdir simulated
    cd simulated
    touch genome.fa genome.fa.fai variants.vcf.gz variants.vcf.gz.tbi truth.json
    touch A.bam B.plus.bw B.minus.bw C.fastq.gz mpra_K562.tsv satmut.tsv asb.tsv
    table() { printf '%s\\n' "\$@" | tr ' ' '\\t'; }
    table 'library donor bam plus minus fastq_1' \\
        'A D1 A.bam   ' 'B D2  B.plus.bw B.minus.bw ' 'C D1    C.fastq.gz' > libraries.tsv
    table 'name table' 'K562 mpra_K562.tsv' > mpra.tsv
    table 'name kind table' 'satmut satmut satmut.tsv' 'asb adastra asb.tsv' > variant_sets.tsv
    """
}
