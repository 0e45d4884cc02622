"""Curves behind a benchmark's figures: ROC and precision-recall with their areas, right signs, calibration."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from allelegro.statistics import Estimate, Statistic, Units, Weights, bootstrap, complete, right_sign

CURVE_COLUMNS = ["model", "curve", "x", "y"]
CALIBRATION_BINS = 10
MOST_POINTS = 250  # of a curve that is written
FEWEST_SIGNS, FEWEST_CALIBRATED = 20, 50  # variants for a curve

Values = NDArray[np.float64]
Area = Callable[[Values, Values], Values]


def auroc_ci(
    score: ArrayLike, positive: ArrayLike, clusters: ArrayLike | None = None, n_boot: int = 1000, seed: int = 0
) -> Estimate:
    """Area under the ROC curve of ``score`` for the 0/1 ``positive`` (ties count half), with its interval.

    Rows with a NaN are excluded; NaN when one of the classes is empty.
    """
    (scores, labels), units = complete(clusters, score, positive)
    return bootstrap(_area_of(scores, labels, units, _roc_area), units, n_boot, seed)


def auprc_ci(
    score: ArrayLike, positive: ArrayLike, clusters: ArrayLike | None = None, n_boot: int = 1000, seed: int = 0
) -> Estimate:
    """Average precision (step-wise area under precision-recall; tied scores enter together), with its interval."""
    (scores, labels), units = complete(clusters, score, positive)
    return bootstrap(_area_of(scores, labels, units, _average_precision), units, n_boot, seed)


def curves_of(model: str, predicted: Values, measured: Values, significant: Values) -> pd.DataFrame:
    """The curves of one model, ``CURVE_COLUMNS``; those with too few variants have no rows.

    ``roc`` (false positive rate, recall) and ``precision_recall`` (recall, precision) rank significant against not
    significant variants by the size of the prediction; ``right_sign`` is the share of right signs (y) among the share
    of variants with the largest predictions (x); ``calibration`` the mean measured (y) and predicted (x) effect, log2,
    of tenths of the prediction.
    """
    found = [
        pd.DataFrame({"model": model, "curve": name, "x": x, "y": y})
        for name, x, y in [
            *_ranking(np.abs(predicted), significant), *_signs(predicted, measured), *_calibration(predicted, measured)
        ]
    ]  # fmt: skip
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=CURVE_COLUMNS)


def _ranking(strength: Values, significant: Values) -> Iterator[tuple[str, Values, Values]]:
    known = np.isfinite(significant) & np.isfinite(strength)
    order = np.argsort(-strength[known], kind="stable")
    positive = significant[known][order] == 1
    if not 0 < positive.sum() < positive.size:
        return
    ends = run_ends(strength[known][order])
    ends = ends[np.unique(np.linspace(0, ends.size - 1, min(MOST_POINTS, ends.size)).astype(int))]
    hits, called = np.cumsum(positive)[ends], ends + 1
    recall = hits / positive.sum()
    yield "roc", (called - hits) / (~positive).sum(), recall
    yield "precision_recall", recall, hits / called


def _signs(predicted: Values, measured: Values) -> Iterator[tuple[str, Values, Values]]:
    known = np.isfinite(predicted) & np.isfinite(measured) & (measured != 0)
    if known.sum() < FEWEST_SIGNS:
        return
    order = np.argsort(-np.abs(predicted[known]), kind="stable")
    right = right_sign(predicted[known], measured[known])[order]
    top = np.unique(np.geomspace(10, right.size, 12).astype(int))
    yield "right_sign", top / right.size, np.cumsum(right)[top - 1] / top


def _calibration(predicted: Values, measured: Values) -> Iterator[tuple[str, Values, Values]]:
    known = np.isfinite(predicted) & np.isfinite(measured)
    x, y = predicted[known], measured[known]
    if x.size < FEWEST_CALIBRATED or np.unique(x).size < CALIBRATION_BINS:
        return
    tenth = fractions(x, CALIBRATION_BINS)
    count = np.bincount(tenth)[1:]
    yield "calibration", np.bincount(tenth, x)[1:] / count, np.bincount(tenth, y)[1:] / count


def fractions(values: ArrayLike, parts: int) -> NDArray[np.int64]:
    """Which of ``parts`` equally filled bins each value is in, from 1 (smallest); ties go in the order of rows."""
    rank = pd.Series(np.asarray(values)).rank(method="first", pct=True)
    return np.asarray(np.ceil(rank * parts), dtype=np.int64)


def run_ends(ordered: Values) -> NDArray[np.intp]:
    """Last row of each run of equal values."""
    return np.flatnonzero(np.append(np.diff(ordered) != 0, True))


def _area_of(scores: Values, labels: Values, units: Units, area: Area) -> Statistic:
    if labels.size == 0 or labels.min() == labels.max():
        return lambda weights: np.full(weights.shape[0], np.nan)
    order = np.argsort(-scores, kind="stable")
    ordered, positive, unit = scores[order], labels[order] > 0, units[order]
    ends = run_ends(ordered)

    def statistic(weights: Weights) -> Values:
        rows = weights[:, unit]
        hits = np.cumsum(rows * positive, axis=1)[:, ends]
        return area(hits, np.cumsum(rows, axis=1)[:, ends] - hits)

    return statistic


def _roc_area(hits: Values, misses: Values) -> Values:
    """Trapezoids over (false positives, true positives), scaled to 1."""
    before = np.concatenate([np.zeros((len(hits), 1)), hits[:, :-1]], axis=1)
    steps = np.diff(misses, axis=1, prepend=0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(((hits + before) / 2 * steps).sum(axis=1) / (hits[:, -1] * misses[:, -1]))


def _average_precision(hits: Values, misses: Values) -> Values:
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(hits + misses > 0, hits / (hits + misses), 0.0)
        return np.asarray((np.diff(hits, axis=1, prepend=0.0) * precision).sum(axis=1) / hits[:, -1])
