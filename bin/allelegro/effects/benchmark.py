"""Predicted against measured effects: all models on the same variants, every figure with its interval and n.

Rows are resampled by cluster (the element, or neighbours on the genome), and models are compared on the same draws.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.effects.output import read_scores
from allelegro.effects.ranking import auprc_ci, auroc_ci
from allelegro.effects.truth import Truth, read_comparator
from allelegro.effects.variants import canonical_key
from allelegro.errors import DataError
from allelegro.training.statistics import Estimate, mean_ci, paired_bootstrap, pearson_ci, spearman_ci

POINT_COLUMNS = ["chrom", "pos", "ref", "alt", "group", "measured", "significant"]
MINIMAL_VARIANTS = 3  # fewer points have no correlation worth a row
MINIMAL_CLUSTERS = 10  # fewer clusters cannot be resampled: rows are instead

logger = logging.getLogger(__name__)
Row = dict[str, object]


@dataclass
class Points:
    """The variants that the truth table and every model share: ``table`` with one effect column a model."""

    table: pd.DataFrame
    models: list[str]
    spread: dict[str, pd.DataFrame] = field(default_factory=dict)


def join(
    truth: Truth, scores: Sequence[Path], comparators: Sequence[tuple[str, Path]], cluster_distance: int
) -> Points:
    """Put scores beside measurements, keeping the variants that every model scored.

    Files meet on position and alleles whatever their spelling (``chr``, VCF or ``-`` indels). Raises DataError when a
    model has no variant in common with the truth table, or when two models have one name.
    """
    table = truth.table.copy()
    key = canonical_key(table)
    models: list[str] = []
    spread: dict[str, pd.DataFrame] = {}
    for name, effects, source in _effects(scores, comparators):
        if name in models:
            raise DataError(f"{source}: model {name} is given twice; give each model its own --name when scoring")
        effects = effects[~effects.index.duplicated()]
        at = effects.index.get_indexer(key)
        if (at < 0).all():
            raise DataError(
                f"{source}: none of its variants is in the truth table (e.g. {_say(key[0])} of the truth table, "
                f"{_say(effects.index[0])} of {name}); check assembly, coordinates and alleles"
            )
        values = effects.to_numpy(dtype=float, na_value=np.nan)[at.clip(min=0)]
        values[at < 0] = np.nan
        table[name] = values[:, 0]
        spread[name] = pd.DataFrame(values[:, 1:], columns=effects.columns[1:], index=table.index)
        models.append(name)
        logger.info(
            "%s: %s of %s variants scored", name, f"{int(np.isfinite(values[:, 0]).sum()):,}", f"{len(table):,}"
        )
    shared = table[models].notna().all(axis=1)
    if not shared.any():
        raise DataError("no variant is scored by every model; leave out the model with the fewest variants")
    table = table[shared]
    table = table.assign(cluster=clusters_of(table, cluster_distance)).reset_index(drop=True)
    return Points(table, models, {name: frame[shared].reset_index(drop=True) for name, frame in spread.items()})


def _effects(
    scores: Sequence[Path], comparators: Sequence[tuple[str, Path]]
) -> Iterator[tuple[str, pd.DataFrame, Path]]:
    """Each model's effect (first column) with what is known of its spread, indexed by canonical key."""
    columns = ["effect", "ref_sd", "alt_sd", "n_predictions"]
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


class Benchmark:
    """Metrics of every model on one set of points."""

    def __init__(self, dataset: str, points: Points, kind: str, n_boot: int = 1000, seed: int = 0) -> None:
        self.dataset, self.points, self.kind = dataset, points, kind
        self.n_boot, self.seed = n_boot, seed

    def rows(self) -> list[Row]:
        """All tidy rows: every model in every subset, then differences from the first model."""
        rows: list[Row] = []
        for subset, mask in self._subsets():
            for model in self.points.models:
                rows += self._of_model(model, subset, mask)
            for model in self.points.models[1:]:
                rows.append(self._difference(self.points.models[0], model, subset, mask))
        return rows

    def _subsets(self) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        table = self.points.table
        yield "all", np.ones(len(table), bool)
        significant = (table["significant"] == 1).to_numpy()
        if significant.sum() >= MINIMAL_VARIANTS and not significant.all():
            yield "significant", significant
        active = (table["active"] == 1).to_numpy()
        if active.sum() >= MINIMAL_VARIANTS and not active.all():
            yield "active", active
        for group, rows in table.groupby("group"):
            if group != "" and len(rows) >= MINIMAL_VARIANTS:
                yield str(group), table.index.isin(rows.index)

    def _of_model(self, model: str, subset: str, mask: NDArray[np.bool_]) -> list[Row]:
        table = self.points.table[mask]
        predicted, measured, cluster = table[model], table["measured"], table["cluster"]
        estimates = {
            "pearson": self._estimate(pearson_ci, cluster, predicted, measured),
            "spearman": self._estimate(spearman_ci, cluster, predicted, measured),
            "sign_accuracy": self._estimate(mean_ci, cluster, right_sign(predicted, measured)),
        }
        label = table["significant"]
        if label.nunique() == 2:
            estimates["auroc"] = self._estimate(auroc_ci, cluster, predicted.abs(), label)
            estimates["auprc"] = self._estimate(auprc_ci, cluster, predicted.abs(), label)
        return [self._row(model, subset, metric, estimate) for metric, estimate in estimates.items()]

    def _estimate(self, statistic: Callable[..., Estimate], cluster: pd.Series, *columns: pd.Series) -> Estimate:
        """Rows are resampled one by one where there are too few clusters to resample (one element, one locus)."""
        clusters = cluster if cluster.nunique() >= MINIMAL_CLUSTERS else None
        return statistic(*columns, clusters=clusters, n_boot=self.n_boot, seed=self.seed)

    def _difference(self, first: str, second: str, subset: str, mask: NDArray[np.bool_]) -> Row:
        table = self.points.table[mask]
        columns = (table[second], table[first], table["measured"])
        estimate = self._estimate(paired_bootstrap, table["cluster"], *columns)
        return self._row(second, subset, f"pearson_minus_{first}", estimate)

    def _row(self, model: str, subset: str, metric: str, estimate: Estimate) -> Row:
        return {
            "stage": "effects", "dataset": self.dataset, "model": model, "subset": subset, "metric": metric,
            "value": estimate.value, "ci_low": estimate.ci_low, "ci_high": estimate.ci_high, "n": estimate.n,
        }  # fmt: skip


def right_sign(predicted: "pd.Series[float]", measured: "pd.Series[float]") -> "pd.Series[float]":
    """1 where the signs agree, 0 where they do not, one half where the prediction is exactly 0; NaN without a sign."""
    agreement = np.sign(predicted.to_numpy()) * np.sign(measured.to_numpy())
    return pd.Series((agreement + 1) / 2, predicted.index).where(measured != 0)
