#!/usr/bin/env nextflow

// Allelegro: inputs → procap → genotype → training → effects → report. Only this file reads params.

include { readSchema ; helpText ; checkParameters } from './modules/parameters.nf'
include { toolSettings ; withOption } from './modules/tools.nf'
include { runPlan ; stagesText } from './modules/plan.nf'
include { parametersText ; provenanceTexts ; linkRecords ; writeText ; writeChecksums } from './modules/provenance.nf'
include { followTrainings } from './modules/progress.nf'
include { INPUTS   } from './modules/inputs'
include { PROCAP   } from './modules/procap'
include { GENOTYPE } from './modules/genotype'
include { TRAINING } from './modules/training'
include { EFFECTS  } from './modules/effects'
include { REPORT   } from './modules/report'

workflow {
    main:
    schema = readSchema("${projectDir}/nextflow_schema.json")
    if (params.help || params.version) {
        println(params.help ? helpText(schema, params.help) : workflow.manifest.version)
        return
    }
    checkParameters(schema, params)
    tools = toolSettings(schema, params, "${projectDir}/bin")
    plan = runPlan(params)
    log.info(stagesText(plan.stages))
    if (!workflow.preview) {
        writeText("${params.outdir}/pipeline_info/params.json", parametersText(params))
        linkRecords(params.outdir)
        followTrainings(plan.state)
    }

    INPUTS(
        params.simulate,
        params.subMap(
            'libraries', 'peaks', 'genome', 'variants', 'mpra', 'variant_sets', 'comparators', 'covariates', 'score',
        ),
        tools,
    )
    PROCAP(
        INPUTS.out.libraries, INPUTS.out.excluded, INPUTS.out.peaks, INPUTS.out.genome, INPUTS.out.variants,
        params.subMap('peaks', 'windows', 'counts', 'blacklist', 'tss', 'bowtie2_index', 'unwanted'), plan, tools,
    )
    GENOTYPE(
        PROCAP.out.windows, INPUTS.out.variants, INPUTS.out.genome, PROCAP.out.donors, PROCAP.out.counts, params.haplotypes,
        tools + [extract_haplotypes: withOption(tools.extract_haplotypes, '--flank', plan.flank)],
    )
    TRAINING(
        INPUTS.out.mpra, PROCAP.out.windows, INPUTS.out.genome, PROCAP.out.counts, GENOTYPE.out.haplotypes, plan, tools,
    )
    EFFECTS(
        INPUTS.out.variant_sets, INPUTS.out.scored, INPUTS.out.comparators, INPUTS.out.genome, TRAINING.out.models,
        PROCAP.out.windows, PROCAP.out.counts, GENOTYPE.out.haplotypes, TRAINING.out.tables, plan, tools,
    )

    results = INPUTS.out.results.mix(
        PROCAP.out.results, GENOTYPE.out.results, TRAINING.out.results, EFFECTS.out.results,
    )
    provenance = INPUTS.out.records
        .mix(PROCAP.out.records, GENOTYPE.out.records, TRAINING.out.records, EFFECTS.out.records)
        .toList().map { records -> provenanceTexts(records, params, plan.stages, workflow.nextflow.version) }
    REPORT(results, provenance, tools)

    provenance.subscribe { texts ->
        texts.each { name, text -> writeText("${params.outdir}/pipeline_info/${name}", text) }
    }
    def outdir = params.outdir // a handler's own params are none
    workflow.onComplete { finish(outdir) }
}

/** The last lines of a run: where the report is, or what to do about the failure. */
def finish(outdir) {
    if (!workflow.success) {
        def reason = workflow.errorMessage ?: 'see the messages above'
        log.info("Allelegro stopped: ${reason}\nAfter fixing it, the same command with -resume goes on from there.")
        return
    }
    writeChecksums(outdir)
    log.info("Allelegro finished in ${workflow.duration}: report ${outdir}/report/report.html")
}
