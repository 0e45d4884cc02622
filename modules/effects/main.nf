include { SCORE_VARIANTS } from './score_variants.nf'
include { GATHER_SCORES } from './gather_scores.nf'
include { FIT_KMERS } from './fit_kmers.nf'
include { BENCHMARK_VARIANTS } from './benchmark_variants.nf'
include { SATURATE_SEQUENCES } from './saturate_sequences.nf'

// Every model scores every variant set, in shards; the sets' measured effects are the benchmark.
workflow EFFECTS {
    take:
    variant_sets // [set, kind, release], table, genome and index of its own or an empty list
    scored       // the same of variants without measured effects: kind is null
    comparators  // set, name of an outside model, its scores
    genome
    models       // [model], checkpoint
    windows
    haplotypes
    tables       // prepared lentiMPRA: the first one trains the k-mer baseline
    plan         // see runPlan
    tools

    main:
    given = plan.trained ? givenModels(plan.trained, plan.haplotypes ? plan.models*.model : []) : []
    ensembles = models.map { meta, path -> [meta.model, path] }.mix(channel.fromList(given))
        .filter { model, _path -> !plan.scoring || model in plan.scoring }
        .groupTuple(sort: byPath())
    located = variant_sets.mix(scored).combine(genome)
        .map { meta, table, another, fasta, index -> [meta, table] + (another ?: [fasta, index]) }
    shards = channel.fromList((1..plan.shards).toList())
    work = located.combine(ensembles).combine(shards).map { meta, table, fasta, index, model, paths, shard ->
        [meta + [model: model], table, fasta, index, paths, shard, plan.shards]
    }
    SCORE_VARIANTS(work, tools.score_variants)
    GATHER_SCORES(SCORE_VARIANTS.out.scores.groupTuple(size: plan.shards, sort: byShard()), tools.gather_scores)

    GATHER_SCORES.out.dropped.filter { meta, _path -> !meta.kind }
        .subscribe { meta, path -> log.info(countsText(meta, path)) }

    // A model that saw every locus of a set scores none of its variants.
    scores = GATHER_SCORES.out.scores.filter { _meta, path -> workflow.stubRun || path.countLines() > 1 }
        .map { meta, path -> [meta.subMap('set', 'kind', 'release'), path] }
        .groupTuple(sort: byPath())
    training = tables.toSortedList(byPath()).flatMap { found -> found.take(1) }
    FIT_KMERS(training.combine(variant_sets.take(1)).map { row -> row[0] }, tools.fit_kmers)
    outside = comparators.toList().map { rows -> [rows] }
    measured = located.filter { row -> row[0].kind }.join(scores).combine(outside)
    BENCHMARK_VARIANTS(
        measured.map { meta, table, fasta, index, paths, rows ->
            def joined = rows.findAll { row -> row[0] == meta.set }
            [meta, table, fasta, index, paths, joined.collect { row -> row[1] }, joined.collect { row -> row[2] }]
        },
        FIT_KMERS.out.kmers.ifEmpty([]).first(),
        tools.benchmark_variants,
    )
    shown = ensembles.filter { model, _paths -> model == plan.saturate }
    stored = plan.haplotypes ? haplotypes : channel.value([])
    SATURATE_SEQUENCES(shown, windows, stored, genome, tools.saturate_sequences)

    emit:
    results  = SATURATE_SEQUENCES.out.saturation.map { path -> ['effects', path] }.mix(
        GATHER_SCORES.out.scores.mix(GATHER_SCORES.out.dropped).map { _meta, path -> ['effects/scores', path] },
        GATHER_SCORES.out.cost.map { path -> ['effects/scores', path] },
        BENCHMARK_VARIANTS.out.metrics.mix(BENCHMARK_VARIANTS.out.points, BENCHMARK_VARIANTS.out.curves)
            .map { path -> ['effects/benchmarks', path] },
    )
    records  = SCORE_VARIANTS.out.records.mix(
        FIT_KMERS.out.records, BENCHMARK_VARIANTS.out.records, SATURATE_SEQUENCES.out.records,
    )
}

/** How many of a set's variants a model scored, and how many were dropped for each reason. */
def countsText(meta, path) {
    def counts = path.readLines().drop(1).collect { line -> line.tokenize('\t') }
    def dropped = counts.drop(1).collect { reason, variants -> "${reason} ${variants}" }
    "${meta.set}, ${meta.model}: ${counts ? counts[0][1] : 0} variants scored; dropped: ${dropped.join(', ') ?: 'none'}"
}

/** One order of files on every run, so that -resume finds the task. */
def byPath() {
    { left, right -> left.name <=> right.name ?: left.toString() <=> right.toString() }
}

/** Files called SET.MODEL.SHARD.… in the order of their shards. */
def byShard() {
    { left, right -> shardOf(left) <=> shardOf(right) }
}

def shardOf(path) {
    path.name.replaceFirst(/\.(counts\.tsv|cost\.json|tsv)$/, '').tokenize('.').last().toInteger()
}

/**
 * User-provided models: name and folder. A folder is called by its model, with its members in it, or is itself a
 * member, fold…-seed… in a folder of the model's name. Members of one name are an ensemble; `trained` are names that
 * the run's own models have.
 */
def givenModels(String pattern, List trained) {
    def folders = [file(pattern, type: 'dir', checkIfExists: true)].flatten().sort()
    def models = folders.collect { folder ->
        [folder.name.replaceFirst(/-?(fold|test)\d+-.*/, '') ?: folder.parent.name, folder]
    }
    def names = models*.first().unique()
    def wrong = names.findAll { name -> name in trained }.collect { name -> "${name} is also trained in this run" } +
        names.findAll { name -> !(name ==~ /[A-Za-z0-9][\w.-]*/) }.collect { name -> "'${name}' is no name for files" }
    if (wrong || !models) {
        error("--trained ${pattern}: ${wrong ? "${wrong.join('; ')}; rename the folder" : 'no such folder'}")
    }
    models
}
