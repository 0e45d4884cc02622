"""Predicted against measured effects: all models on the same variants, every figure with its interval and n.

Rows are resampled by cluster (the element, or neighbours on the genome), and models are compared on the same draws.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from allelegro.effects.curves import (
    CALIBRATION_BINS,
    auprc_ci,
    auroc_ci,
    curves_of,
    fractions,
)
from allelegro.effects.legnet_protocol import legnet_protocol
from allelegro.effects.matching import matched_subset
from allelegro.effects.measured import MeasuredEffects
from allelegro.effects.score_files import read_comparator, read_scores
from allelegro.effects.trust import NEAR
from allelegro.effects.variants import canonical_key
from allelegro.effects.windows import Genome, reference_around
from allelegro.errors import DataError
from allelegro.io.metrics import metric_row
from allelegro.io.tables import write_table
from allelegro.models.config import read_config
from allelegro.models.ensemble import members
from allelegro.models.seen import NO_PLACE, Seen
from allelegro.statistics import (
    Estimate,
    Statistic,
    bootstrap_members,
    gain_of_mean_with,
    mean_ci,
    pearson,
    pearson_ci,
    pearson_difference_with,
    pearson_of_mean_with,
    pearson_with,
    right_sign,
    right_signs_with,
    spearman_ci,
)

FLAGS = ["seen", "matched", "near"]
CONTROLS = re.compile("reference|shuffled|scratch|clipnet|pretrained_.*|baseline_kmer")  # what models are compared with
POINT_COLUMNS = ["chrom", "pos", "ref", "alt", "group", "measured", "significant"]
MIXED = ("all", "unseen", "near")  # subsets in which the mean of two models is asked about
MINIMAL_VARIANTS = 3  # fewer points have no correlation worth a row
MINIMAL_STRATUM = 20  # variants of a bin of strength, frequency or calibration
STRENGTH_BINS, FREQUENCIES = 5, (0.05, 0.2)
MINIMAL_CLUSTERS = 10  # fewer clusters cannot be resampled: rows are instead

_SPREAD = ["ref_sd", "alt_sd", "n_predictions"]

logger = logging.getLogger(__name__)
Row = dict[str, object]


@dataclass
class Points:
    """The measured variants that every model scored: ``table`` with one effect column a model.

    Of each model ``spread`` has what the protocol of human_legnet needs, ``seeds`` ``[variants, seeds]`` the effect by the
    checkpoints of each seed, ``centred`` the effect in windows centred on the variants, ``networks`` how many
    checkpoints scored a variant (median) and ``excluded`` how many variants were, because training saw their place.
    """

    table: pd.DataFrame
    models: list[str]
    spread: dict[str, pd.DataFrame] = field(default_factory=dict)
    seeds: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    centred: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    networks: dict[str, float] = field(default_factory=dict)
    excluded: dict[str, int] = field(default_factory=dict)


def join(
    measured: MeasuredEffects,
    scores: Sequence[Path],
    comparators: Sequence[tuple[str, Path]],
    cluster_distance: int,
    include_seen: bool = False,
) -> Points:
    """Join scores with measurements, keeping the variants that every model scored and that training of none saw.

    With ``include_seen`` the latter are kept. ``seen`` of the points says it of all models together, where a table does.
    Files meet on position and alleles whatever their spelling (``chr``, VCF or ``-`` indels). Raises DataError when a
    model has no variant in common with the measured ones, or when two models have one name (``my net``, ``my_net``).
    """
    table = measured.table.copy()
    key = canonical_key(table)
    found: dict[str, pd.DataFrame] = {}
    excluded: dict[str, int] = {}
    for name, effects, source in _effects(scores, comparators):
        _require_new(name, list(found), source)
        if repeats := int((again := effects.index.duplicated()).sum()):
            logger.warning(
                "%s: %s repeated variants of %s; the first score of each counts", source, f"{repeats:,}", name
            )
            effects = effects[~again]
        at = effects.index.get_indexer(key)
        if (at < 0).all():
            raise DataError(
                f"{source}: none of its variants was measured (e.g. {_say(key[0])} was, {_say(effects.index[0])} is "
                f"of {name}); check assembly, coordinates and alleles"
            )
        rows = effects.iloc[at.clip(min=0)].set_axis(table.index)
        rows = rows.where(pd.Series(at >= 0, table.index))
        scored, told = int(rows["effect"].notna().sum()), ""
        if not include_seen:
            saw = rows["effect"].notna() & (rows["seen"] == "yes")
            rows, excluded[name] = rows.assign(effect=rows["effect"].mask(saw)), int(saw.sum())
            told = f", {excluded[name]:,} of them excluded: training saw their place" if excluded[name] else ""
        logger.info("%s: %s of %s variants scored%s", name, f"{scored:,}", f"{len(table):,}", told)
        if rows["effect"].notna().any():
            found[name] = rows
            continue
        why = "saw in training all variants that it scored" if scored else "has no score of a measured variant"
        logger.warning("%s: %s %s, and is not compared", source, name, why)
    shared = np.all([rows["effect"].notna() for rows in found.values()], axis=0)
    if not found or not np.any(shared):
        raise DataError(
            "no variant is scored by every model that did not see it in training; exclude the model with the fewest variants"
        )
    kept = {name: rows[shared].reset_index(drop=True) for name, rows in found.items()}
    table = table[shared]
    table = table.assign(cluster=clusters_of(table, cluster_distance)).reset_index(drop=True)
    table = table.assign(**{name: rows["effect"].astype(float) for name, rows in kept.items()})
    statuses = [rows["seen"] for rows in kept.values() if rows["seen"].notna().any()]
    if statuses:
        seen = pd.concat(statuses, axis=1)
        table["seen"] = np.select([(seen == "yes").any(axis=1), (seen != "no").any(axis=1)], ["yes", "unknown"], "no")
    distances = [rows["distance"].astype(float).abs() for rows in kept.values()]
    table["summit_distance"] = pd.concat(distances, axis=1).min(axis=1)
    if table["summit_distance"].notna().any():
        table["near"] = np.select(
            [table["summit_distance"] <= NEAR, table["summit_distance"].notna()], ["yes", "no"], "outside"
        )
    return Points(
        table, list(kept), {name: rows[_SPREAD].astype(float) for name, rows in kept.items()},
        {name: _seed_effects(rows) for name, rows in kept.items()},
        {name: rows["effect_centred"].to_numpy(float) for name, rows in kept.items()},
        {name: float(rows["n_models"].astype(float).median()) for name, rows in kept.items()},
        {name: number for name, number in excluded.items() if number},
    )  # fmt: skip


def _seed_effects(rows: pd.DataFrame) -> NDArray[np.float64]:
    """Effects by seed ``[variants, seeds]`` of a table of scores; the one effect where it does not tell them apart."""
    told = rows["effect_by_seed"].astype(object).where(rows["effect_by_seed"].notna(), "").astype(str)
    effect = rows["effect"].to_numpy(float)
    by_seed = [dict(part.split(":") for part in text.split(";") if ":" in part) for text in told]
    seeds = sorted({seed for of_variant in by_seed for seed in of_variant})
    if len(seeds) < 2:
        return effect[:, None]
    columns = [
        [float(of_variant.get(seed, mean)) for of_variant, mean in zip(by_seed, effect, strict=True)] for seed in seeds
    ]
    return np.array(columns).T


def _require_new(name: str, models: Sequence[str], source: Path) -> None:
    """Refuse a model whose name is, or in the name of a file would be, that of another or of a column."""
    for other in (*models, *POINT_COLUMNS, *FLAGS):
        if re.sub(r"[^\w.-]", "_", name) == re.sub(r"[^\w.-]", "_", other):
            raise DataError(
                f"{source}: model {name} is there already ({other}); give each model its own --name when scoring"
            )


def _effects(
    scores: Sequence[Path], comparators: Sequence[tuple[str, Path]]
) -> Iterator[tuple[str, pd.DataFrame, Path]]:
    """Each model's effect with what is known of its spread and views, indexed by canonical key."""
    columns = ["effect", *_SPREAD, "effect_by_seed", "effect_centred", "distance", "n_models", "seen"]
    for path in scores:
        table = read_scores(path)
        for name, rows in table.groupby("model", sort=False):
            yield str(name), rows.reindex(columns=columns).set_axis(canonical_key(rows)), path
    for name, path in comparators:
        table = read_comparator(path)
        effects = pd.DataFrame({"effect": table["score"]}).reindex(columns=columns)
        yield name, effects.set_axis(canonical_key(table)), path


def _say(key: tuple[object, ...]) -> str:
    return "{}:{} {}>{}".format(*key)


def clusters_of(table: pd.DataFrame, distance: int) -> NDArray[np.intp]:
    """Cluster labels: variants of a contig chained by gaps of at most ``distance`` bp share one."""
    order = np.lexsort((table["pos"], table["chrom"].astype(str)))
    chrom, pos = table["chrom"].astype(str).to_numpy()[order], table["pos"].to_numpy()[order]
    new = np.ones(len(table), bool)
    new[1:] = (chrom[1:] != chrom[:-1]) | (np.diff(pos) > distance)
    labels = np.empty(len(table), np.intp)
    labels[order] = np.cumsum(new) - 1
    return labels


def flag_overlap(
    points: Points, checkpoints: Sequence[Path], donors: Sequence[str], genome: Genome | None = None
) -> None:
    """Add ``seen``: yes where any stage of a checkpoint's training saw the variant, no where none did.

    Else unknown: a stage does not say what it saw, or saw sequences without a place and there is no ``genome`` to compare
    them with. Warns of donors that are in training and in the measurement.
    """
    if not checkpoints:
        return
    table = points.table[points.table["chrom"] != NO_PLACE]
    start = table["pos"] - 1
    records = {path: Seen.read(path) for path in members(checkpoints)}
    by_sequence = genome is not None and any(seen.by_sequence for seen in records.values())
    codes = reference_around(table["chrom"], start, genome) if by_sequence and genome is not None else None
    status = pd.Series("no", table.index).reindex(points.table.index, fill_value="unknown")
    for path, seen in records.items():
        untold = list(seen.unknown)
        if seen.by_sequence and codes is None:
            untold.append("sequences without a place (give --fasta)")
            seen = seen.by_place
        if untold:
            logger.warning("%s: whether it saw a variant in training is unknown: %s", path, ", ".join(untold))
            status[status == "no"] = "unknown"
        status[table.index[seen.saw(table["chrom"], start, start + table["ref"].str.len(), codes)]] = "yes"
        _warn_of_donors(path, donors)
    points.table["seen"] = status
    told = [f"{int((status == word).sum()):,} {word}" for word in ("yes", "no", "unknown")]
    logger.info("variants that training saw: %s", ", ".join(told))


def _warn_of_donors(checkpoint: Path, donors: Sequence[str]) -> None:
    trained = () if checkpoint.is_file() else read_config(checkpoint)["training"].get("training_donors") or ()
    if shared := sorted(set(donors) & set(trained)):
        logger.warning("%s was trained on %s, a donor of this measurement", checkpoint.name, ", ".join(shared))


def flag_matched(points: Points, seed: int) -> None:
    """Add ``matched`` (yes/no): significant variants and their matched controls; nothing when there is nothing to match on."""
    chosen = matched_subset(points.table, seed)
    if chosen is not None:
        points.table["matched"] = np.where(chosen, "yes", "no")


def write_points(points: Points, path: Path) -> None:
    """Write the variants behind the metrics: ``POINT_COLUMNS``, ``seen`` and ``matched`` when flagged, one column a model."""
    flags = [name for name in FLAGS if name in points.table.columns]
    write_table(points.table[[*POINT_COLUMNS, *flags, *points.models]], path)


def write_curves(points: Points, path: Path) -> None:
    """Write the curves behind the figures (``CURVE_COLUMNS``) of every model."""
    measured, significant = (points.table[name].to_numpy(dtype=float) for name in ("measured", "significant"))
    curves = [
        curves_of(model, points.table[model].to_numpy(dtype=float), measured, significant) for model in points.models
    ]
    write_table(pd.concat(curves, ignore_index=True), path)


class Benchmark:
    """Metrics of every model and baseline on one set of points.

    ``signed`` baselines predict effects like a model; ``unsigned`` ones only how strong an effect may be.
    """

    def __init__(
        self,
        dataset: str,
        points: Points,
        signed: Mapping[str, NDArray[np.float64]] | None = None,
        unsigned: Mapping[str, NDArray[np.float64]] | None = None,
        n_boot: int = 1000,
        seed: int = 0,
    ) -> None:
        self.dataset, self.models, self.spread = dataset, points.models, points.spread
        self.seeds, self.centred, self.networks = points.seeds, points.centred, points.networks
        self.excluded = points.excluded
        self.table = points.table.assign(**dict(signed or {}))
        self.baselines, self.unsigned = list(signed or {}), dict(unsigned or {})
        self.n_boot, self.seed = n_boot, seed

    def rows(self) -> list[Row]:
        """All tidy rows: models and baselines in every subset, the differences that matter, strata, protocol."""
        self._warn_of_sizes()
        rows = [row for model in self.models for row in self._of_seeds(model)]
        for subset, mask in self._subsets():
            for model in [*self.models, *self.baselines]:
                rows += self._of_model(model, subset, mask)
            for model, control in self.comparisons():
                rows += self._difference(model, control, subset, mask)
            for model, start in self.mixtures() if subset in MIXED else []:
                rows += self._of_mixture(model, start, subset, mask)
            for name, strength in self.unsigned.items():
                rows += self._ranking(name, subset, self.table[mask], pd.Series(strength[mask]))
            rows += self._majority(subset, mask)
        if self.table["true_effect"].notna().any():
            for subset, mask in self._subsets():
                for model in ("measured", *self.models, *self.baselines):
                    rows += self._against_truth(model, subset, mask)
        for model in self.models:
            if model in self.excluded:
                excluded = Estimate(self.excluded[model], np.nan, np.nan, len(self.table))
                rows.append(self._row(model, "all", "excluded_seen", excluded))
            rows += self._within_groups(model)
            rows += self._strata(model)
            rows += self._calibration(model)
            rows += self._legnet_protocol(model)
        return rows

    def _warn_of_sizes(self) -> None:
        """Name comparisons of ensembles of which one has more networks: a mean of more is better by that alone."""
        for model, control in self.comparisons():
            own, other = self.networks.get(model, np.nan), self.networks.get(control, np.nan)
            if control.startswith("pretrained_") and own < other:
                logger.warning(
                    "%s is the mean of %g networks and %s of %g: not equally large (--seeds, --pretrain_folds)",
                    model, own, control, other,
                )  # fmt: skip

    def _subsets(self) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        table = self.table
        whole = np.ones(len(table), bool)
        yield "all", whole
        candidates = {"significant": table["significant"] == 1, "active": table["active"] == 1}
        if "seen" in table.columns:
            candidates["unseen"] = table["seen"] == "no"
        if "matched" in table.columns:
            candidates["matched"] = table["matched"] == "yes"
        if "near" in table.columns:
            candidates |= {"near": table["near"] == "yes", "far": table["near"] == "no"}
            candidates["outside_elements"] = table["near"] == "outside"
        if table["group"].nunique() > 1:
            candidates |= {str(group): table["group"] == group for group in table["group"].unique()}
        for name, chosen in candidates.items():
            mask = chosen.to_numpy(dtype=bool)
            if mask.sum() >= MINIMAL_VARIANTS and not mask.all():
                yield name, mask

    def _of_seeds(self, model: str) -> list[Row]:
        """How many seeds stand behind a model, which its intervals are drawn from, and what one of them reaches alone.

        A model is the mean of its seeds. r of one seed is the mean over seeds, with their range as interval.
        """
        values = self._seeds(model)
        rows = [self._row(model, "all", "seeds", Estimate(values.shape[1], np.nan, np.nan, len(values)))]
        for column, metric in self._asked.items() if values.shape[1] > 1 else ():
            known = self.table[column].notna().to_numpy() & np.isfinite(values).all(axis=1)
            measured = self.table.loc[known, column].to_numpy(float)
            each = [pearson(of_seed, measured) for of_seed in values[known].T]
            summary = Estimate(float(np.mean(each)), min(each), max(each), int(known.sum()))
            rows.append(self._row(model, "all", f"{metric}_one_seed", summary))
        networks = self.networks.get(model, np.nan)
        if np.isfinite(networks):
            rows.append(self._row(model, "all", "networks", Estimate(networks, np.nan, np.nan, len(values))))
        return rows

    @property
    def _asked(self) -> dict[str, str]:
        """What predictions are correlated with, and the metric: a simulation's own effects as well, where there are any."""
        truth = {"true_effect": "true_effect_r"} if self.table["true_effect"].notna().any() else {}
        return {"measured": "pearson"} | truth

    def mixtures(self) -> list[tuple[str, str]]:
        """Pairs of models whose mean is asked about: each that was fine-tuned, with each of lentiMPRA alone.

        Only of several seeds. The mean has twice as many networks as either, so its control is the reference model's mean
        with the same lentiMPRA networks: what it gains over that, more networks do not explain.
        """
        several = [name for name in self.models if self._seeds(name).shape[1] > 1]
        starts = [name for name in several if name.startswith("pretrained_")]
        tuned = [name for name in several if name == "reference" or not CONTROLS.fullmatch(name)]
        return [(model, start) for start in starts for model in tuned]

    def _of_mixture(self, model: str, start: str, subset: str, mask: NDArray[np.bool_]) -> list[Row]:
        """The mean of a fine-tuned ensemble and that of lentiMPRA alone, less the latter, and less its control."""
        name, control = f"{model} + {start}", "reference"
        rows = []
        for column, metric in self._asked.items():
            asked = [
                (metric, pearson_of_mean_with, [model, start]),
                (f"{metric}_minus_{start}", gain_of_mean_with, [model, start]),
            ]
            if (control, start) in self.mixtures() and model != control:
                asked.append((f"{metric}_minus_{control} + {start}", gain_of_mean_with, [model, control, start]))
            rows += [
                self._row(name, subset, called, self._with_seeds(make, models, mask, column))
                for called, make, models in asked
            ]
        return rows

    def comparisons(self) -> list[tuple[str, str]]:
        """Which model is compared with which: each model of interest with every control and those before it.

        A control is a model of the run that lacks one thing (personal genomes, PRO-cap, the right donors), CLIPNET or the
        k-mer baseline. The reference model is also compared with what it started from. Without a model of interest the
        models are compared with the first.
        """
        every = [*self.models, *(name for name in self.baselines if CONTROLS.fullmatch(name))]
        of_interest = [name for name in self.models if not CONTROLS.fullmatch(name)]
        pairs = [
            (model, other)
            for number, model in enumerate(of_interest)
            for other in every
            if other not in of_interest[number:]
        ]
        if "reference" in self.models:
            pairs += [("reference", other) for other in every if other.startswith("pretrained_") or other == "clipnet"]
        return pairs or [(model, self.models[0]) for model in self.models[1:]]

    def _seeds(self, model: str) -> NDArray[np.float64]:
        """Effects by seed ``[variants, seeds]``; of a baseline or outside model its one effect."""
        return self.seeds.get(model, self.table[[model]].to_numpy(float))

    def _with_seeds(
        self,
        make: Callable[..., Callable[..., Statistic]],
        models: Sequence[str],
        subset: NDArray[np.bool_],
        column: str,
    ) -> Estimate:
        """A statistic of models against a column, its interval over clusters and over the models' seeds."""
        members = [self._seeds(model) for model in models]
        measured = self.table[column].to_numpy(float)
        kept = subset & np.isfinite(measured) & np.all([np.isfinite(values).all(axis=1) for values in members], axis=0)
        cluster = self.table["cluster"][kept]
        clusters = cluster if cluster.nunique() >= MINIMAL_CLUSTERS else None
        given = [values[kept] for values in members]
        return bootstrap_members(make(measured[kept]), given, clusters, self.n_boot, self.seed)

    def _of_model(self, model: str, subset: str, mask: NDArray[np.bool_]) -> list[Row]:
        table = self.table[mask]
        predicted, measured, cluster = table[model], table["measured"], table["cluster"]
        rows = [
            self._row(model, subset, "pearson", self._with_seeds(pearson_with, [model], mask, "measured")),
            self._row(model, subset, "spearman", self._estimate(spearman_ci, cluster, predicted, measured)),
            self._row(model, subset, "sign_accuracy", self._with_seeds(right_signs_with, [model], mask, "measured")),
        ]
        centred = pd.Series(self.centred[model][mask] if model in self.centred else np.nan, table.index)
        if "near" in table and centred.notna().any():  # the other view of the same variants
            rows.append(
                self._row(model, subset, "pearson_centred", self._estimate(pearson_ci, cluster, centred, measured))
            )
        return rows + self._ranking(model, subset, table, predicted.abs())

    def _against_truth(self, model: str, subset: str, mask: NDArray[np.bool_]) -> list[Row]:
        """Effects against a simulation's own; those of ``measured`` say what the assay itself would reach."""
        signs = self._with_seeds(right_signs_with, [model], mask, "true_effect")
        return [
            self._row(model, subset, "true_effect_r", self._with_seeds(pearson_with, [model], mask, "true_effect")),
            self._row(model, subset, "true_effect_right_sign", signs),
        ]

    def _ranking(self, model: str, subset: str, table: pd.DataFrame, strength: pd.Series) -> list[Row]:
        """Significant against not significant variants by predicted strength; nothing where one class is missing."""
        label = table["significant"]
        if label.nunique() < 2 or not np.isfinite(strength).any():
            return []
        curves = {"auroc": auroc_ci, "auprc": auprc_ci}
        return [
            self._row(model, subset, metric, self._estimate(curve, table["cluster"], strength, label))
            for metric, curve in curves.items()
        ]

    def _majority(self, subset: str, mask: NDArray[np.bool_]) -> list[Row]:
        """Always guessing the majority sign."""
        measured = self.table.loc[mask, "measured"]
        guess = 1.0 if (measured > 0).sum() >= (measured < 0).sum() else -1.0
        estimate = self._estimate(mean_ci, self.table.loc[mask, "cluster"], right_sign(guess, measured))
        return [self._row("baseline_majority", subset, "sign_accuracy", estimate)]

    def _difference(self, model: str, control: str, subset: str, mask: NDArray[np.bool_]) -> list[Row]:
        """Paired on the variants, resampled with the seeds of both; against a simulation's own effects as well."""
        pair = [model, control]
        return [
            self._row(
                model,
                subset,
                f"{metric}_minus_{control}",
                self._with_seeds(pearson_difference_with, pair, mask, column),
            )
            for column, metric in self._asked.items()
        ]

    def _within_groups(self, model: str) -> list[Row]:
        """All groups pooled after each group's own mean and scale are taken out of both sides."""
        groups = self.table.groupby("group")
        if self.table["group"].nunique() < 2:
            return []
        predicted, measured = (groups[name].transform(_standardised) for name in (model, "measured"))
        cluster = pd.Series(self.table["group"].factorize()[0], self.table.index)
        estimate = self._estimate(pearson_ci, cluster, predicted, measured)
        return [self._row(model, "within_groups", "pearson", estimate)]

    def _strata(self, model: str) -> list[Row]:
        """Sign accuracy by fifths of the predicted strength and by frequency of the alternative allele."""
        right = right_sign(self.table[model], self.table["measured"])
        strata: dict[str, pd.Series | NDArray[np.bool_]] = {}
        if len(self.table) >= MINIMAL_STRATUM * STRENGTH_BINS:
            fifth = fractions(self.table[model].abs(), STRENGTH_BINS)
            strata |= {f"strength_{n}_of_{STRENGTH_BINS}": fifth == n for n in range(1, STRENGTH_BINS + 1)}
        edges = [0.0, *FREQUENCIES, 1.0]
        for low, high in pairwise(edges):
            strata[f"frequency_{low:g}_to_{high:g}"] = (self.table["af"] > low) & (self.table["af"] <= high)
        return [
            self._row(model, name, "sign_accuracy", self._estimate(mean_ci, self.table["cluster"][mask], right[mask]))
            for name, mask in strata.items()
            if mask.sum() >= MINIMAL_STRATUM
        ]

    def _calibration(self, model: str) -> list[Row]:
        """Mean predicted and measured effect in tenths of the prediction."""
        if len(self.table) < MINIMAL_STRATUM * CALIBRATION_BINS:
            return []
        rows = []
        for number, part in self.table.groupby(fractions(self.table[model], CALIBRATION_BINS)):
            subset = f"calibration_{number}_of_{CALIBRATION_BINS}"
            for metric, column in (("mean_predicted", model), ("mean_measured", "measured")):
                rows.append(self._row(model, subset, metric, self._estimate(mean_ci, part["cluster"], part[column])))
        return rows

    def _legnet_protocol(self, model: str) -> list[Row]:
        if self.table["evidence"].isna().all():
            return []
        effect, evidence = self.table[model].to_numpy(float), self.table["evidence"].to_numpy(float)
        figures = legnet_protocol(effect, evidence, self.spread[model], self.n_boot, self.seed)
        return [self._row(model, subset, metric, estimate) for (subset, metric), estimate in figures.items()]

    def _estimate(self, statistic: Callable[..., Estimate], cluster: pd.Series, *columns: ArrayLike) -> Estimate:
        """Rows are resampled one by one where there are too few clusters to resample (one element, one locus)."""
        clusters = cluster if cluster.nunique() >= MINIMAL_CLUSTERS else None
        return statistic(*columns, clusters=clusters, n_boot=self.n_boot, seed=self.seed)

    def _row(self, model: str, subset: str, metric: str, estimate: Estimate) -> Row:
        return metric_row("effects", self.dataset, model, subset, metric, estimate)


def _standardised(values: pd.Series) -> pd.Series:
    scale = values.std()
    return (values - values.mean()) / (scale if scale > 0 else np.nan)
