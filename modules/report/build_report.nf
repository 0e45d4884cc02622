// The whole run in one HTML file, from the results laid out as they are published.
process BUILD_REPORT {
    label 'single'

    input:
    path inputs, stageAs: 'results/inputs/*'
    path procap, stageAs: 'results/procap/*'
    path coverage, stageAs: 'results/procap/coverage/*'
    path peaks, stageAs: 'results/procap/peaks/*'
    path genotype, stageAs: 'results/genotype/*'
    path training, stageAs: 'results/training/*'
    path mpra, stageAs: 'results/training/mpra/*'
    path pretrained, stageAs: 'results/training/pretrained/*'
    path finetuned, stageAs: 'results/training/finetuned/*'
    path effects, stageAs: 'results/effects/*'
    path scores, stageAs: 'results/effects/scores/*'
    path benchmarks, stageAs: 'results/effects/benchmarks/*'
    val provenance
    val tool

    output:
    path 'report', emit: report
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def written = provenance.collect { name, text -> "cat > 'results/pipeline_info/${name}' <<'END_OF_FILE'\n${text}\nEND_OF_FILE" }
    """
    mkdir -p results/pipeline_info
    ${written.join('\n')}
    build_report.py --results results --out report ${tool.args}
    """

    stub:
    """
    mkdir -p report/figures report/data
    touch report/report.html
    """
}
