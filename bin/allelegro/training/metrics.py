"""The questions asked of a PRO-cap model: across loci, across donors within a locus, effect of an allele, allelic imbalance.

They are never pooled. Every array of the first three is ``[locus, donor]`` in log1p RPM, the one definition of quantity for all models: with small counts the
pseudocount moves a correlation, so it must not differ between those compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allelegro.statistics import Estimate, mean_ci, median_ci, paired_bootstrap, pearson_ci, right_sign, slope_ci
from allelegro.training.imbalance import Imbalance

Matrix = NDArray[np.float64]

LEAST_RPM = 1e-3  # a prediction of exactly 0 would make one read infinitely unlikely
MINIMAL_DONORS = 3  # below this a correlation within a locus says nothing


@dataclass(frozen=True)
class Question:
    """One metric of a cell: each model's ``values`` (and the ``measured`` they are correlated with), one row a unit.

    ``statistic`` is pearson, slope (measured on predicted), median or mean; ``clusters`` label rows that are not independent
    of each other (``[2, rows]`` where they belong to two crossed factors); ``weights`` say how much a row counts for the
    first two.
    """

    metric: str
    statistic: str
    values: Mapping[str, Matrix]
    measured: Matrix | None = None
    clusters: NDArray[np.int64] | None = None
    weights: Matrix | None = None

    def estimate(self, model: str, n_boot: int, seed: int) -> Estimate:
        """The metric of one model with its interval."""
        value = self.values[model]
        if self.measured is not None:
            correlate = slope_ci if self.statistic == "slope" else pearson_ci
            return correlate(value, self.measured, self.clusters, n_boot, seed, self.weights)
        return (median_ci if self.statistic == "median" else mean_ci)(value, self.clusters, n_boot, seed)

    def difference(self, first: str, second: str, n_boot: int, seed: int) -> Estimate:
        """``first`` less ``second`` on the same rows and the same draws."""
        return paired_bootstrap(
            self.values[first],
            self.values[second],
            self.measured,
            statistic=self.statistic,
            clusters=self.clusters,
            n_boot=n_boot,
            seed=seed,
            weights=self.weights,
        )


def locus_questions(observed: Matrix, predicted: Mapping[str, Matrix]) -> list[Question]:
    """Across loci: ``across_loci_r`` of the cell's mean signal, and the median over donors of each donor's own r.

    ``observed`` and ``predicted`` are RPM. ``across_loci_r`` is CLIPNET's "quantity log-Pearson" on merged signal.
    """
    merged = {model: np.log1p(rpm.mean(axis=1)) for model, rpm in predicted.items()}
    own = {model: rowwise_r(np.log1p(observed).T, np.log1p(rpm).T) for model, rpm in predicted.items()}
    return [
        Question("across_loci_r", "pearson", merged, np.log1p(observed.mean(axis=1))),
        Question("across_loci_r_donor_median", "median", own),
    ]


def donor_questions(observed: Matrix, predicted: Mapping[str, Matrix]) -> list[Question]:
    """Across donors: each locus's own r (its median, and the share above 0), and r of all deviations from locus means.

    The rows are loci where the model could tell donors apart. Deviations are bootstrapped over loci and donors together:
    what a donor's library has everywhere (its depth moves every log1p RPM) is one chance event, not one a locus.
    """
    measured = np.log1p(observed)
    logs = {model: np.log1p(rpm) for model, rpm in predicted.items()}
    r = {model: rowwise_r(measured, value) for model, value in logs.items()}
    locus_and_donor = np.indices(observed.shape).reshape(2, -1)
    return [
        Question("within_locus_r_median", "median", r),
        Question("within_locus_right_sign", "mean", {model: right_sign(value, 1) for model, value in r.items()}),
        Question(
            "between_donors_r",
            "pearson",
            {model: deviations(value).ravel() for model, value in logs.items()},
            deviations(measured).ravel(),
            locus_and_donor,
        ),
    ]


def count_questions(counts: Matrix, sizes: NDArray[np.float64], predicted: Mapping[str, Matrix]) -> list[Question]:
    """Share of the Poisson deviance of ``counts`` ``[locus, donor]`` that predictions (RPM) explain; 0 says nothing.

    A correlation of log1p RPM weighs a donor of three reads as one of three thousand; a deviance weighs by counts. Across
    loci it is that of locus totals against their mean, predictions scaled to the reads that were seen. Between donors it
    is that of each locus's reads given their sum, against shares by library size (``sizes`` ``[donor]``). A metric is the
    mean of the loci's own differences, in units of the mean null deviance. Counting noise bounds it below 1.
    """
    expected = {model: np.maximum(rpm, LEAST_RPM) * sizes for model, rpm in predicted.items()}
    total = counts.sum(axis=1)
    across = {model: mean.sum(axis=1) * total.sum() / mean.sum() for model, mean in expected.items()}
    between = {model: total[:, None] * mean / mean.sum(axis=1, keepdims=True) for model, mean in expected.items()}
    even = total[:, None] * (sizes / sizes.sum())
    return [
        _explained("across_loci_deviance_explained", total[:, None], np.full((len(total), 1), total.mean()),
                   {model: mean[:, None] for model, mean in across.items()}),
        _explained("between_donors_deviance_explained", counts, even, between),
    ]  # fmt: skip


def _explained(metric: str, counts: Matrix, null: Matrix, expected: Mapping[str, Matrix]) -> Question:
    without = poisson_deviance(counts, null)
    scale = without.mean() or np.nan
    return Question(
        metric, "mean", {name: (without - poisson_deviance(counts, mean)) / scale for name, mean in expected.items()}
    )


def poisson_deviance(counts: Matrix, expected: Matrix) -> NDArray[np.float64]:
    """Poisson deviance of each row; ``expected`` is above 0 wherever there are counts."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(counts > 0, counts * np.log(counts / expected), 0.0)
    return np.asarray(2 * (logs - counts + expected).sum(axis=1))


def allele_questions(observed: Matrix, predicted: Mapping[str, Matrix], dosage: Matrix) -> list[Question]:
    """Effect of each locus's most common non-reference haplotype: slope on its copies, measured against predicted."""
    measured = slopes(np.log1p(observed), dosage)
    effects = {model: slopes(np.log1p(rpm), dosage) for model, rpm in predicted.items()}
    return effect_questions("allele_effect", measured, effects)


def effect_questions(name: str, measured: Matrix, effects: Mapping[str, Matrix]) -> list[Question]:
    """``<name>_r`` and ``<name>_right_sign`` of effects, one a row."""
    signs = {model: right_sign(effect, measured) for model, effect in effects.items()}
    return [
        Question(f"{name}_r", "pearson", effects, measured),
        Question(f"{name}_right_sign", "mean", signs),
    ]


def imbalance_questions(seen: Imbalance, predicted: Mapping[str, Matrix]) -> list[Question]:
    """Allelic imbalance: r weighted by information, its calibration, and right signs among significant events.

    ``predicted`` are log2 of haplotype 0 over haplotype 1, ``[locus, donor]``. Rows are windows of donors, and loci and
    donors are drawn together. The slope is of observed on predicted: below 1, predictions are too large.
    """
    asked, events = seen.asked, seen.asked & seen.significant
    questions = []
    if asked.any():
        given = {model: ratio[asked] for model, ratio in predicted.items()}
        for metric, statistic in (("allelic_imbalance_r", "pearson"), ("allelic_imbalance_slope", "slope")):
            questions.append(
                Question(metric, statistic, given, seen.observed[asked], np.array(np.nonzero(asked)), seen.information[asked])
            )  # fmt: skip
    if events.any():
        signs = {model: right_sign(ratio[events], seen.observed[events]) for model, ratio in predicted.items()}
        questions.append(Question("allelic_imbalance_right_sign", "mean", signs, clusters=np.array(np.nonzero(events))))
    return questions


def deviations(values: Matrix) -> Matrix:
    """Values less the mean of their row."""
    return np.asarray(values - values.mean(axis=1, keepdims=True))


def rowwise_r(observed: Matrix, predicted: Matrix) -> Matrix:
    """Pearson r of each row; NaN where the observation is constant, 0 where only the prediction is (it says nothing)."""
    a, b = deviations(observed), deviations(predicted)
    spread = np.sqrt((a * a).sum(axis=1)), np.sqrt((b * b).sum(axis=1))
    rounding = 1e-6 * (
        1 + np.abs(predicted).max(axis=1)
    )  # float32 predictions of one sequence may differ in the last bit
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.clip((a * b).sum(axis=1) / (spread[0] * spread[1]), -1, 1)
    return np.where(spread[0] == 0, np.nan, np.where(spread[1] <= rounding, 0.0, r))


def slopes(values: Matrix, dosage: Matrix) -> Matrix:
    """Least-squares slope of each row of ``values`` on the same row of ``dosage``; NaN where the dosage is constant."""
    centred = deviations(dosage)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((values * centred).sum(axis=1) / (centred**2).sum(axis=1))


def main_dosage(index: NDArray[np.int64]) -> Matrix:
    """Copies of each locus's most common non-reference haplotype that its donors carry, ``[locus, donor]``.

    ``index`` is ``[locus, donor, 2]``; loci where everyone carries the reference are all 0.
    """
    loci = len(index)
    most = int(index.max(initial=0)) + 1
    flat = index.reshape(loci, -1) + np.arange(loci)[:, None] * most
    carriers = np.bincount(flat.ravel(), minlength=loci * most).reshape(loci, most)
    carriers[:, 0] = 0
    main = np.where(carriers.any(axis=1), carriers.argmax(axis=1), -1)
    return np.asarray((index == main[:, None, None]).sum(axis=2), dtype=np.float64)
