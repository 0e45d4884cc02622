include { quoted ; repeated } from '../tools.nf'

// Which bases both alleles of the top variants of a set rely on, for logos side by side.
process EXPLAIN_VARIANTS {
    tag "${set}"
    label 'process_low'
    label 'process_gpu'

    input:
    tuple val(set), path(scores, stageAs: 'scores/*'), path(ranked, stageAs: 'ranked/*'),
        path(genome, stageAs: 'genome/*'), path(index, stageAs: 'genome/*'),
        val(model), path(models, stageAs: 'models/?/*')
    val tool

    output:
    path "${set}.importance.tsv", emit: importance
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    """
    explain_variants.py ${repeated('--checkpoint', models)} --name ${quoted(model)} --scores ${quoted(scores)} \\
        --variants ${quoted(ranked)} --fasta ${quoted(genome)} --out ${quoted("${set}.importance.tsv")} --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    touch ${quoted("${set}.importance.tsv")}
    """
}
