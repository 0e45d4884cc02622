// FASTQ runs of a library → trimmed, aligned, deduplicated reads, with the reads left at every step.
process ALIGN_READS {
    tag "${meta.library}"
    label 'aligning'

    input:
    tuple val(meta), path(fastq_1, stageAs: 'read_1/?/*'), path(fastq_2, stageAs: 'read_2/?/*')
    tuple val(prefix), path(index, stageAs: 'index/*')
    path unwanted
    val tool

    output:
    tuple val(meta), path("${meta.library}.bam"), path("${meta.library}.counts.json"), emit: aligned, optional: true
    path "${meta.library}.excluded.tsv", emit: excluded, optional: true
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def options = [[fastq_1, '--fastq-1'], [fastq_2, '--fastq-2'], [unwanted, '--unwanted']].collectMany { files, option -> [files].flatten().collect { path -> "${option} ${path}" } }
    """
    align_reads.py ${options.join(' ')} --genome index/${prefix} --library ${meta.library} --out ${meta.library}.bam --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    touch ${meta.library}.bam ${meta.library}.counts.json
    """
}
