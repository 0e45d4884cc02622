// Reads or signal tracks of a library → raw 5'-end counts of both strands.
process PROCAP_COVERAGE {
    tag "${meta.library}"
    label 'single'

    input:
    tuple val(meta), path(reads, stageAs: 'reads/?/*'), path(alignment), path(reference), path(plus, stageAs: 'plus/?/*'), path(minus, stageAs: 'minus/?/*')
    path blacklist
    val tool

    output:
    tuple val(meta), path("${meta.library}.plus.bw"), path("${meta.library}.minus.bw"), emit: coverage, optional: true
    path "${meta.library}.qc.json", emit: qc, optional: true
    path "${meta.library}.excluded.tsv", emit: excluded, optional: true
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def given = [[reads, '--reads'], [plus, '--plus'], [minus, '--minus'], [alignment, '--alignment-report'], [[reference].flatten().take(1), '--reference'], [blacklist, '--blacklist']]
    def options = given.collectMany { files, option -> [files].flatten().collect { path -> "${option} ${path}" } }
    """
    procap_coverage.py ${options.join(' ')} --library ${meta.library} --out-prefix ${meta.library} --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    touch ${meta.library}.plus.bw ${meta.library}.minus.bw ${meta.library}.qc.json
    """
}
