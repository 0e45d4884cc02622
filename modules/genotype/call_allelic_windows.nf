// Allelic imbalance of whole windows, over the donors that carry one pair of haplotypes.
process CALL_ALLELIC_WINDOWS {
    label 'process_single'

    input:
    path counts, stageAs: 'counts'
    path haplotypes, stageAs: 'haplotypes'
    val tool

    output:
    path 'allelic_windows.tsv', emit: events
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    """
    call_allelic_events.py --counts counts --haplotypes haplotypes --out-windows allelic_windows.tsv --allow-none \\
        --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    touch allelic_windows.tsv
    """
}
