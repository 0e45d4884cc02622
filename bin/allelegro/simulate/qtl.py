"""Association of variants with donors' PRO-cap levels, as in a tiQTL study: what the cohort itself can find."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from allelegro.simulate.population import Variants

Floats = NDArray[np.float64]
REACH = 250  # bp on either side of a locus whose 5' ends count
FREQUENCY = 0.05  # lowest frequency of the rarer allele of a tested variant
COMPONENTS = 5  # principal components taken out where there are enough donors and loci to know them
FEWEST_DONORS, FEWEST_LOCI = 30, 100
FDR, NO_EFFECT = 0.05, 0.05  # calls: leads of loci below this rate; variants above this p-value have no effect


def locus_counts(centre: NDArray[np.int64], position: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """5' ends within ``REACH`` of each ``centre [E]``, of ``count`` at ascending ``position``."""
    total = np.concatenate([[0], np.cumsum(count)])
    first, last = (np.searchsorted(position, centre + side) for side in (-REACH, REACH))
    return np.asarray(total[last] - total[first])


def donor_levels(counts: NDArray[np.int64], depth: Floats, donor: NDArray[np.int64], donors: int) -> Floats:
    """log2 level of each donor ``[E, donors]`` from ``counts [E, libraries]``: the mean of its libraries at equal depth."""
    level = np.log2((counts + 0.5) / (depth / depth.mean()))
    total = np.zeros((len(counts), donors))
    np.add.at(total.T, donor, level.T)
    return np.asarray(total / np.maximum(np.bincount(donor, minlength=donors), 1))


def without_components(level: Floats, components: int) -> Floats:
    """Levels ``[E, D]`` centred at each locus, without the largest principal components across donors."""
    centred: Floats = level - level.mean(1, keepdims=True)
    if components < 1:
        return centred
    scaled = centred / np.maximum(centred.std(1, keepdims=True), 1e-9)
    values, vectors = np.linalg.eigh(scaled.T @ scaled)
    top = vectors[:, np.argsort(-values)[:components]]
    return np.asarray(centred - centred @ top @ top.T)


def association(level: Floats, dosage: Floats, lost: int) -> tuple[Floats, Floats]:
    """Slope and two-sided p of ``level [D]`` on each row of ``dosage [V, D]``; ``lost`` degrees of freedom are already spent."""
    x = dosage - dosage.mean(1, keepdims=True)
    y = level - level.mean()
    square = (x**2).sum(1)
    slope = x @ y / square
    freedom = max(len(y) - 2 - lost, 1)
    residual = np.maximum((y**2).sum() - slope**2 * square, 1e-12) / freedom
    t = slope / np.sqrt(residual / square)
    return np.asarray(slope), np.asarray(2 * stats.t.sf(np.abs(t), freedom))


def associations(
    level: Floats, variants: Variants, row: NDArray[np.int64], element: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Every common SNV at its locus: which of ``row`` were tested, slope (log2 a copy of ALT) and p.

    ``row`` and ``element`` pair variants with the loci they are tested at, in order of locus.
    """
    donors = level.shape[1]
    frequency = variants.genotypes[row].mean(1)
    dosage = variants.genotypes[row][:, 0::2] + variants.genotypes[row][:, 1::2]
    varying = dosage.min(1) < dosage.max(1)  # not when all donors are heterozygous
    common = variants.snv()[row] & varying & (np.minimum(frequency, 1 - frequency) >= FREQUENCY)
    components = COMPONENTS if donors >= FEWEST_DONORS and len(level) >= FEWEST_LOCI else 0
    clean = without_components(level, components)
    tested, slopes, values = [np.zeros(0, np.int64)], [np.zeros(0)], [np.zeros(0)]
    for e in np.unique(element[common]):
        mine = _of(element, e, common)
        slope, p = association(clean[e], dosage[mine].astype(float), components)
        tested.append(mine)
        slopes.append(slope)
        values.append(p)
    return np.concatenate(tested), np.concatenate(slopes), np.concatenate(values)


def _of(element: NDArray[np.int64], e: int, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Indices of the ``chosen`` rows of locus ``e``; ``element`` is ascending."""
    first, last = np.searchsorted(element, [e, e + 1])
    return np.asarray(first + np.flatnonzero(chosen[first:last]))


def called(table: pd.DataFrame) -> pd.DataFrame:
    """Adds ``significant`` to a table with index 0, 1, …: 1 for the lead of a locus found at the false discovery rate, 0 for no effect, empty between.

    A locus is found by its smallest p times its tests, adjusted over loci (Benjamini-Hochberg).
    """
    if not len(table):
        return table.assign(significant=[])
    lead = table.groupby("element")["pvalue"].idxmin()
    tests = table.groupby("element").size()
    smallest = np.minimum(table.loc[lead, "pvalue"].to_numpy() * tests.loc[lead.index].to_numpy(), 1.0)
    found = lead.to_numpy()[stats.false_discovery_control(smallest) < FDR]
    significant = np.where(table["pvalue"] > NO_EFFECT, 0.0, np.nan)
    significant[found] = 1.0
    return table.assign(significant=significant)
