include { ofEach ; quoted ; repeated ; tagOf ; together } from '../tools.nf'

// Reads or signal tracks of libraries → raw 5'-end counts of both strands of each.
process PROCAP_COVERAGE {
    tag "${tagOf(metas)}"
    label 'process_single'

    input:
    tuple val(metas), val(counts), path(reads, stageAs: 'reads/?/*'), path(alignment, stageAs: 'alignment/*'),
        path(plus, stageAs: 'plus/?/*'), path(minus, stageAs: 'minus/?/*'),
        path(reference, stageAs: 'reference/*'), path(indices, stageAs: 'reference/*')
    path blacklist, stageAs: 'blacklist/*'
    val tool

    output:
    tuple val(metas), path('*.plus.bw'), path('*.minus.bw'), emit: coverage, optional: true
    path '*.qc.json', emit: qc, optional: true
    path '*.excluded.tsv', emit: excluded, optional: true
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def files = [counts, [reads, alignment, plus, minus]].transpose().collect { n, paths -> ofEach(n, paths) }
    def commands = ([metas] + files).transpose().collect { meta, bam, report, plus_signal, minus_signal ->
        """
        procap_coverage.py ${repeated('--reads', bam)} ${repeated('--plus', plus_signal)} \\
            ${repeated('--minus', minus_signal)} ${repeated('--alignment-report', report)} \\
            ${repeated('--reference', reference)} ${repeated('--blacklist', blacklist)} \\
            --library ${quoted(meta.library)} --out-prefix ${quoted(meta.library)} --threads ${task.cpus} ${tool.args}
        """
    }
    """
    ${together(commands)}
    """

    stub:
    """
    touch ${metas.collect { meta -> "${quoted(meta.library)}.{plus.bw,minus.bw,qc.json}" }.join(' ')}
    """
}
