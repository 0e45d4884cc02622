include { quoted ; repeated ; tableCommand } from '../tools.nf'

// Counts and base-resolution profiles of every library in every window.
process COUNT_WINDOWS {
    label 'process_single'

    input:
    path windows, stageAs: 'windows/*'
    val libraries
    path coverage, stageAs: 'coverage/*'
    path alleles, stageAs: 'alleles/*'
    val tool

    output:
    path 'counts', emit: counts
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def rows = libraries.collect { meta ->
        [meta.library, meta.donor, "coverage/${meta.library}.plus.bw", "coverage/${meta.library}.minus.bw"]
    }
    def reports = [alleles].flatten().findAll { path -> path.name.endsWith('.alleles.json') }
    """
    ${tableCommand('libraries.tsv', [['library', 'donor', 'plus', 'minus']] + rows)}
    count_windows.py --windows ${quoted(windows)} --sheet libraries.tsv --out counts \\
        ${repeated('--alleles', reports)} \\
        --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    mkdir counts
    touch counts/{windows.bed,libraries.tsv,counts.npy,metadata.json}
    ${[alleles].flatten().any() ? 'touch counts/allelic.npy' : ''}
    """
}
