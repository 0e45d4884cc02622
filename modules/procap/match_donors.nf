// Does each library belong to its donor? Concordance of its reads over SNPs with the genotypes.
process MATCH_DONORS {
    tag "${meta.library}"
    label 'single'

    input:
    tuple val(meta), path(reads, stageAs: 'reads/?/*'), path(reference)
    tuple path(variants), path(variants_index)
    val tool

    output:
    path "${meta.library}.donors.tsv", emit: qc
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def options = [[reads, '--reads'], [variants, '--vcf'], [[reference].flatten().take(1), '--reference']].collectMany { files, option -> [files].flatten().collect { path -> "${option} ${path}" } }
    """
    match_donors.py ${options.join(' ')} --library ${meta.library} --donor ${meta.donor} \\
        --out ${meta.library}.donors.tsv --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    touch ${meta.library}.donors.tsv
    """
}
