include { quoted ; repeated } from '../tools.nf'

// Reads of each haplotype of a library's donor in every window, and both alleles' reads a SNV. A library that cannot
// tell haplotypes apart is warned of, and the run goes on without its allelic reads.
process COUNT_ALLELES {
    tag "${meta.library}"
    label 'process_single'

    input:
    tuple val(meta), path(reads, stageAs: 'reads/?/*'), path(alignment, stageAs: 'alignment/*'),
        path(reference, stageAs: 'reference/*'), path(indices, stageAs: 'reference/*')
    tuple path(variants, stageAs: 'variants/*'), path(variants_index, stageAs: 'variants/*')
    path windows, stageAs: 'windows/*'
    val tool

    output:
    path "${meta.library}.{alleles.json,allelic.npy,reference.npy}", emit: counts, optional: true
    path "${meta.library}.snvs.tsv.gz", emit: snvs, optional: true
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    """
    count_alleles.py ${repeated('--reads', reads)} ${repeated('--reference', reference)} \\
        ${repeated('--alignment-report', alignment)} ${repeated('--vcf', variants)} --windows ${quoted(windows)} \\
        --library ${quoted(meta.library)} --donor ${quoted(meta.donor)} --out-prefix ${quoted(meta.library)} \\
        --skip-unusable --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    touch ${quoted(meta.library)}.{alleles.json,allelic.npy,reference.npy,snvs.tsv.gz}
    """
}
