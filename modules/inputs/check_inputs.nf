include { quoted ; repeated } from '../tools.nf'

// Every problem of the sheets and their files at once, or the sheets as one JSON.
process CHECK_INPUTS {
    label 'process_single'

    input:
    tuple val(names), path(sheets, stageAs: 'sheets/?/*')
    tuple path(genome, stageAs: 'genome/*'), path(genome_index, stageAs: 'genome/*')
    tuple path(variants, stageAs: 'variants/*'), path(variants_index, stageAs: 'variants/*')
    path listed, stageAs: 'listed/?/*'
    val scored
    val options
    val tool

    output:
    path 'inputs.json', emit: inputs
    path 'inputs.excluded.tsv', emit: excluded, optional: true
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def given = [names, [sheets].flatten()].transpose().collect { name, path -> "--${name} ${quoted(path)}" }.join(' ')
    """
    check_inputs.py ${given} ${repeated('--genome', genome)} ${repeated('--variants', variants)} \\
        ${repeated('--score', scored)} ${options} --out inputs.json ${tool.args}
    """

    stub:
    def given = [names, [sheets].flatten()].transpose().collect { name, path -> "--${name} ${quoted(path)}" }.join(' ')
    """
    check_inputs.py ${given} ${repeated('--score', scored)} --rows-only --out inputs.json ${tool.args}
    """
}
