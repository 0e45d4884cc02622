include { quoted ; tagOf ; together } from '../tools.nf'

// Peaks of initiation of each library, strand by strand, and the divergent elements they form.
process CALL_PEAKS {
    tag "${tagOf(metas)}"
    label 'process_single'

    input:
    tuple val(metas), val(counts), path(plus, stageAs: 'signal/*'), path(minus, stageAs: 'signal/*')
    val tool

    output:
    tuple val(metas), path('*.peaks.bed'), path('*.elements.bed'), emit: peaks
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def commands = [metas, [plus].flatten(), [minus].flatten()].transpose().collect { meta, plus_signal, minus_signal ->
        """
        call_peaks.py --plus ${quoted(plus_signal)} --minus ${quoted(minus_signal)} \\
            --out ${quoted("${meta.library}.peaks.bed")} --out-elements ${quoted("${meta.library}.elements.bed")} \\
            --threads ${task.cpus} ${tool.args}
        """
    }
    """
    ${together(commands)}
    """

    stub:
    """
    touch ${metas.collect { meta -> "${quoted(meta.library)}.{peaks.bed,elements.bed}" }.join(' ')}
    """
}
