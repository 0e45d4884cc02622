include { ofEach ; quoted ; repeated ; tagOf ; together } from '../tools.nf'

// Reads of each haplotype of a library's donor in every window, and both alleles' reads a SNV. A library that cannot
// tell haplotypes apart is warned of, and the run goes on without its allelic reads.
process COUNT_ALLELES {
    tag "${tagOf(metas)}"
    label 'process_single'

    input:
    tuple val(metas), val(counts), path(reads, stageAs: 'reads/?/*'), path(alignment, stageAs: 'alignment/*'),
        path(reference, stageAs: 'reference/*'), path(indices, stageAs: 'reference/*')
    tuple path(variants, stageAs: 'variants/*'), path(variants_index, stageAs: 'variants/*')
    path windows, stageAs: 'windows/*'
    val tool

    output:
    path '*.{alleles.json,allelic.npy,reference.npy}', emit: counts, optional: true
    path '*.snvs.tsv.gz', emit: snvs, optional: true
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def files = [counts, [reads, alignment]].transpose().collect { n, paths -> ofEach(n, paths) }
    def commands = ([metas] + files).transpose().collect { meta, bam, report ->
        """
        count_alleles.py ${repeated('--reads', bam)} ${repeated('--reference', reference)} \\
            ${repeated('--alignment-report', report)} ${repeated('--vcf', variants)} --windows ${quoted(windows)} \\
            --library ${quoted(meta.library)} --donor ${quoted(meta.donor)} --out-prefix ${quoted(meta.library)} \\
            --skip-unusable --threads ${task.cpus} ${tool.args}
        """
    }
    """
    ${together(commands)}
    """

    stub:
    """
    touch ${metas.collect { meta -> "${quoted(meta.library)}.{alleles.json,allelic.npy,reference.npy,snvs.tsv.gz}" }.join(' ')}
    """
}
