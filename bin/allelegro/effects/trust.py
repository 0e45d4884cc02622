"""How far a predicted effect can be trusted: is it more than chance gives, and is its sign right?

The null quantile places the size of an effect among those of random SNVs of the same class (near or far from the centre
of elements like its own, or around the variants). The probability of a right sign is calibrated on measured effects of
variants that the model did not see in training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.effects.windows import Genome, window_centres
from allelegro.io.dna import decode
from allelegro.io.tables import NUMBER, TEXT, maybe, read_table
from allelegro.statistics import right_sign

DISTANCE_STEP = 20  # bp: random SNVs as far from an element's centre, to this step, are one class
NEAR = 115  # bp from the centre of an element: half of what the published LegNet reads
AROUND = (100, 1000)  # bp from a variant outside elements to its random SNVs
FEWEST = 50  # measured variants to calibrate a class on
BINS = 10  # of the calibration table
FOLDS = 5  # in which the calibration table is held out
_PENALTY = 1.0  # of the logistic's weights, in units of their features' means
BASES = "ACGT"
_POINTS = {"significant": maybe(NUMBER), "seen": TEXT, "near": TEXT}

Values = NDArray[np.float64]


def classes_of(distance: pd.Series, in_element: pd.Series | NDArray[np.bool_]) -> NDArray[np.int64]:
    """Class of each variant: steps of distance from the centre of its element, -1 outside elements."""
    steps = (distance.abs() // DISTANCE_STEP).fillna(-1).astype(np.int64).to_numpy()
    return np.where(np.asarray(in_element), steps, -1)


def random_snvs(
    variants: pd.DataFrame, windows: pd.DataFrame | None, genome: Genome, reach: int, each: int, seed: int
) -> pd.DataFrame:
    """Random SNVs of a genome to compare variants with: ``each`` a class, where the genome has a base.

    Those of elements are at a random place of a random one of ``windows``, up to ``reach`` bp from its centre; others are
    around ``variants`` (``contig start``). Columns as of parsed variants (``variants.parse_alleles``).
    """
    rng = np.random.default_rng(seed)
    parts = []
    if windows is not None:
        n = each * -(-reach // DISTANCE_STEP)
        row = rng.integers(len(windows), size=n)
        side = rng.choice([-1, 1], n)
        place = window_centres(windows)[row] + side * (np.arange(n) % reach)
        parts.append(pd.DataFrame({"chrom": windows["chrom"].to_numpy()[row], "start": place}))
    if len(variants):
        row = rng.integers(len(variants), size=each)
        place = variants["start"].to_numpy()[row] + rng.choice([-1, 1], each) * rng.integers(*AROUND, each)
        parts.append(pd.DataFrame({"chrom": variants["contig"].to_numpy()[row], "start": place}))
    table = pd.concat(parts, ignore_index=True)
    table["contig"] = [genome.contig(str(chrom)) for chrom in table["chrom"]]
    table = table[table["contig"].notna()]
    lengths = np.array([genome.lengths[contig] for contig in table["contig"]])
    table = table[(table["start"] >= 0) & (table["start"] < lengths)]
    before = [
        decode(genome.codes(contig, int(start), int(start) + 1))
        for contig, start in zip(table["contig"], table["start"], strict=True)
    ]
    table = table.assign(before=before, ref=before, pos=table["start"] + 1, id=".")
    table = table[table["before"].isin(list(BASES))]
    turn = rng.integers(1, 4, len(table))
    after = [BASES[(BASES.index(base) + by) % 4] for base, by in zip(table["before"], turn, strict=True)]
    return table.assign(after=after, alt=after).reset_index(drop=True)


@dataclass(frozen=True)
class Nulls:
    """Sizes of the effects of random SNVs, sorted, by class."""

    sizes: dict[int, Values]

    @classmethod
    def of(cls, scores: pd.DataFrame) -> "Nulls":
        """From a table of scores of random SNVs."""
        scored = scores[scores["effect"].notna()]
        group = classes_of(scored["distance"], scored["view"] == "element")
        size = scored["effect"].abs().to_numpy(float)
        return cls({int(label): np.sort(size[group == label]) for label in np.unique(group)})

    def quantiles(self, scores: pd.DataFrame) -> Values:
        """Share of the random SNVs of a variant's class with a smaller effect, ties half, in (0, 1).

        NaN without a score, without random SNVs of the class, and where the model reads neither (all effects 0).
        """
        group = classes_of(scores["distance"], scores["view"] == "element")
        size = scores["effect"].abs().to_numpy(float)
        found = np.full(len(scores), np.nan)
        for label in np.unique(group):
            null = self.sizes.get(int(label))
            rows = (group == label) & np.isfinite(size)
            if null is None or not null.any():
                continue
            below, upto = (np.searchsorted(null, size[rows], side) for side in ("left", "right"))
            found[rows] = ((below + upto) / 2 + 0.5) / (null.size + 1)
        return found


@dataclass(frozen=True)
class SignCalibration:
    """P(sign is right) = 1 / (1 + exp(-(a · size + b · √size))), of each class and of all variants together.

    ``curves`` are ``(a, b, measured variants)``. The effect of nothing is right half of the time, and a larger effect is never
    trusted less: a and b are not negative, so a model that is wrong more often than right is given one half.
    """

    curves: dict[str, tuple[float, float, int]]

    @classmethod
    def fit(cls, effect: Values, right: Values, group: Sequence[str] | NDArray[np.str_]) -> "SignCalibration":
        """From predicted effects, whether their sign was right (1, 0; ½ of an effect of 0 is excluded) and their class."""
        labels = np.asarray(group)
        known = np.isfinite(effect) & np.isfinite(right) & (effect != 0)
        curves = {}
        for label in ("all", *np.unique(labels[known])):
            rows = known & ((labels == label) | (label == "all"))
            if rows.sum() >= FEWEST:
                curves[str(label)] = (*_logistic(np.abs(effect[rows]), right[rows]), int(rows.sum()))
        return cls(curves)

    def probability(self, effect: Values, group: Sequence[str] | NDArray[np.str_]) -> Values:
        """Probability that the sign of each effect is right; ½ for an effect of 0, NaN where nothing was calibrated."""
        labels = np.asarray(group)
        found = np.full(len(effect), np.nan)
        size = np.abs(effect)
        for label in np.unique(labels):
            curve = self.curves.get(str(label)) or self.curves.get("all")
            if curve is not None:
                rows = labels == label
                found[rows] = 1 / (1 + np.exp(-np.clip(curve[0] * size[rows] + curve[1] * np.sqrt(size[rows]), 0, 30)))
        return np.where(effect == 0, 0.5, np.where(np.isfinite(effect), found, np.nan))


def _logistic(size: Values, right: Values) -> tuple[float, float]:
    """Weights (at least 0) of a size and of its square root in a logistic regression without offset, by Newton's method."""
    scale = float(size.mean())
    features = np.stack([size / scale, np.sqrt(size / scale)], axis=1)
    used = [0, 1]
    while used:
        weights = np.zeros(len(used))
        for _ in range(50):
            p = 1 / (1 + np.exp(-np.clip(features[:, used] @ weights, -30, 30)))
            gradient = features[:, used].T @ (right - p) - _PENALTY * weights
            hessian = (features[:, used] * (p * (1 - p))[:, None]).T @ features[:, used] + _PENALTY * np.eye(len(used))
            step = np.linalg.solve(hessian, gradient)
            weights = weights + step
            if np.abs(step).max() < 1e-8:
                break
        if (weights >= 0).all():
            whole = np.zeros(2)
            whole[used] = weights
            return float(whole[0] / scale), float(whole[1] / np.sqrt(scale))
        used.pop(int(weights.argmin()))
    return 0.0, 0.0


def calibration_table(effect: Values, right: Values, group: NDArray[np.str_], seed: int = 0) -> pd.DataFrame:
    """``class bin predicted observed n``: probabilities against shares of right signs, each variant held out of its fit.

    Tenths of the predicted probability, of all variants together and of each class.
    """
    known = np.isfinite(effect) & np.isfinite(right) & (effect != 0)
    effect, right, group = effect[known], right[known], np.asarray(group)[known]
    fold = np.random.default_rng(seed).permutation(effect.size) % FOLDS
    p = np.full(effect.size, np.nan)
    for number in range(FOLDS):
        rest = fold != number
        p[~rest] = SignCalibration.fit(effect[rest], right[rest], group[rest]).probability(effect[~rest], group[~rest])
    rows = []
    for label in ("all", *np.unique(group)):
        chosen = np.isfinite(p) & ((group == label) | (label == "all"))
        if chosen.sum() >= FEWEST:
            rank = pd.Series(p[chosen]).rank(method="first", pct=True).to_numpy()
            tenth = np.ceil(rank * BINS).astype(int)
            for number in range(1, BINS + 1):
                own = tenth == number
                rows.append((str(label), number, p[chosen][own].mean(), right[chosen][own].mean(), int(own.sum())))
    return pd.DataFrame(rows, columns=["class", "bin", "predicted", "observed", "n"])


def expected_calibration_error(table: pd.DataFrame) -> float:
    """Mean distance of predicted and observed shares over the bins of ``calibration_table``, weighed by their size."""
    return float(np.average((table["predicted"] - table["observed"]).abs(), weights=table["n"]))


def sign_classes(view: pd.Series, distance: pd.Series) -> NDArray[np.str_]:
    """Class of a variant for the calibration of signs: ``near``, ``far`` (in its element) or ``outside``."""
    near = np.where(distance.abs() <= NEAR, "near", "far")
    return np.where(view == "element", near, "outside")


def read_points(paths: Sequence[Path], model: str) -> pd.DataFrame:
    """``effect right class`` of measured variants that a model did not see, from points of benchmarks.

    Of each table the significant variants count, whose measured sign is known; all of them where they are few. Empty
    where no table has the model.
    """
    found = []
    for path in paths:
        table = read_table(path, {"measured": maybe(NUMBER)}, optional={**_POINTS, model: maybe(NUMBER)})
        if model not in table:
            continue
        table = table.assign(significant=table.get("significant", np.nan), near=table.get("near", "outside"))
        table = table[(table.get("seen", pd.Series("no", table.index)) == "no") & table[model].notna()]
        chosen = table[table["significant"] == 1]
        table = chosen if len(chosen) >= FEWEST else table
        found.append(
            pd.DataFrame(
                {
                    "effect": table[model].astype(float), "measured": table["measured"].astype(float),
                    "right": right_sign(table[model], table["measured"]),
                    "class": table["near"].map({"yes": "near", "no": "far"}).fillna("outside"),
                }
            )
        )  # fmt: skip
    return (
        pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["effect", "measured", "right", "class"])
    )
