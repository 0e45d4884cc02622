"""Scores of variants: log2 alt/ref by one or several checkpoints, over strands and shifts, in flat memory."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.effects.score_files import FIGURES, SCORE_COLUMNS
from allelegro.effects.variants import REASONS, SCORED, VARIANT_COLUMNS, Dropped
from allelegro.effects.windows import (
    AllelePairs,
    Codes,
    Genome,
    fitting_alleles,
    genome_pairs,
    nearest_windows,
    place_variants,
    reference_agrees,
    require_contigs,
    sequence_pairs,
    window_centres,
)
from allelegro.errors import DataError
from allelegro.io.dna import N
from allelegro.models.checkpoint import LoadedModel
from allelegro.models.inference import Precision, StrandPredictor
from allelegro.models.seen import AROUND, NO_PLACE

Context = Literal["auto", "genomic", "construct"]
Strands = Literal["both", "forward"]
ENOUGH = 100  # variants to tell by their REF that the genome is another
PairMaker = Callable[[pd.DataFrame, int], AllelePairs]

logger = logging.getLogger(__name__)


@dataclass
class Scorer:
    """One or several checkpoints that together are ``name``: their mean, with its spread.

    A member is one checkpoint, strand (CLIPNET's two count as one) and shift; ``effect`` is the mean over members of log2 alt/ref, ``effect_sd``
    their standard deviation (NaN for a single member). With ``held_out_only`` a variant is scored by the checkpoints that did
    not see it in training, and by all where each of them did; ``seen`` of its score says so. ``slide``: see
    :func:`allelegro.effects.windows.genome_pairs`.
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
        self._say_unknown()
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
    def widest(self) -> int:
        """The largest input width among the models."""
        return max(self.input_width(model) for model in self.models)

    def _say_unknown(self) -> None:
        for model in self.models:
            if model.seen.unknown:
                stages = ", ".join(model.seen.unknown)
                logger.warning(
                    "%s: what %s saw in training is unknown; variants that it scores may be among it",
                    model.name,
                    stages,
                )

    def _in_construct(self, model: LoadedModel) -> bool:
        return self.context != "genomic" and bool(model.config["context"])

    @property
    def computed_in(self) -> str:
        """Precision of the networks: ``bf16``, ``fp32`` or both."""
        return ", ".join(sorted({predictor.precision for predictor in self._predictors}))

    def score(
        self,
        frame: pd.DataFrame,
        make_pairs: PairMaker,
        dropped: Dropped,
        in_elements: PairMaker | None = None,
        around: PairMaker | None = None,
    ) -> pd.DataFrame:
        """``SCORE_COLUMNS`` of the variants of a chunk by its index.

        ``make_pairs`` centres windows on the variants; ``in_elements`` makes those of the element of each variant with
        one (``window`` from 0 on), and ``around`` (``make_pairs`` without) the sequences that are compared with what a
        model saw where places do not tell.
        """
        if frame.empty:
            return pd.DataFrame(columns=SCORE_COLUMNS)
        start = frame["pos"] - 1

        def surroundings() -> Codes:
            pairs = (around or make_pairs)(frame, AROUND)
            return np.asarray(pairs.reference[pairs.reference_row, 0])

        chosen, seen = self.choose(frame["chrom"], start, start + frame["ref"].str.len(), surroundings)
        centred = self._view(frame, chosen, make_pairs)
        element = None
        inside = frame["window"].to_numpy() >= 0 if in_elements else np.zeros(len(frame), bool)
        if in_elements and inside.any():
            element = self._view(frame[inside], chosen[:, inside], in_elements)
        table = _table(self.name, frame, inside, centred.assign(seen=seen), element)
        self.with_unknown += int((table["n_unknown"] > 0).sum())
        return table

    def choose(
        self,
        chrom: pd.Series,
        start: pd.Series,
        end: pd.Series | None = None,
        around: Callable[[], Codes] | None = None,
    ) -> tuple[NDArray[np.bool_], NDArray[np.str_]]:
        """Which models score which intervals (0-based, half-open; one base without ``end``), and whether these saw them.

        The first is ``[models, n]``: with ``held_out_only`` those of which no stage of training saw a base, all where there
        is none of these. The second is ``[n]``: ``yes`` when one of them saw it, ``unknown`` when none is known to and a
        stage of one does not say, else ``no``. ``around`` gives the reference sequence around each ``[n, AROUND]``; it is
        called only where places do not tell.
        """
        if not len(chrom):
            return np.ones((len(self.models), 0), bool), np.empty(0, "U7")
        by_sequence = bool((chrom == NO_PLACE).any()) or any(model.seen.by_sequence for model in self.models)
        codes = around() if by_sequence and around is not None else None
        placeless = (chrom == NO_PLACE).to_numpy()
        untold = np.stack(
            [placeless & (model.seen.held_out is not None) | bool(model.seen.unknown) for model in self.models]
        )
        saw = np.stack([model.saw(chrom, start, start + 1 if end is None else end, codes) for model in self.models])
        saw &= ~(placeless & untold)
        chosen = ~saw | saw.all(axis=0) if self.held_out_only else np.ones_like(saw)
        seen = np.select([(chosen & saw).any(axis=0), (chosen & untold).any(axis=0)], ["yes", "unknown"], "no")
        return chosen, seen

    def _view(self, frame: pd.DataFrame, chosen: NDArray[np.bool_], make_pairs: PairMaker) -> pd.DataFrame:
        """Predictions of variants in windows of one kind: a column a figure, by the index of ``frame``."""
        members = Members([model.config["training"].get("seed") for model in self.models], chosen)
        pairs: dict[int, AllelePairs] = {}
        for number, (model, predictor, mask) in enumerate(zip(self.models, self._predictors, chosen, strict=True)):
            if not mask.any():
                continue
            width = self.input_width(model)
            if width not in pairs:
                pairs[width] = make_pairs(frame, width)
            for strand in (0,) if self.strands == "forward" else predictor.strands:
                for shift in range(pairs[width].alternative.shape[1]):
                    members.add(number, *self._predict(model, predictor, pairs[width], mask, strand, shift))
        unknown = np.max([_unknown_bases(pair) for pair in pairs.values()], axis=0)
        return members.table(frame.index).assign(n_unknown=unknown)

    def _predict(
        self, model: LoadedModel, predictor: StrandPredictor, pairs: AllelePairs, mask: NDArray[np.bool_],
        strand: int, shift: int,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:  # fmt: skip
        rows, reference_row = np.unique(pairs.reference_row[mask], return_inverse=True)
        reference, alternative = pairs.reference[rows, shift], pairs.alternative[mask, shift]
        differs = (alternative != reference[reference_row]).any(axis=1)
        codes = np.concatenate([reference, alternative[differs]])
        self.sequences += len(codes)
        values = predictor(model.in_context(codes) if self._in_construct(model) else codes, strand)
        of_reference = values[: rows.size][reference_row]
        of_alternative = of_reference.copy()  # exactly alike where the variant is beyond what the model reads
        of_alternative[differs] = values[rows.size :]
        return of_reference, of_alternative


def _table(
    name: str, frame: pd.DataFrame, inside: NDArray[np.bool_], centred: pd.DataFrame, element: pd.DataFrame | None
) -> pd.DataFrame:
    """``SCORE_COLUMNS``: predictions in the element of each variant that is in one, else centred on it, and both effects."""
    table = pd.concat([frame[VARIANT_COLUMNS], centred], axis=1).assign(
        model=name, view=np.where(inside, "element", "centred"), window=".", distance=np.nan,
        effect_element=np.nan, effect_centred=centred["effect"], null_quantile=np.nan,
        status=SCORED, reason="",
    )  # fmt: skip
    if element is not None:
        table.loc[inside, element.columns] = element
        table.loc[inside, "effect_element"] = element["effect"]
        table.loc[inside, ["window", "distance"]] = frame.loc[inside, ["window_name", "distance"]].to_numpy()
    return table[SCORE_COLUMNS].astype({"distance": float, "n_unknown": int, "n_models": int, "n_predictions": int})


def with_every_row(scored: pd.DataFrame, *lost: pd.DataFrame, model: str) -> pd.DataFrame:
    """``SCORE_COLUMNS`` of a chunk in its order: ``scored`` variants, and those that were ``lost`` (``Dropped.take``)."""
    unscored = pd.concat([scored.head(0), *lost])
    unscored = unscored.assign(
        model=model, view=".", window=".", effect_by_seed="", reason=unscored["status"].map(REASONS),
        n_models=0, n_predictions=0, n_unknown=0, seen=".",
    )  # fmt: skip
    parts = [part[SCORE_COLUMNS] for part in (scored, unscored) if not part.empty]
    table = pd.concat(parts).sort_index(kind="stable") if parts else unscored[SCORE_COLUMNS]
    return table.astype(dict.fromkeys(FIGURES, float) | dict.fromkeys(("n_models", "n_predictions", "n_unknown"), int))


def _unknown_bases(pairs: AllelePairs) -> NDArray[np.intp]:
    """N in each variant's windows: the most of any allele and shift."""
    reference, alternative = ((codes == N).sum(axis=2).max(axis=1) for codes in (pairs.reference, pairs.alternative))
    return np.asarray(np.maximum(reference[pairs.reference_row], alternative))


class Members:
    """Predictions of an ensemble's members as they come: running moments (Welford) over all, and means by model."""

    def __init__(self, seeds: Sequence[object], chosen: NDArray[np.bool_]) -> None:
        self._seeds, self._chosen = seeds, chosen
        self._n = np.zeros(chosen.shape[1], np.int64)
        self._mean, self._squares = np.zeros((3, self._n.size)), np.zeros((3, self._n.size))
        self._by_model, self._of_model = np.zeros(chosen.shape), np.zeros(len(chosen), np.int64)
        self._model_squares = np.zeros(chosen.shape)

    def add(self, model: int, ref: NDArray[np.float32], alt: NDArray[np.float32]) -> None:
        """Predictions of both alleles by one member of a model, of the variants that the model may score."""
        mask = self._chosen[model]
        values = np.stack([ref, alt, alt - ref]).astype(np.float64)
        self._n[mask] += 1
        before = values - self._mean[:, mask]
        self._mean[:, mask] += before / self._n[mask]
        self._squares[:, mask] += before * (values - self._mean[:, mask])
        self._of_model[model] += 1
        self._by_model[model, mask] += values[2]
        self._model_squares[model, mask] += values[2] ** 2

    def table(self, index: pd.Index) -> pd.DataFrame:
        """Means and standard deviations (NaN for one), numbers of models and predictions, and the effect of each seed."""
        (ref, alt, effect), (ref_sd, alt_sd, effect_sd) = self._mean, _sd(self._squares, self._n)
        by_model = np.where(self._chosen, self._by_model / np.maximum(self._of_model, 1)[:, None], np.nan)
        n_models = self._chosen.sum(axis=0)
        with np.errstate(invalid="ignore"):
            around = np.where(self._chosen, by_model - effect, 0.0)
        return pd.DataFrame(
            {
                "effect": effect, "effect_sd": effect_sd, "ref_prediction": ref, "alt_prediction": alt,
                "n_models": n_models, "ref_sd": ref_sd, "alt_sd": alt_sd, "n_predictions": self._n,
                "effect_sd_models": _sd((around**2).sum(axis=0), n_models), "effect_by_seed": self._of_seeds(by_model),
            },
            index=index,
        )  # fmt: skip

    def _of_seeds(self, by_model: NDArray[np.float64]) -> list[str]:
        """``SEED:effect;…`` of each variant: the mean over the models of a seed that may score it."""
        seeds = ["." if seed is None else str(seed) for seed in self._seeds]
        texts = [[] for _ in range(by_model.shape[1])]  # type: list[list[str]]
        for seed in dict.fromkeys(seeds):
            rows = [number for number, other in enumerate(seeds) if other == seed]
            n = self._chosen[rows].sum(axis=0)
            total = np.where(self._chosen[rows], by_model[rows], 0.0).sum(axis=0)
            for place in np.flatnonzero(n):
                texts[place].append(f"{seed}:{total[place] / n[place]:.6g}")
        return [";".join(text) for text in texts]


def _sd(squares: NDArray[np.float64], n: NDArray[np.int64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n > 1, np.sqrt(squares / (n - 1)), np.nan)


def score_variants(
    chunks: Iterable[pd.DataFrame],
    scorer: Scorer,
    genome: Genome,
    dropped: Dropped,
    stop_on_mismatch: bool = False,
) -> Iterator[pd.DataFrame]:
    """Score parsed variants (``variants.parse_alleles``) in genomic windows, chunk by chunk; see ``GenomeCheck``."""
    check = GenomeCheck(genome, stop_on_mismatch)
    for frame in chunks:
        yield score_in_genome(check(frame, dropped), scorer, genome, dropped)
    check.finish()


def score_in_genome(
    frame: pd.DataFrame, scorer: Scorer, genome: Genome, dropped: Dropped, windows: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Score checked variants in windows centred on them and, where one of ``windows`` holds them, in that element."""
    frame = fitting_alleles(frame, scorer.narrowest, dropped)
    if windows is not None:
        at = nearest_windows(frame, windows)
        centre = window_centres(windows)[at]
        frame = frame.assign(
            window=at, window_name=windows["name"].to_numpy()[at], centre=centre, distance=frame["start"] - centre
        )

    def centred(rows: pd.DataFrame, width: int) -> AllelePairs:
        return genome_pairs(rows, genome, width, scorer.shifts, scorer.slide)

    def in_elements(rows: pd.DataFrame, width: int) -> AllelePairs:
        return genome_pairs(rows, genome, width, scorer.shifts, centres=rows["centre"].to_numpy())

    def around(rows: pd.DataFrame, width: int) -> AllelePairs:
        return genome_pairs(rows, genome, width, [0])

    return scorer.score(frame, centred, dropped, None if windows is None else in_elements, around)


class GenomeCheck:
    """Drops the variants that a genome has not, with their reason, chunk by chunk.

    Raises DataError when no contig, or the REF of fewer than half of the variants, is in the FASTA: another genome. Of
    a shard among several (``in_shard``) neither is asked of its few variants. With ``stop_on_mismatch`` a single REF
    that disagrees is an error. ``finish`` is called after the last chunk.
    """

    def __init__(self, genome: Genome, stop_on_mismatch: bool = False, in_shard: bool = False) -> None:
        self._genome, self._stop_on_mismatch, self._in_shard = genome, stop_on_mismatch, in_shard
        self._names: dict[str, None] = {}
        self._seen, self._mismatches = 0, 0
        self._wrong: pd.Series | None = None

    def __call__(self, frame: pd.DataFrame, dropped: Dropped) -> pd.DataFrame:
        """The parsed variants that the genome has, with ``contig``."""
        self._names |= dict.fromkeys(frame["chrom"].unique())
        self._seen += len(frame)
        located = place_variants(frame, self._genome, dropped)
        agrees = reference_agrees(located, self._genome)
        self._mismatches += int((~agrees).sum())
        if not agrees.all():
            self._wrong = located[~agrees].iloc[0]
        if self._stop_on_mismatch or self._seen >= ENOUGH:
            self._require_reference()
        return dropped.keep(located, agrees, "ref_mismatch")

    def finish(self) -> None:
        """Raise DataError when what was seen of the variants is of another genome."""
        if not self._in_shard:
            if self._names:
                require_contigs(self._names, self._genome)
            self._require_reference()

    def _require_reference(self) -> None:
        wrong = self._wrong
        if wrong is not None and (self._stop_on_mismatch or 2 * self._mismatches > self._seen):
            raise DataError(
                f"{self._genome.path}: REF of {self._mismatches:,} of the first {self._seen:,} variants is not in the "
                f"FASTA, as {wrong['ref']} at {wrong['chrom']}:{wrong['pos']}; give the assembly the variants were "
                "called on"
            )


def score_sequences(frame: pd.DataFrame, scorer: Scorer, dropped: Dropped) -> pd.DataFrame:
    """Score a chunk of pairs of allele sequences (``variants.read_sequence_pairs``).

    Pairs without coordinates are matched by sequence with what a checkpoint saw. Of one that knows places alone
    it is unknown whether it saw them.
    """
    return scorer.score(frame, sequence_pairs, dropped, around=partial(sequence_pairs, fill=False))
