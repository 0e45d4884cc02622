include { repeated } from '../tools.nf'

// SNVs with allelic imbalance over all libraries of the run.
process CALL_ALLELIC_EVENTS {
    label 'process_single'

    input:
    path snvs, stageAs: 'snvs/*'
    val tool

    output:
    path 'allelic_events.tsv', emit: events
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    """
    call_allelic_events.py ${repeated('--snvs', snvs)} --out allelic_events.tsv --allow-none \\
        --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    touch allelic_events.tsv
    """
}
