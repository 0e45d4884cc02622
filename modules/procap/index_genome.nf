include { quoted } from '../tools.nf'

// The genome's bowtie2 index, for FASTQ rows without --bowtie2_index.
process INDEX_GENOME {
    label 'process_high'

    input:
    path genome, stageAs: 'genome/*'

    output:
    tuple val('genome'), path('genome.*.bt2*'), emit: index
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    """
    command -v bowtie2-build > /dev/null || {
        echo 'error: not on PATH: bowtie2-build; install bowtie2, use a container profile, or give --bowtie2_index' >&2
        exit 1
    }
    bowtie2-build --quiet --threads ${task.cpus} ${quoted(genome)} genome
    """

    stub:
    """
    touch genome.1.bt2 genome.rev.1.bt2
    """
}
