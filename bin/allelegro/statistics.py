"""Correlations, medians, odds ratios and their intervals: one bootstrap for every figure of the project.

A statistic is a function of resampling weights ``[replicate, unit]`` (how often a unit was drawn), so that a replicate
costs one row of a matrix product instead of a copy of the data, and two models are compared on the very same draws.
A unit is a row, or a cluster of rows that are not independent (a locus with its donors, an element with its variants).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Weights = NDArray[np.float64]
Units = NDArray[np.intp]
Statistic = Callable[[Weights], NDArray[np.float64]]

MINIMAL_UNITS = 10  # with fewer, percentile intervals are far too narrow: none is given
_CHUNK = 2**24  # weights held at a time


class Estimate(NamedTuple):
    """A value with its 95 % interval (NaN with fewer than ``MINIMAL_UNITS`` units) and the number of rows it rests on."""

    value: float
    ci_low: float
    ci_high: float
    n: int


class OddsRatio(NamedTuple):
    """Fisher's exact test of a 2×2 table: sample odds ratio, 95 % interval, two-sided p and the table's total."""

    value: float
    ci_low: float
    ci_high: float
    p: float
    n: int


def pearson(x: ArrayLike, y: ArrayLike) -> float:
    """Pearson r of the pairs in which both are finite; NaN with fewer than 2 pairs or a constant side."""
    (a, b), units = complete(None, x, y)
    return float(_pearson_of(a, b, units)(np.ones((1, a.size)))[0])


def pearson_ci(
    x: ArrayLike, y: ArrayLike, clusters: ArrayLike | None = None, n_boot: int = 1000, seed: int = 0
) -> Estimate:
    """Pearson r with a percentile bootstrap interval over rows, or over ``clusters`` (one label a row) when given.

    Rows with a NaN on either side are left out and not counted in ``n``.
    """
    (a, b), units = complete(clusters, x, y)
    return bootstrap(_pearson_of(a, b, units), units, n_boot, seed)


def spearman_ci(
    x: ArrayLike, y: ArrayLike, clusters: ArrayLike | None = None, n_boot: int = 1000, seed: int = 0
) -> Estimate:
    """Spearman's rho with a bootstrap interval; every replicate keeps the ranks (ties averaged) of the full sample."""
    (a, b), units = complete(clusters, x, y)
    return bootstrap(_pearson_of(_ranks(a), _ranks(b), units), units, n_boot, seed)


def mean_ci(values: ArrayLike, clusters: ArrayLike | None = None, n_boot: int = 1000, seed: int = 0) -> Estimate:
    """Mean (of 0/1 values: a share) with a bootstrap interval; NaNs are left out."""
    (kept,), units = complete(clusters, values)
    return bootstrap(_mean_of(kept, units), units, n_boot, seed)


def median_ci(values: ArrayLike, clusters: ArrayLike | None = None, n_boot: int = 1000, seed: int = 0) -> Estimate:
    """Median with a bootstrap interval; NaNs are left out."""
    (kept,), units = complete(clusters, values)
    return bootstrap(_median_of(kept, units), units, n_boot, seed)


def paired_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    truth: ArrayLike | None = None,
    *,
    statistic: str = "pearson",
    clusters: ArrayLike | None = None,
    n_boot: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Difference of a statistic between two models on the same rows and draws: ``statistic(a) - statistic(b)``.

    ``pearson`` and ``spearman`` correlate each model's predictions with ``truth``; ``mean`` and ``median`` take one
    value a row from each model (a locus's r, a correct sign) and need no truth. Rows with any NaN are left out.
    Raises ValueError for an unknown statistic or when a correlation is asked for without truth.
    """
    if statistic in ("pearson", "spearman"):
        if truth is None:
            raise ValueError(f"a paired {statistic} needs the truth")
        (x, y, t), units = complete(clusters, a, b, truth)
        if statistic == "spearman":
            x, y, t = _ranks(x), _ranks(y), _ranks(t)
        first, second = _pearson_of(x, t, units), _pearson_of(y, t, units)
    elif statistic in ("mean", "median"):
        (x, y), units = complete(clusters, a, b)
        make = _mean_of if statistic == "mean" else _median_of
        first, second = make(x, units), make(y, units)
    else:
        raise ValueError(f"unknown statistic {statistic}; one of pearson, spearman, mean, median")
    return bootstrap(lambda weights: first(weights) - second(weights), units, n_boot, seed)


def fisher_exact(table: ArrayLike) -> OddsRatio:
    """Fisher's exact test of a 2×2 table of counts; interval of the sample odds ratio on the log scale (Woolf)."""
    from scipy.stats import fisher_exact as scipy_fisher
    from scipy.stats.contingency import odds_ratio

    counts = np.asarray(table, dtype=np.int64)
    result = odds_ratio(counts, kind="sample")
    interval = result.confidence_interval(0.95)
    p = float(scipy_fisher(counts).pvalue)
    return OddsRatio(float(result.statistic), float(interval.low), float(interval.high), p, int(counts.sum()))


def complete(clusters: ArrayLike | None, *columns: ArrayLike) -> tuple[NDArray[np.float64], Units]:
    """The rows without NaN, ``[columns, rows]``, and the unit (0, 1, …) of each kept row."""
    table = np.stack([np.asarray(column, dtype=np.float64).ravel() for column in columns])
    kept = np.isfinite(table).all(axis=0)
    if clusters is None:
        return table[:, kept], np.arange(kept.sum())
    return table[:, kept], np.unique(np.asarray(clusters).ravel()[kept], return_inverse=True)[1]


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.stats import rankdata

    return np.asarray(rankdata(values), dtype=np.float64)


def _unit_sums(columns: NDArray[np.float64], units: Units) -> NDArray[np.float64]:
    """Sums of ``columns [k, rows]`` within units: ``[units, k]``."""
    return np.stack([np.bincount(units, column) for column in columns], axis=1)


def _pearson_of(x: NDArray[np.float64], y: NDArray[np.float64], units: Units) -> Statistic:
    if x.size < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return lambda weights: np.full(weights.shape[0], np.nan)
    a, b = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()  # standardised, so that the sums below stay exact
    sums = _unit_sums(np.stack([np.ones_like(a), a, b, a * a, b * b, a * b]), units)

    def statistic(weights: Weights) -> NDArray[np.float64]:
        n, sa, sb, saa, sbb, sab = (weights @ sums).T
        with np.errstate(divide="ignore", invalid="ignore"):
            variances = np.maximum(saa - sa * sa / n, 0) * np.maximum(sbb - sb * sb / n, 0)
            return np.asarray(np.clip((sab - sa * sb / n) / np.sqrt(variances), -1, 1))

    return statistic


def _mean_of(values: NDArray[np.float64], units: Units) -> Statistic:
    if values.size == 0:
        return lambda weights: np.full(weights.shape[0], np.nan)
    sums = _unit_sums(np.stack([np.ones_like(values), values]), units)

    def statistic(weights: Weights) -> NDArray[np.float64]:
        n, total = (weights @ sums).T
        return np.asarray(total / n)

    return statistic


def _median_of(values: NDArray[np.float64], units: Units) -> Statistic:
    if values.size == 0:
        return lambda weights: np.full(weights.shape[0], np.nan)
    order = np.argsort(values, kind="stable")
    ordered, ordered_units = values[order], units[order]

    def statistic(weights: Weights) -> NDArray[np.float64]:
        mass = np.cumsum(weights[:, ordered_units], axis=1)
        total = mass[:, -1:]
        # The middle of an even number of draws is the mean of two rows, as in np.median.
        low, high = (mass * 2 >= total).argmax(axis=1), (mass * 2 > total).argmax(axis=1)
        return np.asarray((ordered[low] + ordered[high]) / 2)

    return statistic


def bootstrap(statistic: Statistic, units: Units, n_boot: int, seed: int) -> Estimate:
    rows = units.size
    n_units = int(units.max()) + 1 if rows else 0
    value = float(statistic(np.ones((1, n_units)))[0])
    if n_units < MINIMAL_UNITS or np.isnan(value):
        return Estimate(value, np.nan, np.nan, rows)
    rng = np.random.default_rng(seed)
    per_chunk = max(1, _CHUNK // max(n_units, rows))
    replicates = [
        statistic(_draws(rng, min(per_chunk, n_boot - done), n_units)) for done in range(0, n_boot, per_chunk)
    ]
    drawn = np.concatenate(replicates)
    drawn = drawn[np.isfinite(drawn)]  # a replicate that drew one unit only has no correlation
    low, high = np.quantile(drawn, [0.025, 0.975]) if drawn.size else (np.nan, np.nan)
    return Estimate(value, float(low), float(high), rows)


def _draws(rng: np.random.Generator, replicates: int, units: int) -> Weights:
    drawn = rng.integers(0, units, (replicates, units))
    drawn += np.arange(replicates)[:, None] * units
    return np.bincount(drawn.ravel(), minlength=replicates * units).reshape(replicates, units).astype(np.float64)
