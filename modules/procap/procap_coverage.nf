include { quoted ; repeated } from '../tools.nf'

// Reads or signal tracks of a library → raw 5'-end counts of both strands.
process PROCAP_COVERAGE {
    tag "${meta.library}"
    label 'process_single'

    input:
    tuple val(meta), path(reads, stageAs: 'reads/?/*'), path(alignment, stageAs: 'alignment/*'),
        path(reference, stageAs: 'reference/*'), path(indices, stageAs: 'reference/*'),
        path(plus, stageAs: 'plus/?/*'), path(minus, stageAs: 'minus/?/*')
    path blacklist, stageAs: 'blacklist/*'
    val tool

    output:
    tuple val(meta), path("${meta.library}.plus.bw"), path("${meta.library}.minus.bw"), emit: coverage, optional: true
    path "${meta.library}.qc.json", emit: qc, optional: true
    path "${meta.library}.excluded.tsv", emit: excluded, optional: true
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    """
    procap_coverage.py ${repeated('--reads', reads)} ${repeated('--plus', plus)} ${repeated('--minus', minus)} \\
        ${repeated('--alignment-report', alignment)} ${repeated('--reference', reference)} \\
        ${repeated('--blacklist', blacklist)} \\
        --library ${quoted(meta.library)} --out-prefix ${quoted(meta.library)} --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    touch ${quoted(meta.library)}.{plus.bw,minus.bw,qc.json}
    """
}
