include { launcher } from './launcher.nf'
include { quoted ; repeated } from '../tools.nf'

// One LegNet on one lentiMPRA table, for one (test fold, validation fold, seed), blind to the windows that fine-tuning
// holds out.
process PRETRAIN_LEGNET {
    tag "${meta.dataset} ${meta.member}"
    label 'process_medium'
    label 'process_long'
    label 'process_gpu'

    input:
    tuple val(meta), path(table, stageAs: 'table/*')
    path windows, stageAs: 'windows/*'
    tuple path(genome, stageAs: 'genome/*'), path(genome_index, stageAs: 'genome/*')
    val checkpoints
    val tool

    output:
    tuple val(meta), path("${meta.dataset}/${meta.member}"), emit: model
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def folds = "--allow-unplaced ${repeated('--held-out-fold', meta.held_out)}"
    def placed = "${repeated('--held-out-windows', windows)} ${repeated('--genome', genome)}"
    def held_out = windows ? "${folds} ${placed}" : ''
    // As in FINETUNE_MODEL: a retried task goes on from the partial checkpoint, which the tool names and removes.
    def state = "${checkpoints}/${meta.dataset}-${meta.member}"
    """
    ${launcher(task, 'pretrain_legnet.py')} --table ${quoted(table)} \\
        --out ${quoted("${meta.dataset}/${meta.member}")} ${held_out} \\
        --test-fold ${meta.test_fold} --validation-fold ${meta.validation_fold} --seed ${meta.seed} \\
        --checkpoint-dir ${quoted(state)} --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    mkdir -p ${quoted("${meta.dataset}/${meta.member}")}
    touch ${quoted("${meta.dataset}/${meta.member}")}/{model.safetensors,model.json,history.tsv}
    """
}
