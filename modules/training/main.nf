include { PREPARE_MPRA } from './prepare_mpra.nf'
include { PRETRAIN_LEGNET } from './pretrain_legnet.nf'
include { FINETUNE_MODEL } from './finetune_model.nf'
include { EVALUATE_PROCAP } from './evaluate_procap.nf'

// lentiMPRA → pretrained LegNets; with counts and haplotypes → the models of the run, and their evaluation.
workflow TRAINING {
    take:
    mpra        // name, table
    windows
    genome      // of the windows, and its index
    counts
    haplotypes
    plan        // see runPlan
    tools

    main:
    // Not windows.ifEmpty([]): on a value channel it sometimes comes first, and held-out windows would be trained on.
    held_out = plan.windows ? windows : channel.value([])
    // With it, tables of another assembly are compared with held-out windows by sequence.
    of_windows = plan.windows && plan.genome ? genome : channel.value([[], []])
    PREPARE_MPRA(mpra, held_out, tools.prepare_mpra)
    pretraining = PREPARE_MPRA.out.table.combine(channel.fromList(plan.pretrained)).map { name, table, model ->
        [model + [model: "pretrained_${name}".toString(), dataset: name], table]
    }
    PRETRAIN_LEGNET(pretraining, held_out, of_windows, plan.state, tools.pretrain_legnet)
    pretrained = PRETRAIN_LEGNET.out.model

    // Fine-tuning starts from the first dataset's model (or --pretrained_from) of its seed, or from --checkpoint.
    found = plan.checkpoint ? channel.value([]) : pretrained.toSortedList(byMember())
    starts = channel.fromList(plan.models).combine(found.map { models -> [models] }).map { model, models ->
        def start = plan.checkpoint ? givenCheckpoint(plan.checkpoint) : startOf(model, models, plan)
        [model, model.pretrained ? start : []]
    }
    covariates = plan.covariates ? file(plan.covariates, checkIfExists: true) : []
    FINETUNE_MODEL(starts, counts, haplotypes, covariates, plan.state, tools.finetune_model)

    trained = FINETUNE_MODEL.out.model.toSortedList(byMember()).filter { models -> models }
    EVALUATE_PROCAP(
        trained.map { models -> models.collect { meta, _path -> meta.model } },
        trained.map { models -> models.collect { _meta, path -> path } },
        counts, haplotypes, tools.evaluate_procap,
    )

    emit:
    models   = FINETUNE_MODEL.out.model.mix(pretrained)
    tables   = PREPARE_MPRA.out.table.map { _name, path -> path }
    results  = EVALUATE_PROCAP.out.evaluation.map { path -> ['training', path] }.mix(
        PREPARE_MPRA.out.table.map { _name, path -> ['training/mpra', path] },
        pretrained.map { meta, path -> ["training/pretrained/${meta.dataset}".toString(), path] },
        FINETUNE_MODEL.out.model.map { meta, path -> ["training/finetuned/${meta.model}".toString(), path] },
    )
    records  = PREPARE_MPRA.out.records.mix(
        PRETRAIN_LEGNET.out.records, FINETUNE_MODEL.out.records, EVALUATE_PROCAP.out.records,
    )
}

/** One order of models on every run, so that -resume finds the tasks that take them together. */
def byMember() {
    { left, right -> left[0].model <=> right[0].model ?: left[0].member <=> right[0].member }
}

/** The user's pretrained model: a checkpoint, or a folder with one in it. */
def givenCheckpoint(String path) {
    def folder = file(path, checkIfExists: true)
    def members = folder.resolve('model.json').exists() ? [folder] : [file("${folder}/*/model.json")].flatten()*.parent
    if (members.size() != 1) {
        error("--checkpoint ${path}: ${members.size()} checkpoints in it; give the folder that holds one model.json")
    }
    members[0]
}

/** The pretrained model that a fine-tuning starts from: of the chosen dataset and its seed, blind to its test loci. */
def startOf(Map model, List pretrained, Map plan) {
    def fitting = pretrained.find { meta, _path ->
        (!plan.pretrained_from || meta.dataset == plan.pretrained_from) && meta.seed == model.seed
            && [meta.test_fold, meta.validation_fold] == plan.start_folds && meta.held_out[0] == model.test_fold
    }
    if (model.pretrained && pretrained && !fitting) {
        def known = pretrained.collect { meta, _path -> meta.dataset }.unique().join(', ')
        error("--pretrained_from ${plan.pretrained_from}: no such lentiMPRA table; there are ${known}")
    }
    fitting ? fitting[1] : []
}
