include { quoted ; repeated ; tableCommand } from '../tools.nf'

// Every donor's two haplotypes in every window, each distinct sequence kept once.
process EXTRACT_HAPLOTYPES {
    label 'process_medium'

    input:
    path windows, stageAs: 'windows/*'
    tuple path(variants, stageAs: 'variants/*'), path(variants_index, stageAs: 'variants/*')
    tuple path(genome, stageAs: 'genome/*'), path(genome_index, stageAs: 'genome/*')
    val donors
    val tool

    output:
    path 'haplotypes', emit: haplotypes
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    // Names in a file: a comma separates names on the command line.
    """
    ${donors ? tableCommand('donors.txt', donors.collect { donor -> [donor] }) : ''}
    extract_haplotypes.py ${repeated('--vcf', variants)} --fasta ${quoted(genome)} --windows ${quoted(windows)} \\
        ${donors ? '--donors donors.txt' : ''} --out haplotypes --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    mkdir haplotypes
    touch haplotypes/{windows.bed,sequences.npy,offsets.npy,index.npy,metadata.json}
    """
}
