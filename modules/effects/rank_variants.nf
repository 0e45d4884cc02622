include { quoted ; repeated } from '../tools.nf'

// One row a variant of --score: the score to use, its rank, how far to trust it, gene, motif and frequency.
process RANK_VARIANTS {
    tag "${meta.set}"
    label 'process_single'

    input:
    tuple val(meta), path(scores, stageAs: 'scores/*'), path(variants, stageAs: 'variants/*')
    path points, stageAs: 'points/*'
    path counts, stageAs: 'counts/*'
    path annotation, stageAs: 'annotation/*'
    path motifs, stageAs: 'motifs/*'
    tuple path(genome, stageAs: 'genome/*'), path(genome_index, stageAs: 'genome/*')
    val tool

    output:
    tuple val(meta.set), path("${meta.set}.variants.tsv"), emit: variants
    path "${meta.set}.calibration.tsv", emit: calibration
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    """
    rank_variants.py ${repeated('--scores', scores)} ${repeated('--points', points)} \\
        ${repeated('--counts', counts)} ${repeated('--annotation', annotation)} \\
        ${repeated('--motifs', motifs)} --fasta ${quoted(genome)} \\
        ${meta.vcf ? repeated('--variants', variants) : ''} --out ${quoted("${meta.set}.variants.tsv")} \\
        --out-calibration ${quoted("${meta.set}.calibration.tsv")} --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    touch ${quoted("${meta.set}.variants.tsv")} ${quoted("${meta.set}.calibration.tsv")}
    """
}
