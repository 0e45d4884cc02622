include { quoted ; repeated } from '../tools.nf'

// Does each library belong to its donor? Concordance of its reads over SNPs with the genotypes.
process MATCH_DONORS {
    tag "${meta.library}"
    label 'process_single'

    input:
    tuple val(meta), path(reads, stageAs: 'reads/?/*'),
        path(reference, stageAs: 'reference/*'), path(indices, stageAs: 'reference/*')
    tuple path(variants, stageAs: 'variants/*'), path(variants_index, stageAs: 'variants/*')
    val tool

    output:
    path "${meta.library}.donors.tsv", emit: qc
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    """
    match_donors.py ${repeated('--reads', reads)} ${repeated('--reference', reference)} \\
        ${repeated('--vcf', variants)} --library ${quoted(meta.library)} --donor ${quoted(meta.donor)} \\
        --out ${quoted("${meta.library}.donors.tsv")} --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    touch ${quoted(meta.library)}.donors.tsv
    """
}
