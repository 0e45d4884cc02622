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
    path covariates, stageAs: 'covariates/*'
    val checkpoints
    val tool

    output:
    tuple val(meta), path("${meta.model}/${meta.member}"), emit: model
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    // A partial checkpoint is kept outside the task's folder, so that a retried task goes on from its last epoch.
    // The tool names it by data, settings and code, and removes it when the model is written.
    def state = "${checkpoints}/${meta.model}-${meta.member}"
    """
    ${launcher(task, 'finetune_model.py')} --counts counts --haplotypes haplotypes \\
        --out ${quoted("${meta.model}/${meta.member}")} ${repeated('--init', pretrained)} \\
        ${repeated('--covariates', covariates)} \\
        --model ${quoted(meta.architecture)} --genotypes ${quoted(meta.genotypes)} \\
        --test-fold ${meta.test_fold} --validation-fold ${meta.validation_fold} --seed ${meta.seed} \\
        --checkpoint-dir ${quoted(state)} --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    mkdir -p ${quoted("${meta.model}/${meta.member}")}
    touch ${quoted("${meta.model}/${meta.member}")}/{model.safetensors,model.json,history.tsv}
    """
}
