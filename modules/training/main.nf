include { PREPARE_MPRA } from './prepare_mpra.nf'
include { PRETRAIN_LEGNET } from './pretrain_legnet.nf'
include { FINETUNE_MODEL } from './finetune_model.nf'
include { EVALUATE_PROCAP } from './evaluate_procap.nf'

// lentiMPRA → pretrained LegNets; with counts and haplotypes → the models of the run, and their evaluation.
workflow TRAINING {
    take:
    mpra        // name, table
    windows
    counts
    haplotypes
    plan        // see runPlan: windows, whether there are any; pretrained and models, lists of maps; checkpoint, a pretrained model of one's own, or null; state
    tools

    main:
    // Not windows.ifEmpty([]): on a value channel it sometimes comes first, and held-out windows would be trained on.
    held_out = plan.windows ? windows : channel.value([])
    PREPARE_MPRA(mpra, held_out, tools.prepare_mpra)
    pretraining = PREPARE_MPRA.out.table.combine(channel.fromList(plan.pretrained)).map { name, table, model ->
        [model + [id: "${name}${model.id}".toString(), model: "pretrained_${name}".toString(), dataset: name], table]
    }
    PRETRAIN_LEGNET(pretraining, held_out, plan.state, tools.pretrain_legnet)
    pretrained = PRETRAIN_LEGNET.out.model

    // Fine-tuning starts from the first dataset's model (or --pretrained_from) of its seed, or from the given checkpoint.
    starts = plan.checkpoint
        ? channel.fromList(plan.models).map { model -> [model, file(plan.checkpoint, checkIfExists: true)] }
        : channel.fromList(plan.models).combine(pretrained.toSortedList { left, right -> left[0].id <=> right[0].id }.map { found -> [found] })
            .map { model, found -> [model, startOf(model, found, plan.pretrained_from)] }
    FINETUNE_MODEL(
        starts.map { model, start -> [model, model.pretrained ? start : []] }, counts, haplotypes, plan.state, tools.finetune_model,
    )

    trained = FINETUNE_MODEL.out.model.toSortedList { left, right -> left[0].id <=> right[0].id }.filter { models -> models }
    EVALUATE_PROCAP(
        trained.map { models -> models.collect { meta, _path -> meta.model } }, trained.map { models -> models.collect { _meta, path -> path } },
        counts, haplotypes, tools.evaluate_procap,
    )

    emit:
    models   = FINETUNE_MODEL.out.model.mix(pretrained)
    tables   = PREPARE_MPRA.out.table.map { _name, path -> path }
    results  = EVALUATE_PROCAP.out.evaluation.map { path -> ['training', path] }.mix(
        PREPARE_MPRA.out.table.map { _name, path -> ['training/mpra', path] },
        pretrained.map { _meta, path -> ['training/pretrained', path] },
        FINETUNE_MODEL.out.model.map { _meta, path -> ['training/finetuned', path] },
    )
    records  = PREPARE_MPRA.out.records.mix(PRETRAIN_LEGNET.out.records, FINETUNE_MODEL.out.records, EVALUATE_PROCAP.out.records)
}

/** The pretrained model a fine-tuning starts from: of the chosen dataset, with its seed, blind to its held-out loci. */
def startOf(Map model, List pretrained, dataset) {
    def fitting = pretrained.find { meta, _path ->
        (!dataset || meta.dataset == dataset) && meta.seed == model.seed && meta.start && model.test_fold == meta.held_out[0]
    }
    if (model.pretrained && pretrained && !fitting) {
        error("--pretrained_from ${dataset}: no such lentiMPRA table; there are ${pretrained.collect { meta, _path -> meta.dataset }.unique().join(', ')}")
    }
    fitting ? fitting[1] : []
}
