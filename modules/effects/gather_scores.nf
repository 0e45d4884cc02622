// The shards of one set and model, in order, under one header, and what they cost together.
process GATHER_SCORES {
    tag "${meta.set} ${meta.model}"
    label 'single'

    input:
    tuple val(meta), path(shards, stageAs: 'shards/*'), path(costs, stageAs: 'costs/*')
    val tool

    output:
    tuple val(meta), path("${meta.set}.${meta.model}.tsv"), emit: scores
    path "${meta.set}.${meta.model}.cost.json", emit: cost

    script:
    """
    gather_scores.py \$(printf -- '--scores %s\\n' shards/* | sort -V) \$(printf -- '--cost %s\\n' costs/* | sort -V) \\
        --out ${meta.set}.${meta.model}.tsv --out-cost ${meta.set}.${meta.model}.cost.json ${tool.args}
    """

    stub:
    """
    touch ${meta.set}.${meta.model}.tsv ${meta.set}.${meta.model}.cost.json
    """
}
