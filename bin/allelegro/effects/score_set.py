"""Scoring a variant set with one model: read, score, write, and say what was dropped."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from allelegro.effects.haplotype_effects import HAPLOTYPE_COLUMNS, score_haplotypes
from allelegro.effects.measured import MeasuredOptions, read_measured, sequences_measured
from allelegro.effects.score_files import SCORE_COLUMNS, annotate_vcf, read_score_chunks, write_chunks
from allelegro.effects.scoring import Scorer, score_sequences, score_variants
from allelegro.effects.scoring_cost import Meter
from allelegro.effects.variants import (
    CHUNK,
    Counts,
    Dropped,
    chunks_of,
    is_vcf,
    parse_alleles,
    read_sequence_pairs,
    read_variants,
)
from allelegro.effects.windows import Genome
from allelegro.errors import DataError
from allelegro.genotype.store import HaplotypeStore
from allelegro.io.effect_kinds import EffectKind

SHARD_CHUNK = 256  # small, so that shards of a small set share its variants

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

    @property
    def allele_sequences(self) -> Path | None:
        """The table of sequence pairs: ``sequences``, or a reporter table that says what it measured."""
        return self.sequences or (self.variants and sequences_measured(self.variants, self.kind))

    def chunks(self, dropped: Dropped) -> Iterator[pd.DataFrame]:
        """Chunks of the variants of the shard, their alleles parsed."""
        assert self.variants is not None
        if self.kind is None:
            source = read_variants(self.variants, self.chunk_size)
        else:
            source = chunks_of(read_measured(self.variants, self.kind, self.options).table, self.chunk_size)
        return parse_alleles(source, dropped, self.shard or (1, 1), self.variants)

    def pairs(self, table: Path) -> Iterator[pd.DataFrame]:
        """Chunks of the sequence pairs of the shard."""
        index, total = self.shard or (1, 1)
        chunks = chunks_of(read_sequence_pairs(table), self.chunk_size)
        return (chunk for number, chunk in enumerate(chunks) if number % total == index - 1)

    def require_scores(self, dropped: Dropped) -> None:
        """Refuse a set without scores. A shard may be without, or all shards when training saw every variant."""
        if not self.in_parts:
            Counts(0, dropped.counts).require_scores(self.variants or self.sequences, seen_is_enough=bool(self.shard))

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
    """Where the scores go, and on request more: each dropped variant, counts of reasons, the cost, an annotated VCF."""

    scores: Path
    dropped: Path | None = None
    counts: Path | None = None
    cost: Path | None = None
    vcf: Path | None = None


def score_set(given: VariantSet, scorer: Scorer, outputs: Outputs, stop_on_mismatch: bool) -> None:
    """Score and write; raises DataError for anything wrong with the data, leaving no half-written file.

    So does a set of which no variant can be scored: see :meth:`VariantSet.require_scores`.
    """
    if outputs.vcf is not None and not (given.variants and is_vcf(given.variants)):
        raise DataError(f"{given.variants}: --out-vcf annotates a VCF or BCF; this is a table")
    meter = Meter()
    with Dropped(outputs.dropped) as dropped:
        chunks = _scores(given, scorer, dropped, stop_on_mismatch)
        rows = write_chunks(chunks, outputs.scores, SCORE_COLUMNS, lambda: given.require_scores(dropped))
        logger.info("%s: %s variants scored; dropped: %s", scorer.name, f"{rows:,}", dropped.summary())
        if scorer.with_unknown:
            logger.warning("%s variants have N in their window (column n_unknown)", f"{scorer.with_unknown:,}")
    if outputs.counts is not None:
        Counts(rows, dropped.counts).write(outputs.counts)
    if outputs.cost is not None:
        networks = [(model.config["architecture"], model.module) for model in scorer.models]
        meter.cost(scorer.name, networks, rows, scorer.sequences, scorer.computed_in).write(outputs.cost)
    if outputs.vcf is not None and given.variants is not None:
        annotated = annotate_vcf(given.variants, read_score_chunks(outputs.scores), outputs.vcf, scorer.name)
        logger.info("%s: %s records annotated", outputs.vcf, f"{annotated:,}")


def score_set_on_haplotypes(given: VariantSet, scorer: Scorer, store: HaplotypeStore, out: Path) -> None:
    """Score the set's SNVs on each distinct haplotype of the store around them."""
    with Dropped() as dropped:
        chunks = score_haplotypes(given.chunks(dropped), scorer, store, dropped)
        rows = write_chunks(chunks, out, HAPLOTYPE_COLUMNS)
        logger.info("%s variants scored on people's haplotypes; dropped: %s", f"{rows:,}", dropped.summary())


def _scores(given: VariantSet, scorer: Scorer, dropped: Dropped, stop_on_mismatch: bool) -> Iterator[pd.DataFrame]:
    if (table := given.allele_sequences) is not None:
        return score_sequences(given.pairs(table), scorer, dropped)
    assert given.fasta is not None
    return score_variants(given.chunks(dropped), scorer, Genome(given.fasta), dropped, stop_on_mismatch, given.in_parts)
