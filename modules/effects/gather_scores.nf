include { quoted ; repeated } from '../tools.nf'

// The shards of one set and model, in order, under one header, what they cost and how many variants were dropped.
process GATHER_SCORES {
    tag "${meta.set} ${meta.model}"
    label 'process_single'

    input:
    tuple val(meta), path(shards, stageAs: 'shards/*'), path(costs, stageAs: 'costs/*'), path(counts, stageAs: 'counts/*')
    val tool

    output:
    tuple val(meta), path("${meta.set}.${meta.model}.tsv"), emit: scores
    path "${meta.set}.${meta.model}.cost.json", emit: cost
    tuple val(meta), path("${meta.set}.${meta.model}.dropped.tsv"), emit: dropped

    script:
    """
    gather_scores.py ${repeated('--scores', shards)} ${repeated('--cost', costs)} ${repeated('--counts', counts)} \\
        --out ${quoted("${meta.set}.${meta.model}.tsv")} \\
        --out-cost ${quoted("${meta.set}.${meta.model}.cost.json")} \\
        --out-counts ${quoted("${meta.set}.${meta.model}.dropped.tsv")} ${tool.args}
    """

    stub:
    """
    touch ${meta.set}.${meta.model}.tsv ${meta.set}.${meta.model}.cost.json ${meta.set}.${meta.model}.dropped.tsv
    """
}
