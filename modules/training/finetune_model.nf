include { launcher } from './launcher.nf'
include { quoted ; repeated } from '../tools.nf'

// One model of the run on PRO-cap: LegNet, one of its control models, or CLIPNET, for one (test fold, seed).
process FINETUNE_MODEL {
    tag "${meta.model} ${meta.member}"
    label 'process_medium'
    label 'process_long'
    label 'process_gpu'

    input:
    tuple val(meta), path(pretrained, stageAs: 'pretrained/*')
    path counts, stageAs: 'counts'
    path haplotypes, stageAs: 'haplotypes'
    val checkpoints
    val tool

    output:
    tuple val(meta), path("${meta.model}/${meta.member}"), emit: model
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    // A partial checkpoint is kept outside the task's folder, so that a retried task goes on from its last epoch;
    // its name holds what it was trained on, so that no other training takes it up.
    def state = "${checkpoints}/${meta.model}-${meta.member}-${"${meta} ${tool}".md5()}-"
    def start = pretrained ? quoted("${pretrained}/model.json") : ''
    """
    seen=\$(cat counts/counts.npy counts/metadata.json haplotypes/metadata.json ${start} | md5sum | cut -d ' ' -f 1)
    state=${quoted(state)}\$seen
    ${launcher(task, 'finetune_model.py')} --counts counts --haplotypes haplotypes \\
        --out ${quoted("${meta.model}/${meta.member}")} ${repeated('--init', pretrained)} \\
        --model ${quoted(meta.architecture)} --genotypes ${quoted(meta.genotypes)} \\
        --test-fold ${meta.test_fold} --validation-fold ${meta.validation_fold} --seed ${meta.seed} \\
        --checkpoint-dir "\$state" --threads ${task.cpus} ${tool.args}
    rm -rf "\$state"
    """

    stub:
    """
    mkdir -p ${quoted("${meta.model}/${meta.member}")}
    touch ${quoted("${meta.model}/${meta.member}")}/{model.safetensors,model.json,history.tsv}
    """
}
