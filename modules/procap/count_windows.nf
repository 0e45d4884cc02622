// Counts and base-resolution profiles of every library in every window.
process COUNT_WINDOWS {
    label 'single'

    input:
    path windows
    val libraries
    path coverage
    val tool

    output:
    path 'counts', emit: counts
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def rows = libraries.collect { meta -> "${meta.library}\t${meta.donor}\t${meta.library}.plus.bw\t${meta.library}.minus.bw" }
    """
    printf '%s\\n' 'library\tdonor\tplus\tminus' '${rows.join("' '")}' > libraries.tsv
    count_windows.py --windows ${windows} --sheet libraries.tsv --out counts --threads ${task.cpus} ${tool.args}
    """

    stub:
    """
    mkdir counts
    touch counts/{windows.bed,libraries.tsv,counts.npy,metadata.json}
    """
}
