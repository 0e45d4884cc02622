include { repeated } from '../tools.nf'

// Quality of every library and of the cohort, as tidy tables.
process LIBRARY_QC {
    label 'process_single'

    input:
    path counts, stageAs: 'counts'
    path reports, stageAs: 'libraries/*'
    path coverage, stageAs: 'libraries/*'
    path peaks, stageAs: 'libraries/*'
    path donors, stageAs: 'libraries/*'
    path excluded, stageAs: 'libraries/*'
    path tss, stageAs: 'tss/*'
    val tool

    output:
    path 'qc', emit: qc
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    """
    library_qc.py --counts counts --folder libraries ${repeated('--tss', tss)} --out qc \\
        --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    mkdir qc
    touch qc/libraries.tsv
    """
}
