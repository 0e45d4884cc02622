include { launcher } from './launcher.nf'

// One model of the run on PRO-cap: LegNet, one of its twins, or CLIPNET, for one (test fold, seed).
process FINETUNE_MODEL {
    tag "${meta.id}"
    label 'training'
    label 'gpu'

    input:
    tuple val(meta), path(pretrained, stageAs: 'pretrained/*')
    path counts
    path haplotypes
    val checkpoints
    val tool

    output:
    tuple val(meta), path("${meta.id}"), emit: model
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def init = pretrained ? "--init ${pretrained}" : ''
    // Half-trained state lives outside the work directory, so that a retried task goes on from its last epoch;
    // its name holds what it was trained on, so that no other training picks it up.
    def inputs = ["${counts}/counts.npy", "${counts}/metadata.json", "${haplotypes}/metadata.json"] + (pretrained ? ["${pretrained}/model.json"] : [])
    """
    state="${checkpoints}/${meta.id}-${"${meta} ${tool}".md5()}-\$(cat ${inputs.join(' ')} | md5sum | cut -d ' ' -f 1)"
    ${launcher(task, 'finetune_model.py')} --counts ${counts} --haplotypes ${haplotypes} --out ${meta.id} --model ${meta.architecture} --genotypes ${meta.genotypes} \\
        ${init} --test-fold ${meta.test_fold} --validation-fold ${meta.validation_fold} --seed ${meta.seed} \\
        --checkpoint-dir "\$state" --threads ${task.cpus} ${tool.args}
    rm -rf "\$state"
    """

    stub:
    """
    mkdir ${meta.id}
    touch ${meta.id}/{model.safetensors,model.json,history.tsv}
    """
}
