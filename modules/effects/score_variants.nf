include { anyOf ; namedPaths ; quoted ; repeated } from '../tools.nf'

// A shard of a variant set scored by all models, each with all its folds and seeds where they did not see the locus.
process SCORE_VARIANTS {
    tag "${meta.set}${shards > 1 ? " ${shard}/${shards}" : ''}"
    label 'process_low'
    label 'process_gpu'

    input:
    tuple val(meta), path(variants, stageAs: 'variants/*'),
        path(genome, stageAs: 'genome/*'), path(index, stageAs: 'genome/*'),
        path(windows, stageAs: 'windows/*'), val(shard), val(shards)
    tuple val(names), path(models, stageAs: 'models/?/*')
    val tool

    output:
    tuple val(meta), path("${out}.${anyOf(names.unique(false))}.tsv"), path("${out}.*.cost.json"),
        path("${out}.counts.tsv"), emit: scores
    path "${meta.set}.scored.*", optional: true, emit: annotated
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    out = shards > 1 ? "${meta.set}.${shard}" : meta.set
    def named = namedPaths(names, models)
    def annotated = meta.vcf ? "--out-vcf ${quoted("${meta.set}.scored.${meta.vcf}")}" : ''
    """
    score_variants.py ${repeated('--model', named)} ${repeated('--windows', windows)} \\
        --variants ${quoted(variants)} ${repeated('--kind', meta.kind)} ${repeated('--release', meta.release)} \\
        --null ${meta.nulls} --fasta ${quoted(genome)} --shard ${shard}/${shards} --out ${quoted("${out}.{model}.tsv")} \\
        --cost ${quoted("${out}.{model}.cost.json")} --counts ${quoted("${out}.counts.tsv")} ${annotated} \\
        --threads ${task.cpus} ${tool.args}
    """

    stub:
    out = shards > 1 ? "${meta.set}.${shard}" : meta.set
    def files = names.unique(false).collectMany { name -> ["${out}.${name}.tsv", "${out}.${name}.cost.json"] }
    """
    touch ${(files + ["${out}.counts.tsv"]).collect { name -> quoted(name) }.join(' ')}
    """
}
