"""One run of ``score_variants.py``: read, score, write, and say what was dropped."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from allelegro.effects.measured import TruthOptions, read_truth
from allelegro.effects.score_files import annotate_vcf, score_chunks, write_chunks, write_scores
from allelegro.effects.scoring import Context, Scorer, Strands, score_sequences, score_variants
from allelegro.effects.scoring_cost import Meter
from allelegro.effects.variants import (
    CHUNK,
    Dropped,
    chunks_of,
    is_vcf,
    parse_alleles,
    read_sequence_pairs,
    read_variants,
    sequences_measured,
)
from allelegro.effects.windows import Genome
from allelegro.errors import DataError
from allelegro.models.checkpoint import load_model
from allelegro.models.device import choose_device, keep_freed_memory
from allelegro.models.ensemble import members
from allelegro.models.inference import Precision

SHARD_CHUNK = 256  # small, so that shards of a small set share its variants

logger = logging.getLogger(__name__)


@dataclass
class Run:
    """The options of ``score_variants.py``."""

    checkpoints: list[Path]
    out: Path
    variants: Path | None
    fasta: Path | None
    sequences: Path | None
    kind: str | None
    truth: TruthOptions
    name: str
    context: Context
    strands: Strands
    shifts: list[int]
    slide: bool
    held_out_only: bool
    stop_on_mismatch: bool
    dropped: Path | None
    haplotypes: Path | None
    out_backgrounds: Path | None
    out_vcf: Path | None
    cost: Path | None
    shard: tuple[int, int]
    may_be_empty: bool
    precision: Precision
    batch_size: int | None
    threads: int
    device: str


def run(options: Run) -> None:
    """Score and write; raises DataError for anything wrong with the data, leaving no half-written file."""
    if options.out_vcf is not None and not (options.variants and is_vcf(options.variants)):
        raise DataError(f"{options.variants}: --out-vcf annotates a VCF or BCF; this is a table")
    keep_freed_memory()
    device = choose_device(options.device)
    models = [load_model(path, device) for path in members(options.checkpoints)]
    scorer = Scorer(
        options.name, models, options.context, options.strands, options.shifts, options.slide, options.held_out_only,
        options.precision, options.batch_size,
    )  # fmt: skip
    meter = Meter()
    with Dropped(options.dropped) as dropped:
        rows = write_scores(_scores(options, scorer, dropped), options.out, allow_empty=options.may_be_empty)
        logger.info("%s: %s variants scored; dropped: %s", options.name, f"{rows:,}", dropped.summary())
        if scorer.with_unknown:
            logger.warning("%s variants have N in their window (column n_unknown)", f"{scorer.with_unknown:,}")
    if options.cost is not None:
        networks = [(model.config["architecture"], model.module) for model in models]
        meter.cost(options.name, networks, rows, scorer.sequences, scorer.computed_in).write(options.cost)
    if options.haplotypes is not None and options.out_backgrounds is not None:
        _write_backgrounds(options, scorer, options.haplotypes, options.out_backgrounds)
    if options.out_vcf is not None and options.variants is not None:
        annotated = annotate_vcf(options.variants, score_chunks(options.out), options.out_vcf, options.name)
        logger.info("%s: %s records annotated", options.out_vcf, f"{annotated:,}")


def _scores(options: Run, scorer: Scorer, dropped: Dropped) -> Iterator[pd.DataFrame]:
    if (given := _given_sequences(options)) is not None:
        pairs = chunks_of(read_sequence_pairs(given), _chunk_size(options))
        yield from score_sequences(_part(pairs, options.shard), scorer, dropped)
        return
    assert options.fasta is not None
    genome = Genome(options.fasta)
    yield from score_variants(_variants(options, dropped), scorer, genome, dropped, options.stop_on_mismatch)


def _given_sequences(options: Run) -> Path | None:
    """The table of sequence pairs: ``--sequences``, or a reporter table that says what it measured."""
    return options.sequences or (options.variants and sequences_measured(options.variants, options.kind))


def _write_backgrounds(options: Run, scorer: Scorer, store: Path, out: Path) -> None:
    from allelegro.effects.haplotype_effects import BACKGROUND_COLUMNS, score_backgrounds
    from allelegro.genotype.store import HaplotypeStore

    with Dropped() as dropped:
        chunks = score_backgrounds(_variants(options, dropped), scorer, HaplotypeStore.open(store), dropped)
        rows = write_chunks(chunks, out, BACKGROUND_COLUMNS)
        logger.info("%s variants scored on haplotype backgrounds; left out: %s", f"{rows:,}", dropped.summary())


def _variants(options: Run, dropped: Dropped) -> Iterator[pd.DataFrame]:
    assert options.variants is not None
    size = _chunk_size(options)
    if options.kind is None:
        source = read_variants(options.variants, size)
    else:
        source = chunks_of(read_truth(options.variants, options.kind, options.truth).table, size)
    return parse_alleles(_part(source, options.shard), dropped)


def _chunk_size(options: Run) -> int:
    return CHUNK if options.shard[1] == 1 else SHARD_CHUNK


def _part(chunks: Iterator[pd.DataFrame], shard: tuple[int, int]) -> Iterator[pd.DataFrame]:
    """Every ``total``-th chunk; a shard of a small file may have none."""
    index, total = shard
    return (chunk for number, chunk in enumerate(chunks) if number % total == index - 1)
