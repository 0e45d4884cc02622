"""Areas under the ROC and precision-recall curves with the project's bootstrap (``training.statistics``)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from allelegro.statistics import Estimate, Statistic, Units, Weights, bootstrap, complete

Scores = NDArray[np.float64]
Area = Callable[[Scores, Scores], Scores]


def auroc_ci(
    score: ArrayLike, positive: ArrayLike, clusters: ArrayLike | None = None, n_boot: int = 1000, seed: int = 0
) -> Estimate:
    """Area under the ROC curve of ``score`` for the 0/1 ``positive`` (ties count half), with its interval.

    Rows with a NaN are left out; NaN when one of the classes is empty.
    """
    (scores, labels), units = complete(clusters, score, positive)
    return bootstrap(_curve(scores, labels, units, _roc_area), units, n_boot, seed)


def auprc_ci(
    score: ArrayLike, positive: ArrayLike, clusters: ArrayLike | None = None, n_boot: int = 1000, seed: int = 0
) -> Estimate:
    """Average precision (step-wise area under precision-recall; tied scores enter together), with its interval."""
    (scores, labels), units = complete(clusters, score, positive)
    return bootstrap(_curve(scores, labels, units, _average_precision), units, n_boot, seed)


def _curve(scores: Scores, labels: Scores, units: Units, area: Area) -> Statistic:
    if labels.size == 0 or labels.min() == labels.max():
        return lambda weights: np.full(weights.shape[0], np.nan)
    order = np.argsort(-scores, kind="stable")
    ordered, positive, unit = scores[order], labels[order] > 0, units[order]
    ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True))  # the last row of each run of equal scores

    def statistic(weights: Weights) -> NDArray[np.float64]:
        rows = weights[:, unit]
        hits = np.cumsum(rows * positive, axis=1)[:, ends]
        return area(hits, np.cumsum(rows, axis=1)[:, ends] - hits)

    return statistic


def _roc_area(hits: Scores, misses: Scores) -> Scores:
    """Trapezoids over (false positives, true positives), scaled to 1."""
    before = np.concatenate([np.zeros((len(hits), 1)), hits[:, :-1]], axis=1)
    steps = np.diff(misses, axis=1, prepend=0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(((hits + before) / 2 * steps).sum(axis=1) / (hits[:, -1] * misses[:, -1]))


def _average_precision(hits: Scores, misses: Scores) -> Scores:
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(hits + misses > 0, hits / (hits + misses), 0.0)
        return np.asarray((np.diff(hits, axis=1, prepend=0.0) * precision).sum(axis=1) / hits[:, -1])
