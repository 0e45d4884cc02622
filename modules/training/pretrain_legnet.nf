include { launcher } from './launcher.nf'

// One LegNet on one lentiMPRA table, for one (test fold, validation fold, seed), blind to the windows that fine-tuning holds out.
process PRETRAIN_LEGNET {
    tag "${meta.id}"
    label 'training'
    label 'gpu'

    input:
    tuple val(meta), path(table)
    path windows
    val checkpoints
    val tool

    output:
    tuple val(meta), path("${meta.id}"), emit: model
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def held_out = windows ? "--held-out-windows ${windows} --allow-unplaced " + meta.held_out.collect { fold -> "--held-out-fold ${fold}" }.join(' ') : ''
    // Half-trained state lives outside the work directory, so that a retried task goes on from its last epoch;
    // its name holds what it was trained on, so that no other training picks it up.
    """
    state="${checkpoints}/${meta.id}-${"${meta} ${tool}".md5()}-\$(cat ${table} ${windows} | md5sum | cut -d ' ' -f 1)"
    ${launcher(task, 'pretrain_legnet.py')} --table ${table} --out ${meta.id} --test-fold ${meta.test_fold} --validation-fold ${meta.validation_fold} \\
        --seed ${meta.seed} ${held_out} --checkpoint-dir "\$state" --threads ${task.cpus} ${tool.args}
    rm -rf "\$state"
    """

    stub:
    """
    mkdir ${meta.id}
    touch ${meta.id}/{model.safetensors,model.json,history.tsv}
    """
}
