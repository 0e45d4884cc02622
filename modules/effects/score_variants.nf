// A shard of a variant set scored by one model: all its folds and seeds, each where it did not see the chromosome.
process SCORE_VARIANTS {
    tag "${meta.set} ${meta.model} ${shard}/${shards}"
    label 'scoring'
    label 'gpu'

    input:
    tuple val(meta), path(variants), path(genome), path(genome_index), path(models, stageAs: 'models/*'), val(shard), val(shards)
    val tool

    output:
    tuple val(meta), path("${meta.set}.${meta.model}.${shard}.tsv"), path("${meta.set}.${meta.model}.${shard}.cost.json"), path("${meta.set}.${meta.model}.${shard}.counts.tsv"), emit: scores
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def source = (meta.kind ? "--kind ${meta.kind}" : '') + (meta.release ? " --release ${meta.release}" : '')
    """
    score_variants.py ${[models].flatten().collect { path -> "--checkpoint ${path}" }.join(' ')} --name ${meta.model} \\
        --variants ${variants} ${source} --fasta ${genome} --shard ${shard}/${shards} \\
        --out ${meta.set}.${meta.model}.${shard}.tsv --cost ${meta.set}.${meta.model}.${shard}.cost.json \\
        --counts ${meta.set}.${meta.model}.${shard}.counts.tsv --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    printf 'chrom\\tpos\\tref\\talt\\tid\\tmodel\\teffect\\n' > ${meta.set}.${meta.model}.${shard}.tsv
    touch ${meta.set}.${meta.model}.${shard}.cost.json ${meta.set}.${meta.model}.${shard}.counts.tsv
    """
}
