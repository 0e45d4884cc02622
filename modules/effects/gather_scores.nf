// The shards of one set and model, in order, under one header, what they cost and how many variants were dropped.
process GATHER_SCORES {
    tag "${meta.set} ${meta.model}"
    label 'single'

    input:
    tuple val(meta), path(shards, stageAs: 'shards/*'), path(costs, stageAs: 'costs/*'), path(counts, stageAs: 'counts/*')
    val tool

    output:
    tuple val(meta), path("${meta.set}.${meta.model}.tsv"), emit: scores
    path "${meta.set}.${meta.model}.cost.json", emit: cost
    tuple val(meta), path("${meta.set}.${meta.model}.dropped.tsv"), emit: dropped

    script:
    """
    gather_scores.py \$(printf -- '--scores %s\\n' shards/* | sort -V) \$(printf -- '--cost %s\\n' costs/* | sort -V) \\
        \$(printf -- '--counts %s\\n' counts/* | sort -V) --out ${meta.set}.${meta.model}.tsv \\
        --out-cost ${meta.set}.${meta.model}.cost.json --out-counts ${meta.set}.${meta.model}.dropped.tsv ${tool.args}
    """

    stub:
    """
    touch ${meta.set}.${meta.model}.tsv ${meta.set}.${meta.model}.cost.json ${meta.set}.${meta.model}.dropped.tsv
    """
}
