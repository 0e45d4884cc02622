include { quoted ; repeated } from '../tools.nf'

// A shard of a variant set scored by one model: all its folds and seeds, each where it did not see the chromosome.
process SCORE_VARIANTS {
    tag "${meta.set} ${meta.model} ${shard}/${shards}"
    label 'process_low'
    label 'process_gpu'

    input:
    tuple val(meta), path(variants, stageAs: 'variants/*'),
        path(genome, stageAs: 'genome/*'), path(index, stageAs: 'genome/*'),
        path(models, stageAs: 'models/?/*'), val(shard), val(shards)
    val tool

    output:
    tuple val(meta), path("${out}.tsv"), path("${out}.cost.json"), path("${out}.counts.tsv"), emit: scores
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    out = "${meta.set}.${meta.model}.${shard}"
    """
    score_variants.py ${repeated('--checkpoint', models)} --name ${quoted(meta.model)} \\
        --variants ${quoted(variants)} ${repeated('--kind', meta.kind)} ${repeated('--release', meta.release)} \\
        --fasta ${quoted(genome)} --shard ${shard}/${shards} --out ${quoted("${out}.tsv")} \\
        --cost ${quoted("${out}.cost.json")} --counts ${quoted("${out}.counts.tsv")} \\
        --threads ${task.cpus} ${tool.args}
    """

    stub:
    out = "${meta.set}.${meta.model}.${shard}"
    """
    printf 'chrom\\tpos\\tref\\talt\\tid\\tmodel\\teffect\\n' > ${quoted("${out}.tsv")}
    touch ${quoted("${out}.cost.json")} ${quoted("${out}.counts.tsv")}
    """
}
