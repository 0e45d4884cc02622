// Reads or signal tracks of a library → raw 5'-end counts of both strands.
process PROCAP_COVERAGE {
    tag "${meta.library}"
    label 'single'

    input:
    tuple val(meta), path(reads), path(indices), path(plus, stageAs: 'plus/*'), path(minus, stageAs: 'minus/*')
    val tool

    output:
    tuple val(meta), path("${meta.library}.plus.bw"), path("${meta.library}.minus.bw"), emit: coverage
    path "${meta.library}.qc.json", emit: qc
    tuple val(task.process), eval('task_record.py pysam numpy'), emit: records

    script:
    def signal = [[reads, '--reads'], [plus, '--plus'], [minus, '--minus']].collectMany { files, option -> [files].flatten().collect { path -> "${option} ${path}" } }
    """
    procap_coverage.py ${signal.join(' ')} --library ${meta.library} --out-prefix ${meta.library} --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    touch ${meta.library}.plus.bw ${meta.library}.minus.bw ${meta.library}.qc.json
    """
}
