include { SCORE_VARIANTS } from './score_variants.nf'
include { GATHER_SCORES } from './gather_scores.nf'
include { FIT_KMERS } from './fit_kmers.nf'
include { BENCHMARK_VARIANTS } from './benchmark_variants.nf'
include { SATURATE_SEQUENCES } from './saturate_sequences.nf'

// Every model scores every variant set, in shards; the sets' measured effects are the benchmark.
workflow EFFECTS {
    take:
    variant_sets // [set, kind, release], table, genome and index of its own or an empty list
    comparators  // set, name of an outside model, its scores
    genome
    models       // [model], checkpoint
    windows
    haplotypes
    tables       // prepared lentiMPRA: the first one trains the k-mer baseline
    plan         // see runPlan: haplotypes, whether there are any; shards; score, variants of no known effect, or null; saturate, the model whose saturation mutagenesis is shown, or null
    tools

    main:
    own = plan.trained ? channel.fromPath(plan.trained, type: 'dir', checkIfExists: true).map { path -> [path.name.replaceFirst(/-(fold|test)\d+-.*/, ''), path] } : channel.empty()
    ensembles = models.map { meta, path -> [meta.model, path] }.mix(own)
        .filter { model, _path -> !plan.scoring || model in plan.scoring }
        .groupTuple(sort: { left, right -> left.name <=> right.name })
    wanted = plan.score ? channel.fromPath(plan.score, checkIfExists: true).map { path -> [[set: setName(path), kind: null], path, []] } : channel.empty()
    located = variant_sets.mix(wanted).combine(genome).map { meta, table, another, fasta, index -> [meta, table] + (another ?: [fasta, index]) }
    work = located.combine(ensembles).combine(channel.fromList((1..plan.shards).toList())).map { meta, table, fasta, index, model, paths, shard ->
        [meta + [model: model], table, fasta, index, paths, shard, plan.shards]
    }
    SCORE_VARIANTS(work, tools.score_variants)
    GATHER_SCORES(SCORE_VARIANTS.out.scores.groupTuple(size: plan.shards, sort: { left, right -> left.name <=> right.name }), tools.gather_scores)

    GATHER_SCORES.out.dropped.filter { meta, _path -> !meta.kind }.subscribe { meta, path -> log.info(countsText(meta, path)) }

    // A model that saw every locus of a set scores none of its variants.
    scores = GATHER_SCORES.out.scores.filter { _meta, path -> workflow.stubRun || path.countLines() > 1 }
        .map { meta, path -> [meta.subMap('set', 'kind', 'release'), path] }
        .groupTuple(sort: { left, right -> left.name <=> right.name })
    training = tables.toSortedList { left, right -> left.name <=> right.name }.flatMap { found -> found.take(1) }
    FIT_KMERS(training.combine(variant_sets.take(1)).map { row -> row[0] }, tools.fit_kmers)
    outside = comparators.toList().map { rows -> [rows] }
    BENCHMARK_VARIANTS(
        located.filter { row -> row[0].kind }.join(scores).combine(outside).map { meta, table, fasta, index, paths, rows ->
            def joined = rows.findAll { set, _name, _scores -> set == meta.set }
            [meta, table, fasta, index, paths, joined.collect { _set, name, _scores -> name }, joined.collect { _set, _name, score -> score }]
        },
        FIT_KMERS.out.kmers.ifEmpty([]).first(),
        tools.benchmark_variants,
    )
    SATURATE_SEQUENCES(ensembles.filter { model, _paths -> model == plan.saturate }, windows, plan.haplotypes ? haplotypes : channel.value([]), genome, tools.saturate_sequences)

    emit:
    results  = SATURATE_SEQUENCES.out.saturation.map { path -> ['effects', path] }.mix(
        GATHER_SCORES.out.scores.mix(GATHER_SCORES.out.dropped).map { _meta, path -> path }.mix(GATHER_SCORES.out.cost).map { path -> ['effects/scores', path] },
        BENCHMARK_VARIANTS.out.metrics.mix(BENCHMARK_VARIANTS.out.points, BENCHMARK_VARIANTS.out.curves).map { path -> ['effects/benchmarks', path] },
    )
    records  = SCORE_VARIANTS.out.records.mix(FIT_KMERS.out.records, BENCHMARK_VARIANTS.out.records, SATURATE_SEQUENCES.out.records)
}

/** How many of a set's variants a model scored, and how many were dropped for each reason. */
def countsText(meta, path) {
    def counts = path.readLines().drop(1).collect { line -> line.tokenize('\t') }
    def dropped = counts.drop(1).collect { reason, variants -> "${reason} ${variants}" }
    "${meta.set}, ${meta.model}: ${counts ? counts[0][1] : 0} variants scored; dropped: ${dropped.join(', ') ?: 'none'}"
}

/** A file's name without the suffixes of its format, and with nothing that files of the results may not be named by. */
def setName(path) {
    path.name.replaceFirst(/\.(vcf|bcf|tsv|csv|txt)(\.b?gz)?$/, '').replaceAll(/[^\w.-]/, '_')
}
