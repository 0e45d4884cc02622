// Every problem of the sheets and their files at once, or the sheets as one JSON.
process CHECK_INPUTS {
    label 'single'

    input:
    tuple val(options), path(sheets, stageAs: 'sheets/*'), path(references, stageAs: 'references/*'), path(files, stageAs: 'files/?/*')
    val tool

    output:
    path 'inputs.json', emit: inputs
    path 'inputs.excluded.tsv', emit: excluded, optional: true
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    """
    check_inputs.py ${options} --out inputs.json ${tool.args}
    """

    stub:
    """
    check_inputs.py ${options} --out inputs.json --rows-only ${tool.args}
    """
}
