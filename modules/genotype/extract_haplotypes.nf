// Every donor's two haplotypes in every window, each distinct sequence kept once.
process EXTRACT_HAPLOTYPES {
    label 'parallel'

    input:
    path windows
    tuple path(variants), path(variants_index)
    tuple path(genome), path(genome_index)
    val donors
    val tool

    output:
    path 'haplotypes', emit: haplotypes
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def wanted = donors ? "--donors ${donors.join(',')}" : ''
    """
    extract_haplotypes.py ${[variants].flatten().collect { path -> "--vcf ${path}" }.join(' ')} --fasta ${genome} --windows ${windows} ${wanted} --out haplotypes --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    mkdir haplotypes
    touch haplotypes/{windows.bed,sequences.npy,offsets.npy,index.npy,metadata.json}
    """
}
