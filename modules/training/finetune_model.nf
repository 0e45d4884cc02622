// One model of the run on PRO-cap: LegNet, one of its twins, or CLIPNET, for one (test fold, seed).
process FINETUNE_MODEL {
    tag "${meta.id}"
    label 'training'

    input:
    tuple val(meta), path(pretrained, stageAs: 'pretrained/*')
    path counts
    path haplotypes
    val checkpoints
    val tool

    output:
    tuple val(meta), path("${meta.id}"), emit: model
    tuple val(task.process), eval('software_versions.py torch numpy safetensors'), emit: versions

    script:
    // Half-trained state lives outside the work directory, so that a retried task goes on from its last epoch.
    def launcher = task.accelerator && task.accelerator.request > 1 ? "torchrun --standalone --nproc-per-node ${task.accelerator.request} \$(command -v finetune_model.py)" : 'finetune_model.py'
    def init = pretrained ? "--init ${pretrained}" : ''
    """
    state=${checkpoints}/${meta.id}-\$(cat */metadata.json pretrained/*/model.json - <<< '${meta} ${tool}' 2> /dev/null | sha256sum | cut -c 1-16)
    ${launcher} --counts ${counts} --haplotypes ${haplotypes} --out ${meta.id} --model ${meta.architecture} --genotypes ${meta.genotypes} \\
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
