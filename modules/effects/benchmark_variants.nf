include { namedPaths ; quoted ; repeated } from '../tools.nf'

// All models against one table of measured variant effects.
process BENCHMARK_VARIANTS {
    tag "${meta.set}"
    label 'process_single'

    input:
    tuple val(meta), path(measured, stageAs: 'measured/*'),
        path(genome, stageAs: 'genome/*'), path(index, stageAs: 'genome/*'),
        path(scores, stageAs: 'scores/*'), val(names), path(comparators, stageAs: 'comparators/?/*')
    path kmers
    val tool

    output:
    path "${meta.set}.metrics.tsv", emit: metrics
    path "${meta.set}.points.tsv.gz", emit: points
    path "${meta.set}.curves.tsv", emit: curves
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def outside = namedPaths(names, comparators)
    """
    benchmark_variants.py ${repeated('--scores', scores)} ${repeated('--comparator', outside)} \\
        ${repeated('--kmers', kmers)} \\
        --truth ${quoted(measured)} --kind ${quoted(meta.kind)} ${repeated('--release', meta.release)} \\
        --dataset ${quoted(meta.set)} ${repeated('--fasta', genome)} --out ${quoted("${meta.set}.metrics.tsv")} \\
        --points ${quoted("${meta.set}.points.tsv.gz")} --curves ${quoted("${meta.set}.curves.tsv")} \\
        --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    touch ${quoted(meta.set)}.{metrics.tsv,points.tsv.gz,curves.tsv}
    """
}
