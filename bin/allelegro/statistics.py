"""Correlations, medians, odds ratios and their intervals: one bootstrap for every figure of the project; ridge regression.

A statistic is a function of resampling weights ``[replicate, unit]`` (how often a unit was drawn), so that a replicate
costs one row of a matrix product instead of a copy of the data, and two models are compared on the very same draws.
A unit is a row, or a cluster of rows that are not independent (a locus with its donors, an element with its variants).
Where rows belong to two crossed factors (every donor at every locus), both are drawn and a row counts as often as its two
units together (the pigeonhole bootstrap, Owen 2007): chance that follows a donor through all loci is then in the interval.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Weights = NDArray[np.float64]
Units = NDArray[np.intp]
Statistic = Callable[..., NDArray[np.float64]]  # takes the weights of each factor

MINIMAL_UNITS = 10  # with fewer, percentile intervals are far too narrow: none is given
_CHUNK = 2**24  # weights held at a time
# Relative to a mean diagonal of 1.
_KERNEL_PENALTIES = np.append(np.logspace(-2, 3, 11), 1e6)


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
    x: ArrayLike,
    y: ArrayLike,
    clusters: ArrayLike | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    weights: ArrayLike | None = None,
) -> Estimate:
    """Pearson r with a percentile bootstrap interval over rows, or over ``clusters`` when given.

    ``clusters`` hold one label a row, or two (``[2, rows]``) for rows of two crossed factors. ``weights`` say how much each
    row counts (its information). Rows with a NaN on either side are excluded and not counted in ``n``.
    """
    (a, b, w), units = complete(clusters, x, y, _row_weights(weights, x))
    return bootstrap(_pearson_of(a, b, units, w), units, n_boot, seed)


def slope_ci(
    x: ArrayLike,
    y: ArrayLike,
    clusters: ArrayLike | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    weights: ArrayLike | None = None,
) -> Estimate:
    """Least-squares slope of ``y`` on ``x``, with the interval and arguments of :func:`pearson_ci`.

    Of measured on predicted values it is their calibration: 1 where a predicted step is a measured one, below 1 where
    predictions are too large.
    """
    (a, b, w), units = complete(clusters, x, y, _row_weights(weights, x))
    return bootstrap(_slope_of(a, b, units, w), units, n_boot, seed)


def spearman_ci(
    x: ArrayLike, y: ArrayLike, clusters: ArrayLike | None = None, n_boot: int = 1000, seed: int = 0
) -> Estimate:
    """Spearman's rho with a bootstrap interval; every replicate keeps the ranks (ties averaged) of the full sample."""
    (a, b), units = complete(clusters, x, y)
    return bootstrap(_pearson_of(ranks(a), ranks(b), units), units, n_boot, seed)


def mean_ci(values: ArrayLike, clusters: ArrayLike | None = None, n_boot: int = 1000, seed: int = 0) -> Estimate:
    """Mean (of 0/1 values: a share) with a bootstrap interval; NaNs are excluded."""
    (kept,), units = complete(clusters, values)
    return bootstrap(_mean_of(kept, units), units, n_boot, seed)


def median_ci(values: ArrayLike, clusters: ArrayLike | None = None, n_boot: int = 1000, seed: int = 0) -> Estimate:
    """Median with a bootstrap interval; NaNs are excluded."""
    (kept,), units = complete(clusters, values)
    return bootstrap(_median_of(kept, units), units, n_boot, seed)


def paired_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    measured: ArrayLike | None = None,
    *,
    statistic: str = "pearson",
    clusters: ArrayLike | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    weights: ArrayLike | None = None,
) -> Estimate:
    """Difference of a statistic between two models on the same rows and draws: ``statistic(a) - statistic(b)``.

    ``pearson``, ``spearman`` and ``slope`` set each model's predictions against ``measured``, rows of the first and last
    counting by ``weights``; ``mean`` and ``median`` take one value a row from each model (a locus's r, a correct sign) and
    need none. Rows with any NaN are excluded. Raises ValueError for an unknown statistic or when a correlation is asked for
    without what was measured.
    """
    if statistic in ("pearson", "spearman", "slope"):
        if measured is None:
            raise ValueError(f"a paired {statistic} needs what was measured")
        (x, y, t, w), units = complete(clusters, a, b, measured, _row_weights(weights, a))
        if statistic == "spearman":
            x, y, t = ranks(x), ranks(y), ranks(t)
        make_of = _slope_of if statistic == "slope" else _pearson_of
        first, second = make_of(x, t, units, w), make_of(y, t, units, w)
    elif statistic in ("mean", "median"):
        (x, y), units = complete(clusters, a, b)
        make = _mean_of if statistic == "mean" else _median_of
        first, second = make(x, units), make(y, units)
    else:
        raise ValueError(f"unknown statistic {statistic}; one of pearson, spearman, slope, mean, median")
    return bootstrap(lambda *weights: first(*weights) - second(*weights), units, n_boot, seed)


def fisher_exact(table: ArrayLike) -> OddsRatio:
    """Fisher's exact test of a 2×2 table of counts; interval of the sample odds ratio on the log scale (Woolf)."""
    from scipy.stats import fisher_exact as scipy_fisher
    from scipy.stats.contingency import odds_ratio

    counts = np.asarray(table, dtype=np.int64)
    result = odds_ratio(counts, kind="sample")
    interval = result.confidence_interval(0.95)
    p = float(scipy_fisher(counts).pvalue)
    return OddsRatio(float(result.statistic), float(interval.low), float(interval.high), p, int(counts.sum()))


def ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Ranks from 1; equal values share their mean rank (scipy.stats has it, and takes a second to import)."""
    _, which, times = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(times) - (times - 1) / 2)[which], dtype=np.float64)


def benjamini_hochberg(p: ArrayLike, tests: int | None = None) -> NDArray[np.float64]:
    """q-values of ``p``; of ``tests`` hypotheses, where given, those that are not listed have p = 1.

    As ``scipy.stats.false_discovery_control``, which takes a second to import.
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p)
    q = np.empty(len(p))
    q[order] = np.minimum.accumulate((p[order] * (tests or len(p)) / np.arange(1, len(p) + 1))[::-1])[::-1]
    return np.minimum(q, 1)


def wilson_ci(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share by Wilson's score."""
    z = NormalDist().inv_cdf(0.975)
    share, spread = hits / n, z**2 / n
    middle, half = share + spread / 2, z * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))


def right_sign(predicted: ArrayLike, measured: ArrayLike) -> NDArray[np.float64]:
    """1 where the signs agree, 0 where they do not, ½ where the prediction is 0; NaN where nothing was measured or predicted."""
    direction = np.sign(np.asarray(measured, dtype=np.float64))
    agreement = (np.sign(np.asarray(predicted, dtype=np.float64)) * direction + 1) / 2
    return np.where(direction == 0, np.nan, agreement)


def ridge(features: NDArray[np.float64], target: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Weights ``[k]`` and intercept of a ridge regression of ``target`` ``[rows]`` on ``features`` ``[rows, k]``.

    The penalty is chosen by generalised cross-validation, from 1e-8 to 10 times the largest eigenvalue.
    """
    mean, level = features.mean(axis=0), target.mean()
    u, s, vt = np.linalg.svd(features - mean, full_matrices=False)
    projected = u.T @ (target - level)
    penalties = s[0] ** 2 * np.logspace(-8, 1, 40)
    outside = max(((target - level) ** 2).sum() - (projected**2).sum(), 0.0)
    penalty = penalties[_best_penalty(s**2, projected, outside, len(target), penalties)]
    weight = vt.T @ (s**2 / (s**2 + penalty) / np.maximum(s, 1e-12) * projected)
    return weight, float(level - mean @ weight)


def kernel_ridge(
    kernels: NDArray[np.float64], values: NDArray[np.float64], fitted: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Ridge regressions ``[problem, unit]``, one a problem, fitted to the units ``fitted`` and predicted for all of them.

    ``kernels`` ``[problem, unit, unit]`` are inner products of features, ``values`` ``[problem, unit]`` what is explained. The
    penalty of each is chosen by generalised cross-validation; the largest leaves the mean.
    """
    observed = values[:, fitted]
    level = observed.mean(axis=1, keepdims=True)
    eigenvalues, vectors = np.linalg.eigh(kernels[:, fitted[:, None], fitted])
    eigenvalues = np.maximum(eigenvalues, 0)
    projected = np.einsum("ldk,ld->lk", vectors, observed - level)
    penalty = _KERNEL_PENALTIES[_best_penalty(eigenvalues, projected, 0.0, len(fitted), _KERNEL_PENALTIES)]
    weights = np.einsum("ldk,lk->ld", vectors, projected / (eigenvalues + penalty[:, None]))
    return np.asarray(level + np.einsum("lde,le->ld", kernels[:, :, fitted], weights))


def _best_penalty(
    eigenvalues: NDArray[np.float64],
    projected: NDArray[np.float64],
    outside: float,
    rows: int,
    penalties: NDArray[np.float64],
) -> NDArray[np.intp]:
    """Index of the penalty with the least generalised cross-validation score (Golub, Heath & Wahba 1979).

    ``eigenvalues`` and ``projected`` ``[..., k]`` are the features' spectrum and the centred target along it, ``outside`` the
    sum of squares that no feature reaches.
    """
    shrink = eigenvalues[..., None, :] / (eigenvalues[..., None, :] + penalties[:, None])
    residual = (((1 - shrink) * projected[..., None, :]) ** 2).sum(axis=-1) + outside
    freedom = rows - 1 - shrink.sum(axis=-1)
    return np.asarray((residual / np.maximum(freedom, 1) ** 2).argmin(axis=-1))


@dataclass
class LinearMoments:
    """First and second moments of features and a target, from which ridge regressions follow; parts of a data set add up."""

    rows: int
    gram: NDArray[np.float32]  # [k, k]
    sums: NDArray[np.float64]  # [k]
    products: NDArray[np.float64]  # [k], features times target
    target: float
    square: float

    @classmethod
    def of(cls, parts: Iterable[tuple[NDArray[np.float32], NDArray[np.float64]]], k: int) -> "LinearMoments":
        """Moments of features ``[rows, k]`` and target ``[rows]``, given a part of the rows at a time."""
        moments = cls(0, np.zeros((k, k), np.float32), np.zeros(k), np.zeros(k), 0.0, 0.0)
        for features, target in parts:
            moments.rows += len(target)
            moments.gram += features.T @ features
            moments.sums += features.sum(axis=0)
            moments.products += target @ features
            moments.target += float(target.sum())
            moments.square += float((target**2).sum())
        return moments

    def __add__(self, other: "LinearMoments") -> "LinearMoments":
        return LinearMoments(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def ridge(self, penalty: float) -> NDArray[np.float64]:
        """Weights ``[k]`` of the ridge regression with an unpenalised intercept."""
        from scipy.linalg import solve

        matrix = self._covariance() + np.float32(penalty) * np.eye(len(self.gram), dtype=np.float32)
        return np.asarray(solve(matrix, self._with_target().astype(np.float32), assume_a="pos"), dtype=np.float64)

    def error(self, weights: NDArray[np.float64]) -> float:
        """Variance that the weights leave in these rows, times their number."""
        explained = 2 * weights @ self._with_target() - weights @ (self._covariance() @ weights)
        return self.square - self.target**2 / self.rows - float(explained)

    def _covariance(self) -> NDArray[np.float32]:
        return self.gram - np.outer(self.sums, self.sums / self.rows).astype(np.float32)

    def _with_target(self) -> NDArray[np.float64]:
        return self.products - self.sums * (self.target / self.rows)


def complete(clusters: ArrayLike | None, *columns: ArrayLike) -> tuple[NDArray[np.float64], Units]:
    """The rows without NaN, ``[columns, rows]``, and the unit (0, 1, …) of each kept row, ``[rows]`` or ``[2, rows]``."""
    table = np.stack([np.asarray(column, dtype=np.float64).ravel() for column in columns])
    kept = np.isfinite(table).all(axis=0)
    if clusters is None:
        return table[:, kept], np.arange(kept.sum())
    factors = np.asarray(clusters).reshape(-1, kept.size)[:, kept]
    units = np.stack([np.unique(labels, return_inverse=True)[1] for labels in factors])
    return table[:, kept], units[0] if len(units) == 1 else units


def _unit_sums(columns: NDArray[np.float64], units: Units) -> NDArray[np.float64]:
    """Sums of ``columns [k, rows]`` within units: ``[units, k]``, or ``[first, second, k]`` of two crossed factors."""
    sizes = _sizes(units)
    flat = np.ravel_multi_index(tuple(units.reshape(len(sizes), -1)), sizes)
    sums = np.stack([np.bincount(flat, column, minlength=int(np.prod(sizes))) for column in columns], axis=1)
    return np.asarray(sums.reshape(*sizes, len(columns)), dtype=np.float64)


def _sizes(units: Units) -> tuple[int, ...]:
    """Number of units of each factor."""
    return tuple(int(labels.max()) + 1 if labels.size else 0 for labels in np.atleast_2d(units))


def _weighted(sums: NDArray[np.float64], weights: Sequence[Weights]) -> NDArray[np.float64]:
    """``sums`` over all units, each as often as it was drawn: ``[k, replicates]``."""
    total = np.tensordot(weights[0], sums, 1)
    for drawn in weights[1:]:
        total = np.einsum("rd,rdk->rk", drawn, total)
    return total.T


def _row_weights(weights: ArrayLike | None, rows: ArrayLike) -> ArrayLike:
    return np.ones(np.shape(np.ravel(rows))) if weights is None else weights


def _moments(
    x: NDArray[np.float64], y: NDArray[np.float64], units: Units, row_weights: NDArray[np.float64] | None
) -> tuple[Statistic, float]:
    """Covariance and variances of two columns, ``[3, replicates]`` times the squared sum of weights; and sd of y over x.

    The columns are standardised first, so that sums stay exact.
    """
    w = np.ones_like(x) if row_weights is None else row_weights
    a, b = (column - np.average(column, weights=w) for column in (x, y))
    scale = [float(np.sqrt(np.average(column**2, weights=w))) or 1.0 for column in (a, b)]
    a, b = a / scale[0], b / scale[1]
    sums = _unit_sums(np.stack([w, w * a, w * b, w * a * a, w * b * b, w * a * b]), units)

    def moments(*weights: Weights) -> NDArray[np.float64]:
        n, sa, sb, saa, sbb, sab = _weighted(sums, weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.stack([sab - sa * sb / n, np.maximum(saa - sa * sa / n, 0), np.maximum(sbb - sb * sb / n, 0)])

    return moments, scale[1] / scale[0]


def _none_of(*weights: Weights) -> NDArray[np.float64]:
    return np.full(len(weights[0]), np.nan)


def _pearson_of(
    x: NDArray[np.float64], y: NDArray[np.float64], units: Units, row_weights: NDArray[np.float64] | None = None
) -> Statistic:
    if x.size < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return _none_of
    moments, _ = _moments(x, y, units, row_weights)

    def statistic(*weights: Weights) -> NDArray[np.float64]:
        both, first, second = moments(*weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.clip(both / np.sqrt(first * second), -1, 1))

    return statistic


def _slope_of(
    x: NDArray[np.float64], y: NDArray[np.float64], units: Units, row_weights: NDArray[np.float64] | None = None
) -> Statistic:
    if x.size < 2 or np.ptp(x) == 0:
        return _none_of
    moments, scale = _moments(x, y, units, row_weights)

    def statistic(*weights: Weights) -> NDArray[np.float64]:
        both, first, _ = moments(*weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(scale * both / first)

    return statistic


def _mean_of(values: NDArray[np.float64], units: Units) -> Statistic:
    if values.size == 0:
        return _none_of
    sums = _unit_sums(np.stack([np.ones_like(values), values]), units)

    def statistic(*weights: Weights) -> NDArray[np.float64]:
        n, total = _weighted(sums, weights)
        return np.asarray(total / n)

    return statistic


def _median_of(values: NDArray[np.float64], units: Units) -> Statistic:
    if values.size == 0:
        return _none_of
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
    """A statistic with its 95 % percentile interval over ``n_boot`` resamples of whole units.

    ``units`` hold the unit of each row, ``[rows]``, or two a row, ``[2, rows]``, where two factors cross. The interval is
    NaN with fewer than ``MINIMAL_UNITS`` units of a factor or where the statistic itself is NaN.
    """
    rows, sizes = units.shape[-1], _sizes(units)
    value = float(statistic(*(np.ones((1, size)) for size in sizes))[0])
    if min(sizes) < MINIMAL_UNITS or np.isnan(value):
        return Estimate(value, np.nan, np.nan, rows)
    rng = np.random.default_rng(seed)
    per_chunk = max(1, _CHUNK // max(*sizes, rows))
    replicates = [
        statistic(*(_draws(rng, min(per_chunk, n_boot - done), size) for size in sizes))
        for done in range(0, n_boot, per_chunk)
    ]
    return _percentiles(value, np.concatenate(replicates), rows)


def _percentiles(value: float, drawn: NDArray[np.float64], rows: int) -> Estimate:
    """A statistic with the percentile interval of its replicates; one that drew a single unit has no correlation."""
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [0.025, 0.975]) if drawn.size else (np.nan, np.nan)
    return Estimate(value, float(low), float(high), rows)


def bootstrap_members(
    make: Callable[..., Statistic],
    members: Sequence[NDArray[np.float64]],
    clusters: ArrayLike | None,
    n_boot: int,
    seed: int,
) -> Estimate:
    """A statistic of ensembles' mean predictions with its interval over resamples of units and of the members together.

    ``members`` are one array ``[rows, seeds]`` an ensemble, the same rows; ``make`` takes the mean prediction ``[rows]`` of
    each and gives the statistic. A replicate draws whole units, and of each ensemble as many seeds as it has, with
    replacement: two trainings that differ by their seed alone then differ within the interval. An ensemble of one seed
    cannot be resampled and adds nothing.
    """
    rows = members[0].shape[0]
    units = np.unique(np.asarray(clusters).ravel(), return_inverse=True)[1] if clusters is not None else np.arange(rows)
    n_units = int(units.max()) + 1 if rows else 0

    def statistic(shares: Sequence[NDArray[np.float64]]) -> Statistic:
        means = [values @ share for values, share in zip(members, shares, strict=True)]
        return make(*means, units)

    equal = [np.full(values.shape[1], 1 / values.shape[1]) for values in members]
    value = float(statistic(equal)(np.ones((1, n_units)))[0]) if rows else np.nan
    if n_units < MINIMAL_UNITS or np.isnan(value):
        return Estimate(value, np.nan, np.nan, rows)
    rng = np.random.default_rng(seed)
    sizes = [values.shape[1] for values in members]
    drawn_members = np.concatenate([rng.multinomial(k, np.full(k, 1 / k), n_boot) / k for k in sizes], axis=1)
    distinct, which = np.unique(drawn_members, axis=0, return_inverse=True)
    ends = np.cumsum(sizes)[:-1]
    drawn = np.empty(n_boot)
    per_chunk = max(1, _CHUNK // max(n_units, rows))
    for number, share in enumerate(distinct):
        of_share = statistic(np.split(share, ends))
        places = np.flatnonzero(which.ravel() == number)
        for first in range(0, len(places), per_chunk):
            part = places[first : first + per_chunk]
            drawn[part] = of_share(_draws(rng, len(part), n_units))
    return _percentiles(value, drawn, rows)


def pearson_with(measured: NDArray[np.float64]) -> Callable[..., Statistic]:
    """For :func:`bootstrap_members`: r of the mean prediction with what was measured."""
    return lambda predicted, units: _pearson_of(predicted, measured, units)


def pearson_difference_with(measured: NDArray[np.float64]) -> Callable[..., Statistic]:
    """For :func:`bootstrap_members`: r of the first ensemble less r of the second, on the same draws of units."""

    def make(first: NDArray[np.float64], second: NDArray[np.float64], units: Units) -> Statistic:
        one, other = _pearson_of(first, measured, units), _pearson_of(second, measured, units)
        return lambda *weights: one(*weights) - other(*weights)

    return make


def pearson_of_mean_with(measured: NDArray[np.float64]) -> Callable[..., Statistic]:
    """For :func:`bootstrap_members`: r of the mean of two ensembles' predictions."""
    return lambda first, second, units: _pearson_of((first + second) / 2, measured, units)


def gain_of_mean_with(measured: NDArray[np.float64]) -> Callable[..., Statistic]:
    """For :func:`bootstrap_members`: r of the mean of the first ensemble and the last, less r of another with the last.

    Of two ensembles: less r of the last alone. The last is the same draw of seeds on both sides.
    """

    def make(*given: Any) -> Statistic:
        first, *other, shared, units = given
        control = (other[0] + shared) / 2 if other else shared
        return pearson_difference_with(measured)((first + shared) / 2, control, units)

    return make


def right_signs_with(measured: NDArray[np.float64]) -> Callable[..., Statistic]:
    """For :func:`bootstrap_members`: share of mean predictions with the measured sign."""
    return lambda predicted, units: _mean_of(right_sign(predicted, measured), units)


def _draws(rng: np.random.Generator, replicates: int, units: int) -> Weights:
    drawn = rng.integers(0, units, (replicates, units))
    drawn += np.arange(replicates)[:, None] * units
    return np.bincount(drawn.ravel(), minlength=replicates * units).reshape(replicates, units).astype(np.float64)
