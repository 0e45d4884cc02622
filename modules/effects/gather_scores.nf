// The shards of one set and model, in order, under one header.
process GATHER_SCORES {
    tag "${meta.set} ${meta.model}"
    label 'single'

    input:
    tuple val(meta), path(shards, stageAs: 'shards/*')

    output:
    tuple val(meta), path("${meta.set}.${meta.model}.tsv"), emit: scores

    script:
    """
    awk 'NR == 1 || FNR > 1' \$(printf '%s\\n' shards/* | sort -V) > ${meta.set}.${meta.model}.tsv
    """

    stub:
    """
    touch ${meta.set}.${meta.model}.tsv
    """
}
