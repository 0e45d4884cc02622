// All models against one table of measured variant effects.
process BENCHMARK_VARIANTS {
    tag "${meta.set}"
    label 'single'

    input:
    tuple val(meta), path(truth), path(genome), path(genome_index), path(scores, stageAs: 'scores/*'), val(names), path(comparators, stageAs: 'comparators/?/*')
    path kmers
    val tool

    output:
    path "${meta.set}.metrics.tsv", emit: metrics
    path "${meta.set}.points.tsv.gz", emit: points
    path "${meta.set}.curves.tsv", emit: curves
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def outside = [names, [comparators].flatten()].transpose().collect { name, path -> "--comparator ${name}=${path}" }
    """
    benchmark_variants.py ${[scores].flatten().collect { path -> "--scores ${path}" }.join(' ')} --truth ${truth} --kind ${meta.kind} ${meta.release ? "--release ${meta.release}" : ''} --dataset ${meta.set} ${outside.join(' ')} --threads ${task.cpus} \\
        --fasta ${genome} ${kmers ? "--kmers ${kmers}" : ''} \\
        --out ${meta.set}.metrics.tsv --points ${meta.set}.points.tsv.gz --curves ${meta.set}.curves.tsv ${tool.args}
    """

    stub:
    """
    touch ${meta.set}.metrics.tsv ${meta.set}.points.tsv.gz ${meta.set}.curves.tsv
    """
}
