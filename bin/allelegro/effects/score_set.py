"""Scoring a variant set with one or several models: read, score, write, and say what was dropped."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd

from allelegro.effects.haplotype_effects import HAPLOTYPE_COLUMNS, score_haplotypes
from allelegro.effects.measured import MeasuredOptions, brings_sequences, measured_pairs, read_measured
from allelegro.effects.score_files import (
    SCORE_COLUMNS,
    annotate_vcf,
    of_model,
    read_score_chunks,
    table_writer,
    write_chunks,
)
from allelegro.effects.scoring import GenomeCheck, Scorer, score_in_genome, score_sequences, with_every_row
from allelegro.effects.scoring_cost import Meter
from allelegro.effects.trust import Nulls, random_snvs
from allelegro.effects.variants import (
    CHUNK,
    SHARD_CHUNK,
    Counts,
    Dropped,
    chunks_of,
    is_vcf,
    parse_alleles,
    read_sequence_pairs,
    read_variants,
    require_any_scores,
    write_counts,
)
from allelegro.effects.windows import Genome, reference_around, window_centres
from allelegro.errors import DataError
from allelegro.genotype.store import HaplotypeStore
from allelegro.io.atomic import written
from allelegro.io.effect_kinds import EffectKind

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VariantSet:
    """What is scored: ``variants`` (a VCF, a table, or of a ``kind``, measured effects) of a genome, or ``sequences``.

    Shard (i, n) is every n-th chunk of them, from the i-th on; None: all.
    """

    variants: Path | None
    sequences: Path | None
    fasta: Path | None
    kind: EffectKind | None = None
    options: MeasuredOptions = field(default_factory=MeasuredOptions)
    shard: tuple[int, int] | None = None

    @cached_property
    def on_sequences(self) -> bool:
        """Whether alleles are given as sequences: by ``sequences``, or by measured effects that bring theirs."""
        measured = self.variants is not None and self.kind is not None
        return self.sequences is not None or (measured and brings_sequences(self.variants))  # type: ignore[arg-type]

    def chunks(self, dropped: Dropped) -> Iterator[pd.DataFrame]:
        """Chunks of the variants of the shard, their alleles parsed."""
        assert self.variants is not None
        if self.kind is None:
            source = read_variants(self.variants, self.chunk_size)
        else:
            source = chunks_of(read_measured(self.variants, self.kind, self.options).table, self.chunk_size)
        return parse_alleles(source, dropped, self.shard or (1, 1), self.variants)

    def pairs(self) -> Iterator[pd.DataFrame]:
        """Chunks of the sequence pairs of the shard."""
        index, total = self.shard or (1, 1)
        if self.sequences is not None:
            table = read_sequence_pairs(self.sequences)
        else:
            assert self.variants is not None and self.kind is not None
            table = measured_pairs(self.variants, self.kind, self.options)
        chunks = chunks_of(table, self.chunk_size)
        return (chunk for number, chunk in enumerate(chunks) if number % total == index - 1)

    def require_scores(self, counts: Mapping[str, Counts]) -> None:
        """Raise DataError when no model scored a variant of the set. A shard may be without."""
        if not self.in_parts:
            require_any_scores(counts, self.variants or self.sequences)

    @property
    def in_parts(self) -> bool:
        """Whether this is one of several shards."""
        return self.shard is not None and self.shard[1] > 1

    @property
    def chunk_size(self) -> int:
        """Variants that are scored together."""
        return SHARD_CHUNK if self.in_parts else CHUNK


@dataclass(frozen=True)
class Outputs:
    """Where the scores go, and on request more: each dropped variant, counts of reasons, the cost, an annotated VCF.

    ``{model}`` in a name is replaced by the model's; files of several models (all but ``counts`` and ``vcf``) need it.
    """

    scores: Path
    dropped: Path | None = None
    counts: Path | None = None
    cost: Path | None = None
    vcf: Path | None = None


def score_set(
    given: VariantSet,
    scorers: Sequence[Scorer],
    outputs: Outputs,
    stop_on_mismatch: bool,
    windows: pd.DataFrame | None = None,
    random: int = 0,
    seed: int = 0,
) -> None:
    """Score with each model and write one row a variant; raises DataError for anything wrong with the data.

    No half-written file is left. With ``windows`` (elements) a variant in one of them is scored in it. So that nothing
    is lost unnoticed, a set of which no variant can be scored is an error: see :meth:`VariantSet.require_scores`. With
    ``random`` that many random SNVs a class are scored too, and each variant placed among them (``null_quantile``).
    """
    if outputs.vcf is not None and not (given.variants and is_vcf(given.variants)):
        raise DataError(f"{given.variants}: --out-vcf annotates a VCF or BCF; this is a table")
    with ExitStack() as stack:
        models = [_ModelOutput(scorer, outputs, stack) for scorer in scorers]
        compared = not random or given.on_sequences
        for rows, lost, score in _chunks(given, stop_on_mismatch, windows):
            if not compared and not rows.empty and given.fasta is not None:
                snvs = _random_snvs(rows, scorers, windows, Genome(given.fasta), random, seed)
                for model in models:
                    model.compare_with(snvs, score)
                compared = True
            for model in models:
                model.write(rows, lost, score)
        counts = {model.scorer.name: model.counts for model in models}
        given.require_scores(counts)
        for model in models:
            model.finish(outputs)
        if outputs.counts is not None:
            write_counts(counts, outputs.counts)
    if outputs.vcf is not None and given.variants is not None:
        tables = {scorer.name: of_model(outputs.scores, scorer.name) for scorer in scorers}
        scores = {model: read_score_chunks(written(path)) for model, path in tables.items()}
        annotated = annotate_vcf(given.variants, scores, outputs.vcf)
        logger.info("%s: %s records annotated", outputs.vcf, f"{annotated:,}")


ScoreChunk = Callable[[pd.DataFrame, Scorer, Dropped], pd.DataFrame]


class _ModelOutput:
    """What is written of one model while chunks are scored."""

    def __init__(self, scorer: Scorer, outputs: Outputs, stack: ExitStack) -> None:
        self.scorer, self._meter = scorer, Meter()
        path = outputs.dropped and of_model(outputs.dropped, scorer.name)
        self._dropped = stack.enter_context(Dropped(path, keep_rows=True))
        table = of_model(outputs.scores, scorer.name)
        self._write = stack.enter_context(table_writer(table, SCORE_COLUMNS))
        self._scored, self._seen = 0, 0
        self._nulls = Nulls({})

    def compare_with(self, snvs: pd.DataFrame, score: ScoreChunk) -> None:
        """Score random SNVs, among which the effects of variants are placed from now on."""
        self._nulls = Nulls.of(score(snvs, self.scorer, Dropped()))

    def write(self, rows: pd.DataFrame, lost: pd.DataFrame, score: ScoreChunk) -> None:
        """Score the rows that can be, and write them with those that were lost before any model."""
        for status, part in lost.groupby("status", sort=False):
            self._dropped.add(part, str(status))
        with self._meter:
            scored = score(rows, self.scorer, self._dropped)
        scored = scored.assign(null_quantile=self._nulls.quantiles(scored))
        self._scored += len(scored)
        self._seen += int((scored["seen"] == "yes").sum())
        self._write(with_every_row(scored, self._dropped.take(), model=self.scorer.name))

    @property
    def counts(self) -> Counts:
        """What was scored so far, and dropped for each reason."""
        return Counts(self._scored, self._dropped.counts, self._seen)

    def finish(self, outputs: Outputs) -> None:
        """Say what was scored, and write what it cost."""
        scorer = self.scorer
        logger.log(logging.WARNING if self._seen else logging.INFO, "%s: %s", scorer.name, self.counts.said())
        if scorer.with_unknown:
            logger.warning("%s variants have N in their window (column n_unknown)", f"{scorer.with_unknown:,}")
        if outputs.cost is not None:
            networks = [(model.config["architecture"], model.module) for model in scorer.models]
            cost = self._meter.cost(scorer.name, networks, self._scored, scorer.sequences, scorer.computed_in)
            cost.write(of_model(outputs.cost, scorer.name))


def _random_snvs(
    variants: pd.DataFrame,
    scorers: Sequence[Scorer],
    windows: pd.DataFrame | None,
    genome: Genome,
    each: int,
    seed: int,
) -> pd.DataFrame:
    """Random SNVs of elements, as far from their centres as a model reads, and around variants.

    Of elements that a model did not see, where there are any.
    """
    reach = max(scorer.widest for scorer in scorers) // 2
    if windows is not None:
        centres = pd.Series(window_centres(windows), windows.index)
        around = partial(reference_around, windows["chrom"], centres, genome)
        seen = np.stack([scorer.choose(windows["chrom"], centres, around=around)[1] for scorer in scorers])
        unseen = (seen != "yes").any(axis=0)
        windows = windows[unseen] if unseen.any() else windows
    return random_snvs(variants, windows, genome, reach, each, seed)


def _chunks(
    given: VariantSet, stop_on_mismatch: bool, windows: pd.DataFrame | None
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame, ScoreChunk]]:
    """Of each chunk the variants that can be scored, those that no model can, and how a model scores the first."""
    if given.on_sequences:
        nothing = Dropped(keep_rows=True).take()
        yield from ((frame, nothing, score_sequences) for frame in given.pairs())
        return
    assert given.fasta is not None
    genome, dropped = Genome(given.fasta), Dropped(keep_rows=True)
    check = GenomeCheck(genome, stop_on_mismatch, given.in_parts)

    def score(rows: pd.DataFrame, scorer: Scorer, lost: Dropped) -> pd.DataFrame:
        return score_in_genome(rows, scorer, genome, lost, windows)

    for frame in given.chunks(dropped):
        rows = check(frame, dropped)
        yield rows, dropped.take(), score
    check.finish()


def score_set_on_haplotypes(given: VariantSet, scorer: Scorer, store: HaplotypeStore, out: Path) -> None:
    """Score the set's SNVs on each distinct haplotype of the store around them."""
    with Dropped() as dropped:
        chunks = score_haplotypes(given.chunks(dropped), scorer, store, dropped)
        rows = write_chunks(chunks, out, HAPLOTYPE_COLUMNS)
        logger.info("%s variants scored on people's haplotypes; dropped: %s", f"{rows:,}", dropped.summary())
