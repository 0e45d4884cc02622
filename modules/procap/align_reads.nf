include { quoted ; repeated } from '../tools.nf'

// FASTQ runs of a library → trimmed, aligned, deduplicated reads, with the reads left at every step. With genotypes,
// reads that do not come back to their place with the donor's alleles swapped are marked.
process ALIGN_READS {
    tag "${meta.library}"
    label 'process_high'

    input:
    tuple val(meta), path(fastq_1, stageAs: 'read_1/?/*'), path(fastq_2, stageAs: 'read_2/?/*')
    tuple val(prefix), path(index, stageAs: 'index/*')
    path unwanted, stageAs: 'unwanted/*'
    tuple path(variants, stageAs: 'variants/*'), path(variants_index, stageAs: 'variants/*')
    val tool

    output:
    tuple val(meta), path("${meta.library}.bam"), path("${meta.library}.counts.json"), emit: aligned, optional: true
    path "${meta.library}.excluded.tsv", emit: excluded, optional: true
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def donor = variants ? "--donor ${quoted(meta.donor)} --skip-unusable" : ''
    """
    align_reads.py ${repeated('--fastq-1', fastq_1)} ${repeated('--fastq-2', fastq_2)} \\
        ${repeated('--unwanted', unwanted)} --genome ${quoted("index/${prefix}")} \\
        ${repeated('--vcf', variants)} ${donor} \\
        --library ${quoted(meta.library)} --out ${quoted("${meta.library}.bam")} \\
        --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    touch ${quoted(meta.library)}.{bam,counts.json}
    """
}
