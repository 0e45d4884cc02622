include { namedPaths ; quoted ; repeated } from '../tools.nf'

// All models of the run against held-out loci and donors: tidy metrics with intervals, and the predictions.
process EVALUATE_PROCAP {
    label 'process_medium'
    label 'process_long'
    label 'process_gpu'

    input:
    val names
    path models, stageAs: 'models/?/*'
    path counts, stageAs: 'counts'
    path haplotypes, stageAs: 'haplotypes'
    val tool

    output:
    path 'evaluation', emit: evaluation
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    // Checkpoints of one name are its folds and seeds: each predicts the loci that it did not see.
    def named = namedPaths(names, models)
    """
    evaluate_procap.py ${repeated('--model', named)} --counts counts --haplotypes haplotypes \\
        --out-metrics evaluation/metrics.tsv --out-predictions evaluation/predictions.parquet \\
        --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    mkdir evaluation
    touch evaluation/{metrics.tsv,predictions.parquet}
    """
}
