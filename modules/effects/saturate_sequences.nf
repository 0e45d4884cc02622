include { quoted ; repeated } from '../tools.nf'

// Every single-nucleotide change of a few windows, where donors differ if possible, for maps and logos.
process SATURATE_SEQUENCES {
    tag "${model}"
    label 'process_low'
    label 'process_gpu'

    input:
    tuple val(model), path(models, stageAs: 'models/?/*')
    path windows, stageAs: 'windows/*'
    path haplotypes, stageAs: 'haplotypes/*'
    tuple path(genome, stageAs: 'genome/*'), path(genome_index, stageAs: 'genome/*')
    val tool

    output:
    path 'saturation', emit: saturation
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    """
    saturate_sequences.py ${repeated('--checkpoint', models)} --name ${quoted(model)} \\
        --windows ${quoted(windows)} ${repeated('--haplotypes', haplotypes)} --fasta ${quoted(genome)} \\
        --out saturation --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    mkdir saturation
    touch saturation/saturation.tsv
    """
}
