// Every single-nucleotide change of a few windows, where donors differ if possible, for maps and logos.
process SATURATE_SEQUENCES {
    tag "${model}"
    label 'scoring'
    label 'gpu'

    input:
    tuple val(model), path(models, stageAs: 'models/*')
    path windows
    path haplotypes
    tuple path(genome), path(genome_index)
    val tool

    output:
    path 'saturation', emit: saturation
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    """
    saturate_sequences.py ${[models].flatten().collect { path -> "--checkpoint ${path}" }.join(' ')} --name ${model} --windows ${windows} ${haplotypes ? "--haplotypes ${haplotypes}" : ''} \\
        --fasta ${genome} --out saturation --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    mkdir saturation
    touch saturation/saturation.tsv
    """
}
