include { ofEach ; quoted ; repeated ; tagOf ; together } from '../tools.nf'

// Does each library belong to its donor? Concordance of its reads over SNPs with the genotypes.
process MATCH_DONORS {
    tag "${tagOf(metas)}"
    label 'process_single'

    input:
    tuple val(metas), val(counts), path(reads, stageAs: 'reads/?/*'),
        path(reference, stageAs: 'reference/*'), path(indices, stageAs: 'reference/*')
    tuple path(variants, stageAs: 'variants/*'), path(variants_index, stageAs: 'variants/*')
    val tool

    output:
    path '*.donors.tsv', emit: qc
    tuple val(task.process), eval('task_record.py'), emit: records

    script:
    def commands = [metas, ofEach(counts[0], reads)].transpose().collect { meta, bam ->
        """
        match_donors.py ${repeated('--reads', bam)} ${repeated('--reference', reference)} \\
            ${repeated('--vcf', variants)} --library ${quoted(meta.library)} --donor ${quoted(meta.donor)} \\
            --out ${quoted("${meta.library}.donors.tsv")} --threads ${task.cpus} ${tool.args}
        """
    }
    """
    ${together(commands)}
    """

    stub:
    """
    touch ${metas.collect { meta -> quoted("${meta.library}.donors.tsv") }.join(' ')}
    """
}
