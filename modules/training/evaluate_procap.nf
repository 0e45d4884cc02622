// All models of the run against held-out loci and donors: tidy metrics with intervals, and the predictions behind them.
process EVALUATE_PROCAP {
    label 'training'
    label 'gpu'

    input:
    val names
    path models, stageAs: 'models/*'
    path counts
    path haplotypes
    val tool

    output:
    path 'evaluation', emit: evaluation
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    // Checkpoints of one name are an ensemble: its folds and seeds.
    def options = [names, [models].flatten()].transpose().collect { name, path -> "--model ${name}=${path}" }
    """
    evaluate_procap.py ${options.join(' ')} --counts ${counts} --haplotypes ${haplotypes} \\
        --out-metrics evaluation/metrics.tsv --out-predictions evaluation/predictions.parquet --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    mkdir evaluation
    touch evaluation/{metrics.tsv,predictions.parquet}
    """
}
