include { SCORE_VARIANTS } from './score_variants.nf'
include { GATHER_SCORES } from './gather_scores.nf'
include { FIT_KMERS } from './fit_kmers.nf'
include { BENCHMARK_VARIANTS } from './benchmark_variants.nf'
include { RANK_VARIANTS } from './rank_variants.nf'
include { SATURATE_SEQUENCES } from './saturate_sequences.nf'
include { EXPLAIN_VARIANTS } from './explain_variants.nf'

// Every model scores every variant set, in shards; the sets' measured effects are the benchmark.
workflow EFFECTS {
    take:
    variant_sets // [set, kind, release], table, genome and index of its own or an empty list
    scored       // the same of variants without measured effects: kind is null
    comparators  // set, name of an outside model, its scores
    genome
    models       // [model], checkpoint
    windows
    observed     // counts store of the windows, where there are libraries
    haplotypes
    tables       // prepared lentiMPRA: the first one trains the k-mer baseline
    plan         // see runPlan
    tools

    main:
    given = plan.trained ? givenModels(plan.trained, plan.haplotypes ? plan.models*.model : []) : []
    scoring = models.map { meta, path -> [meta.model, path] }.mix(channel.fromList(given))
        .filter { model, _path -> !plan.scoring || model in plan.scoring }
    ensembles = scoring.toSortedList { left, right -> left[0] <=> right[0] ?: byPath()(left[1], right[1]) }
        .filter { members -> members }
        .map { members -> [members.collect { row -> row[0] }, members.collect { row -> row[1] }] }
    known = plan.genome ? genome : channel.value([[], []]) // outside scores alone need none
    located = variant_sets.mix(scored).combine(known.map { fasta, index -> [[fasta, index]] })
        .map { meta, table, another, ours -> [meta, table] + (another ?: ours) }
    // The windows are of the run's genome.
    elsewhere = variant_sets.filter { row -> row[2] }.map { row -> row[0].set }.toList()
    elements = (plan.windows ? windows : channel.value([])).combine(elsewhere.map { sets -> [sets] })
    shards = channel.fromList((1..plan.shards).toList())
    work = located.combine(shards).combine(elements.map { row -> [row] })
        .map { meta, table, fasta, index, shard, row ->
            def vcf = plan.shards > 1 ? null : vcfSuffix(meta, table)
            def near = row.size() == 2 && !(meta.set in row[1]) ? row[0] : []
            def compared = [vcf: vcf, nulls: meta.kind ? 0 : plan.nulls]
            [meta + compared, table, fasta, index, near, shard, plan.shards]
        }
    SCORE_VARIANTS(work, ensembles, tools.score_variants)
    parts = SCORE_VARIANTS.out.scores.groupTuple(size: plan.shards).map { row ->
        [row[0]] + row.tail().collect { files -> files.flatten().sort(byPath()) }
    }
    files = located.map { meta, table, _fasta, _index -> [meta.set, table] }
    gathering = parts.map { row -> [row[0].set] + row }.combine(files, by: 0)
        .map { _set, meta, effects, costs, counts, table ->
            [meta + [vcf: vcfSuffix(meta, table)], effects, costs, counts, table]
        }
    GATHER_SCORES(plan.shards > 1 ? gathering : channel.empty(), tools.gather_scores)
    gathered = plan.shards > 1 ? GATHER_SCORES.out.scores : SCORE_VARIANTS.out.scores
    annotated = SCORE_VARIANTS.out.annotated.mix(GATHER_SCORES.out.annotated)

    gathered.filter { meta, _effects, _costs, _counts -> !meta.kind }
        .subscribe { meta, _effects, _costs, counts -> log.info(countsText(meta.set, counts)) }

    // Of a set that training of every model saw whole there is no benchmark.
    seen_too = tools.benchmark_variants.args.contains('--include-seen')
    scores = gathered.filter { _meta, _effects, _costs, counts -> workflow.stubRun || anyScored(counts, !seen_too) }
        .map { meta, effects, _costs, _counts -> [meta.subMap('set', 'kind', 'release'), [effects].flatten()] }
    training = tables.toSortedList(byPath()).flatMap { found -> found.take(1) }
    FIT_KMERS(
        training.combine(variant_sets.take(1)).map { row -> row[0] }, plan.windows ? windows : channel.value([]),
        plan.tested, tools.fit_kmers,
    )
    outside = comparators.toList().map { rows -> [rows] }
    measured = located.filter { row -> row[0].kind }
        .join(scores.filter { meta, _paths -> meta.kind }, remainder: true).combine(outside)
    BENCHMARK_VARIANTS(
        measured.map { meta, table, fasta, index, paths, rows ->
            def joined = rows.findAll { row -> row[0] == meta.set }
            [meta, table, fasta, index, paths ?: [], joined.collect { row -> row[1] }, joined.collect { row -> row[2] }]
        }.filter { row -> row[4] || row[5] },
        FIT_KMERS.out.kmers.ifEmpty([]).first(),
        tools.benchmark_variants,
    )
    ranked = gathered.filter { meta, _effects, _costs, _counts -> !meta.kind }
        .map { meta, effects, _costs, _counts -> [meta.set, [effects].flatten()] }.join(files)
        .map { set, effects, table -> [[set: set, vcf: vcfSuffix([kind: null], table)], effects, table] }
    RANK_VARIANTS(
        ranked, BENCHMARK_VARIANTS.out.points.toSortedList(byPath()), plan.counts ? observed : channel.value([]),
        plan.annotation ? file(plan.annotation, checkIfExists: true) : [],
        plan.motifs ? file(plan.motifs, checkIfExists: true) : [], genome, tools.rank_variants,
    )
    shown = scoring.filter { model, _path -> model == plan.saturate }.groupTuple(sort: byPath())
    stored = plan.haplotypes ? haplotypes : channel.value([])
    SATURATE_SEQUENCES(shown, windows, stored, genome, tools.saturate_sequences)

    // By the model whose saturation is shown, else by the first that is not pretrained alone.
    explaining = scoring.groupTuple(sort: byPath()).toList().flatMap { found ->
        found.sort { row -> "${row[0] != plan.saturate} ${row[0].startsWith('pretrained_')} ${row[0]}" }.take(1)
    }
    asked = gathered.filter { meta, _effects, _costs, counts -> !meta.kind && (workflow.stubRun || anyScored(counts)) }
        .map { meta, effects, _costs, _counts -> [meta.set, [effects].flatten()] }
    genomes = located.map { meta, _table, fasta, index -> [meta.set, fasta, index] }
    explained = asked.join(RANK_VARIANTS.out.variants).join(genomes).combine(explaining)
        .map { set, effects, ranked_set, fasta, index, model, paths ->
            [set, effects.findAll { path -> path.name == "${set}.${model}.tsv" }, ranked_set, fasta, index, model, paths]
        }
    EXPLAIN_VARIANTS(explained.filter { row -> row[1] }, tools.explain_variants)

    emit:
    results  = SATURATE_SEQUENCES.out.saturation.map { path -> ['effects', path] }.mix(
        gathered.flatMap { row -> row.tail().flatten() }.mix(annotated).map { path -> ['effects/scores', path] },
        EXPLAIN_VARIANTS.out.importance.map { path -> ['effects/importance', path] },
        RANK_VARIANTS.out.variants.map { row -> row[1] }.mix(RANK_VARIANTS.out.calibration).map { path -> ['effects/scores', path] },
        BENCHMARK_VARIANTS.out.metrics.mix(BENCHMARK_VARIANTS.out.points, BENCHMARK_VARIANTS.out.curves)
            .map { path -> ['effects/benchmarks', path] },
    )
    records  = SCORE_VARIANTS.out.records.mix(
        FIT_KMERS.out.records, BENCHMARK_VARIANTS.out.records, RANK_VARIANTS.out.records,
        SATURATE_SEQUENCES.out.records,
        EXPLAIN_VARIANTS.out.records,
    )
}

/** What became of a set's variants: of each model how many were scored, and how many not for each reason. */
def countsText(set, counts) {
    def rows = counts.readLines().drop(1).collect { line -> line.tokenize('\t') }
    rows.groupBy { row -> row[0] }.collect { model, found ->
        def scored = found.findAll { row -> row[1] == 'scored' }.collect { row -> row[2] }.join()
        def seen = found.findAll { row -> row[1] == 'seen' }.collect { row -> ", ${row[2]} ${row[3]}" }.join()
        def others = found.findAll { row -> !(row[1] in ['scored', 'seen']) }.collect { row -> "${row[2]} ${row[1]} (${row[3]})" }
        "${set}, ${model}: ${scored} variants scored${seen}; not scored: ${others.join(', ') ?: 'none'}"
    }.join('\n')
}

/** Whether a model scored a variant of the set; `unseen`: one that its training did not see. */
def anyScored(counts, unseen = false) {
    def rows = counts.readLines().drop(1)*.tokenize('\t')
    def seen = rows.findAll { row -> unseen && row[1] == 'seen' }.collectEntries { row -> [row[0], row[2].toInteger()] }
    rows.any { row -> row[1] == 'scored' && row[2].toInteger() > seen.getOrDefault(row[0], 0) }
}

/** Suffix of the annotated copy of a VCF or BCF; null for a table and for a set with measured effects. */
def vcfSuffix(meta, path) {
    def suffix = path.name.endsWith('.bcf') ? 'bcf' : path.name ==~ /.*\.vcf(\.b?gz)?/ ? 'vcf.gz' : null
    meta.kind ? null : suffix
}

/** One order of files on every run, so that -resume finds the task. */
def byPath() {
    { left, right -> left.name <=> right.name ?: left.toString() <=> right.toString() }
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
