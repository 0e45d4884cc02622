"""Scores of variants: log2 alt/ref by one or several checkpoints, over strands and shifts, in flat memory."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.effects.score_files import SCORE_COLUMNS
from allelegro.effects.variants import VARIANT_COLUMNS, Dropped
from allelegro.effects.windows import (
    AllelePairs,
    Genome,
    genome_pairs,
    place_variants,
    reference_agrees,
    require_contigs,
    sequence_pairs,
)
from allelegro.errors import DataError
from allelegro.io.dna import N
from allelegro.models.checkpoint import LoadedModel
from allelegro.models.config import HeldOut
from allelegro.models.inference import Precision, StrandPredictor

Context = Literal["auto", "genomic", "construct"]
Strands = Literal["both", "forward"]
ENOUGH = 100  # variants to tell by their REF that the genome is another
PairMaker = Callable[[pd.DataFrame, int], AllelePairs]

logger = logging.getLogger(__name__)


@dataclass
class Scorer:
    """One or several checkpoints that together are ``name``: their mean, with its spread.

    A member is one checkpoint, strand and shift; ``effect`` is the mean over members of log2 alt/ref, ``effect_sd``
    their standard deviation (NaN for a single member). ``slide``: see :func:`allelegro.effects.windows.genome_pairs`.
    """

    name: str
    models: list[LoadedModel]
    context: Context = "auto"
    strands: Strands = "both"
    shifts: list[int] = field(default_factory=lambda: [0])
    slide: bool = False
    held_out_only: bool = True
    precision: Precision = "auto"
    batch_size: int | None = None

    def __post_init__(self) -> None:
        self._predictors = [StrandPredictor(model, self.precision, self.batch_size) for model in self.models]
        self.sequences = 0  # that went through a network so far
        self.with_unknown = 0  # variants so far with N in a window
        self._held_out = [HeldOut.of(model.config["training"]) for model in self.models]
        silent = [model.name for model, held_out in zip(self.models, self._held_out, strict=True) if held_out.unknown]
        if self.held_out_only and silent:
            logger.warning("%s does not say which chromosomes it saw; it scores all variants", ", ".join(silent))
        for model in self.models:
            if self.context == "construct" and not model.config["context"]:
                raise DataError(f"{model.name}: this checkpoint has no construct context; use --context genomic")

    def input_width(self, model: LoadedModel) -> int:
        """Bases of sequence that the model takes in this context."""
        return model.insert_width if self._in_construct(model) else model.width

    @property
    def narrowest(self) -> int:
        """The smallest input width among the models."""
        return min(self.input_width(model) for model in self.models)

    @property
    def knows_held_out(self) -> bool:
        """Whether every checkpoint says what it saw."""
        return not any(held_out.unknown for held_out in self._held_out)

    def _in_construct(self, model: LoadedModel) -> bool:
        return self.context != "genomic" and bool(model.config["context"])

    @property
    def computed_in(self) -> str:
        """Precision of the networks: ``bf16``, ``fp32`` or both."""
        return ", ".join(sorted({predictor.precision for predictor in self._predictors}))

    def score(self, frame: pd.DataFrame, make_pairs: PairMaker, dropped: Dropped) -> pd.DataFrame:
        """``SCORE_COLUMNS`` of the variants of a chunk; those that every model saw in training are dropped."""
        chosen = self.eligible(frame["chrom"], frame["pos"] - 1)
        frame = dropped.keep(frame, chosen.any(axis=0), "seen_by_every_model")
        chosen = chosen[:, chosen.any(axis=0)]
        if frame.empty:
            return pd.DataFrame(columns=SCORE_COLUMNS)
        sums = _Moments(len(frame))
        pairs: dict[int, AllelePairs] = {}
        for model, predictor, mask in zip(self.models, self._predictors, chosen, strict=True):
            if not mask.any():
                continue
            width = self.input_width(model)
            if width not in pairs:
                pairs[width] = make_pairs(frame, width)
            for strand in (0,) if self.strands == "forward" else (0, 1):
                for shift in range(pairs[width].alternative.shape[1]):
                    sums.add(mask, *self._predict(model, predictor, pairs[width], mask, strand, shift))
        unknown = np.max([_unknown_bases(pair) for pair in pairs.values()], axis=0)
        self.with_unknown += int((unknown > 0).sum())
        return self._table(frame, sums, chosen.sum(axis=0), unknown)

    def eligible(self, chrom: pd.Series, start: pd.Series) -> NDArray[np.bool_]:
        """Which models may score which positions (0-based), ``[models, positions]``."""
        if not self.held_out_only:
            return np.ones((len(self.models), len(chrom)), bool)
        return np.stack([held_out.unseen(chrom, start) for held_out in self._held_out])

    def _predict(
        self, model: LoadedModel, predictor: StrandPredictor, pairs: AllelePairs, mask: NDArray[np.bool_],
        strand: int, shift: int,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:  # fmt: skip
        rows, reference_row = np.unique(pairs.reference_row[mask], return_inverse=True)
        codes = np.concatenate([pairs.reference[rows, shift], pairs.alternative[mask, shift]])
        self.sequences += len(codes)
        values = predictor(model.in_context(codes) if self._in_construct(model) else codes, strand)
        return values[: rows.size][reference_row], values[rows.size :]

    def _table(
        self, frame: pd.DataFrame, sums: "_Moments", n_models: NDArray[np.intp], unknown: NDArray[np.intp]
    ) -> pd.DataFrame:
        (ref, alt, effect), (ref_sd, alt_sd, effect_sd) = sums.mean(), sums.sd()
        return pd.DataFrame(
            {
                **{column: frame[column].to_numpy() for column in VARIANT_COLUMNS},
                "model": self.name, "effect": effect, "effect_sd": effect_sd, "ref_prediction": ref,
                "alt_prediction": alt, "n_models": n_models, "ref_sd": ref_sd, "alt_sd": alt_sd,
                "n_predictions": sums.n, "n_unknown": unknown,
            }
        )  # fmt: skip


def _unknown_bases(pairs: AllelePairs) -> NDArray[np.intp]:
    """N in each variant's windows: the most of any allele and shift."""
    reference, alternative = ((codes == N).sum(axis=2).max(axis=1) for codes in (pairs.reference, pairs.alternative))
    return np.asarray(np.maximum(reference[pairs.reference_row], alternative))


class _Moments:
    """Running mean and variance (Welford) of reference, alternative and effect over the members of an ensemble."""

    def __init__(self, variants: int) -> None:
        self.n = np.zeros(variants, np.int64)
        self._mean, self._squares = np.zeros((3, variants)), np.zeros((3, variants))

    def add(self, mask: NDArray[np.bool_], ref: NDArray[np.float32], alt: NDArray[np.float32]) -> None:
        values = np.stack([ref, alt, alt - ref]).astype(np.float64)
        self.n[mask] += 1
        before = values - self._mean[:, mask]
        self._mean[:, mask] += before / self.n[mask]
        self._squares[:, mask] += before * (values - self._mean[:, mask])

    def mean(self) -> NDArray[np.float64]:
        return self._mean

    def sd(self) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.n > 1, np.sqrt(self._squares / (self.n - 1)), np.nan)


def score_variants(
    chunks: Iterator[pd.DataFrame],
    scorer: Scorer,
    genome: Genome,
    dropped: Dropped,
    stop_on_mismatch: bool = False,
    in_shard: bool = False,
) -> Iterator[pd.DataFrame]:
    """Score parsed variants (``variants.parse_alleles``) in genomic windows, chunk by chunk; see ``place_and_check``."""
    for frame in place_and_check(chunks, genome, scorer.narrowest, dropped, stop_on_mismatch, in_shard):
        yield scorer.score(
            frame, lambda rows, width: genome_pairs(rows, genome, width, scorer.shifts, scorer.slide), dropped
        )


def place_and_check(
    chunks: Iterator[pd.DataFrame],
    genome: Genome,
    width: int,
    dropped: Dropped,
    stop_on_mismatch: bool = False,
    in_shard: bool = False,
) -> Iterator[pd.DataFrame]:
    """The variants that the genome has and that fit a window of ``width``; the others are dropped with their reason.

    Raises DataError when no contig, or the REF of fewer than half of the variants, is in the FASTA: another genome. Of
    a shard among several neither is asked of its few variants. With ``stop_on_mismatch`` a single REF that disagrees
    is an error.
    """
    names: dict[str, None] = {}
    seen, wrong = 0, None
    for frame in chunks:
        names |= dict.fromkeys(frame["chrom"].unique())
        seen += len(frame)
        located = place_variants(frame, genome, width, dropped)
        agrees = reference_agrees(located, genome)
        kept = dropped.keep(located, agrees, "ref_mismatch")
        if not agrees.all():
            wrong = located[~agrees].iloc[0]
        if wrong is not None and (stop_on_mismatch or seen >= ENOUGH):
            _require_reference(genome, dropped.counts["ref_mismatch"], seen, wrong, stop_on_mismatch)
        if not kept.empty:
            yield kept
    if not in_shard:
        if names:
            require_contigs(names, genome)
        if wrong is not None:
            _require_reference(genome, dropped.counts["ref_mismatch"], seen, wrong, stop_on_mismatch)


def _require_reference(genome: Genome, mismatches: int, seen: int, wrong: pd.Series, one_is_enough: bool) -> None:
    if one_is_enough or 2 * mismatches > seen:
        raise DataError(
            f"{genome.path}: REF of {mismatches:,} of the first {seen:,} variants is not in the FASTA, "
            f"as {wrong['ref']} at {wrong['chrom']}:{wrong['pos']}; give the assembly the variants were called on"
        )


def score_sequences(chunks: Iterator[pd.DataFrame], scorer: Scorer, dropped: Dropped) -> Iterator[pd.DataFrame]:
    """Score pairs of allele sequences (``variants.read_sequence_pairs``), chunk by chunk.

    Pairs without coordinates cannot be matched with what a checkpoint saw: with ``held_out_only`` they are dropped.
    """
    for frame in chunks:
        if scorer.held_out_only and scorer.knows_held_out:
            frame = dropped.keep(frame, frame["chrom"] != ".", "no_coordinates")
        yield scorer.score(frame, sequence_pairs, dropped)
