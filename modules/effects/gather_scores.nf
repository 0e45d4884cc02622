include { anyOf ; namedPaths ; quoted ; repeated } from '../tools.nf'

// The shards of a variant set: each model's scores in the order of the variants, what they cost and what was dropped.
process GATHER_SCORES {
    tag "${meta.set}"
    label 'process_single'

    input:
    tuple val(meta), path(scores, stageAs: 'shards/*'), path(costs, stageAs: 'costs/*'),
        path(counts, stageAs: 'counts/*'), path(variants, stageAs: 'variants/*')
    val tool

    output:
    tuple val(meta), path("${meta.set}.${anyOf(modelsOf(meta, scores))}.tsv"), path("${meta.set}.*.cost.json"),
        path("${meta.set}.counts.tsv"), emit: scores
    path "${meta.set}.scored.*", optional: true, emit: annotated

    script:
    def shards = [scores].flatten().toSorted { path -> shardOf(meta, path).toInteger() }
    def named = namedPaths(shards.collect { path -> modelOf(meta, path) }, shards)
    def annotated = meta.vcf
        ? "--variants ${quoted(variants)} --out-vcf ${quoted("${meta.set}.scored.${meta.vcf}")}"
        : ''
    """
    gather_scores.py ${repeated('--scores', named)} ${repeated('--cost', costs)} ${repeated('--counts', counts)} \\
        --out ${quoted("${meta.set}.{model}.tsv")} --out-cost ${quoted("${meta.set}.{model}.cost.json")} \\
        --out-counts ${quoted("${meta.set}.counts.tsv")} ${annotated} ${tool.args}
    """

    stub:
    def files = modelsOf(meta, scores).collectMany { name -> ["${name}.tsv", "${name}.cost.json"] } + ['counts.tsv']
    """
    touch ${files.collect { name -> quoted("${meta.set}.${name}") }.join(' ')}
    """
}

/** The shard and the model of a file called SET.SHARD.MODEL.tsv. */
def shardOf(meta, path) {
    withoutSet(meta, path).tokenize('.')[0]
}

def modelOf(meta, path) {
    withoutSet(meta, path).substring(shardOf(meta, path).length() + 1) - ~/\.tsv$/
}

def withoutSet(meta, path) {
    path.toString().tokenize('/').last().substring(meta.set.length() + 1)
}

def modelsOf(meta, scores) {
    [scores].flatten().collect { path -> modelOf(meta, path) }.unique().sort()
}
