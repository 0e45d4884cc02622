include { quoted } from '../tools.nf'

// Peaks of initiation of one library, strand by strand, and the divergent elements they form.
process CALL_PEAKS {
    tag "${meta.library}"
    label 'process_single'

    input:
    tuple val(meta), path(plus), path(minus)
    val tool

    output:
    tuple val(meta), path("${meta.library}.peaks.bed"), path("${meta.library}.elements.bed"), emit: peaks
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    """
    call_peaks.py --plus ${quoted(plus)} --minus ${quoted(minus)} \\
        --out ${quoted("${meta.library}.peaks.bed")} --out-elements ${quoted("${meta.library}.elements.bed")} \\
        --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    touch ${quoted(meta.library)}.{peaks.bed,elements.bed}
    """
}
