"""Allelic imbalance of SNVs over donors: beta-binomial tests with fitted overdispersion and reference bias.

The share of alternative reads of a library at a site has the logit ``effect + bias``; ``bias`` is the library's preference
for an allele, fitted to all its sites, and the concentration is one for all. It is told by how donors that share a site
differ, so that effects do not count as noise however many there are (:func:`fit_concentration`). An SNV's effect is shared
by its donors and tested by a likelihood ratio (1 degree of freedom); rates of false discovery are Benjamini and Hochberg's.
"""

import logging
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import betaln, chdtrc, expit

from allelegro.errors import DataError
from allelegro.io.tables import COUNT, NAME, POSITION, TEXT, read_table, write_table
from allelegro.procap.alleles import USED
from allelegro.statistics import benjamini_hochberg

EVENT_COLUMNS = [
    "chrom", "pos", "id", "ref", "alt", "effect", "n", "p", "fdr", "donors", "ref_count", "alt_count", "significant",
]  # fmt: skip
_KINDS = {
    "chrom": NAME, "pos": POSITION, "ref": NAME, "alt": NAME, "library": NAME, "donor": NAME, "ref_count": COUNT,
    "alt_count": COUNT, "id": TEXT, "use": TEXT,
}  # fmt: skip
_SITE = ["chrom", "pos", "ref", "alt"]
_EFFECTS = np.linspace(-5, 5, 201)  # natural log odds
_BIASES = np.linspace(-1, 1, 201)
_CONCENTRATIONS = np.geomspace(2, 5000, 60)
_ROUNDS = 4
# Effects as a mixture of none and of normal ones of these standard deviations, on a grid (natural log odds).
_SPREADS, _GRID, _STEPS = (0.25, 0.5, 1.0, 2.0), np.linspace(-4, 4, 65), 30
_FEWEST_SHARED, _MOST_SHARED = 50, 1500  # sites of several donors that the concentration is fitted on

log = logging.getLogger(__name__)
Floats = NDArray[np.float64]


def call_events(
    tables: Sequence[Path], out: Path, *, min_reads: int = 10, fdr: float = 0.05, allow_none: bool = False
) -> pd.DataFrame:
    """Test the SNVs of count_alleles.py's tables (``LIBRARY.snvs.tsv.gz``) and write ``EVENT_COLUMNS``, by place.

    ``effect`` is log2 alternative over reference, ``n`` the reads of both alleles over all libraries, ``donors`` how many
    are heterozygous with reads. SNVs with fewer than ``min_reads`` are not tested. Raises DataError when none is
    left, or with ``allow_none`` warns and writes a table without rows.
    """
    parts = [read_table(path, _KINDS) for path in tables]
    rows = pd.concat(parts, ignore_index=True)
    rows = rows[(rows["use"] == USED) & (rows["ref_count"] + rows["alt_count"] > 0)].reset_index(drop=True)
    if rows.duplicated([*_SITE, "library"]).any():
        name = rows["library"][rows.duplicated([*_SITE, "library"])].iloc[0]
        raise DataError(f"library {name} is in two of the tables; give each library once")
    sites = rows.groupby(_SITE, sort=False)
    reads = sites[["ref_count", "alt_count"]].transform("sum").sum(axis=1)
    rows = rows[reads >= min_reads].reset_index(drop=True)
    if rows.empty and allow_none:
        log.warning("no SNV has %d reads of both alleles together: %s has no rows", min_reads, out)
        write_table(pd.DataFrame(columns=EVENT_COLUMNS), out)
        return pd.DataFrame(columns=EVENT_COLUMNS)
    if rows.empty:
        raise DataError(f"{tables[0]}: no SNV has {min_reads} reads of both alleles together; lower --min-reads")
    ref, alt = (rows[name].to_numpy(np.float64) for name in ("ref_count", "alt_count"))
    library, names = pd.factorize(rows["library"])
    sites = rows.groupby(_SITE, sort=False)
    site = np.asarray(sites.ngroup(), np.int64)
    bias, concentration = fit(ref, alt, library, len(names), site, pd.factorize(rows["donor"])[0])
    log.info(
        "concentration %.0f; reference share at balance %s",
        concentration, ", ".join(f"{name} {expit(-value):.3f}" for name, value in zip(names, bias, strict=True)),
    )  # fmt: skip
    effect, p = imbalance(ref, alt, bias[library], concentration, site)
    table = sites.agg(
        id=("id", "first"), donors=("donor", "nunique"), ref_count=("ref_count", "sum"), alt_count=("alt_count", "sum")
    ).reset_index()
    rate = benjamini_hochberg(p)
    table = table.assign(effect=effect / np.log(2), p=p, fdr=rate, n=table["ref_count"] + table["alt_count"])
    table["significant"] = np.where(rate < fdr, "yes", "no")
    table = table.sort_values(["chrom", "pos"], kind="stable")[EVENT_COLUMNS]
    write_table(table, out)
    log.info("%s: %d SNVs tested, %d imbalanced at FDR %g", out, len(table), (rate < fdr).sum(), fdr)
    return table


def beta_binomial(ref: Floats, alt: Floats, logit: Floats, concentration: float) -> Floats:
    """Log likelihood of ``alt`` of ``ref + alt`` reads at mean ``expit(logit)``, without the binomial coefficient."""
    a, b = concentration * expit(logit), concentration * expit(-logit)
    return np.asarray(betaln(alt + a, ref + b) - betaln(a, b))


def fit_null(
    ref: Floats, alt: Floats, library: NDArray[np.intp], libraries: int, direction: Floats | float = 1.0
) -> tuple[Floats, float]:
    """Each library's bias (natural log odds of the alternative allele) and the concentration, by likelihood in turns.

    ``direction`` ``[row]`` says how far the bias moves a row; 1 where ``alt`` are the alternative allele's own reads.
    """
    along = np.broadcast_to(direction, ref.shape)
    bias, concentration = np.zeros(libraries), 50.0
    for _ in range(_ROUNDS):
        by_bias = [
            np.bincount(library, beta_binomial(ref, alt, value * along, concentration), libraries) for value in _BIASES
        ]
        bias = _peak(_BIASES, np.stack(by_bias, axis=1).astype(np.float64))
        totals = [beta_binomial(ref, alt, bias[library] * along, value).sum() for value in _CONCENTRATIONS]
        concentration = float(_CONCENTRATIONS[int(np.argmax(totals))])
    return bias, concentration


def fit(
    ref: Floats,
    alt: Floats,
    library: NDArray[np.intp],
    libraries: int,
    site: NDArray[np.int64],
    donor: NDArray[np.intp],
    direction: Floats | float = 1.0,
) -> tuple[Floats, float]:
    """Each library's bias and the concentration (:func:`fit_null`), the latter from sites of several donors.

    Where these are too few, imbalance itself is counted as noise, which makes tests conservative.
    """
    bias, concentration = fit_null(ref, alt, library, libraries, direction)
    shared = fit_concentration(ref, alt, bias[library] * direction, site, donor)
    if shared is None:
        log.warning(
            "fewer than %d contrasts are shared by donors: imbalance itself counts as noise, and tests are conservative",
            _FEWEST_SHARED,
        )
    return bias, concentration if shared is None else shared


def fit_concentration(
    ref: Floats, alt: Floats, bias: Floats, site: NDArray[np.int64], donor: NDArray[np.intp], seed: int = 0
) -> float | None:
    """The concentration by which rows of one site differ from each other, whatever the site's effect.

    The likelihood of a site integrates over its effect, a mixture of none and of normal ones whose shares are fitted
    (as Stephens 2017, doi:10.1093/biostatistics/kxw041). A site of one donor cannot tell its effect from noise, so
    those of several donors count, ``_MOST_SHARED`` at random. None where there are fewer than ``_FEWEST_SHARED``.
    """
    carried = np.unique(np.column_stack([site, donor]), axis=0)[:, 0]
    several = np.flatnonzero(np.bincount(carried) > 1)
    if len(several) < _FEWEST_SHARED:
        return None
    chosen = np.random.default_rng(seed).permutation(several)[:_MOST_SHARED]
    place = np.full(int(site.max()) + 1, -1)
    place[chosen] = np.arange(len(chosen))
    rows = place[site] >= 0
    place, ref, alt, bias = place[site[rows]], ref[rows], alt[rows], bias[rows]
    kinds = np.stack([(_GRID == 0).astype(float), *(np.exp(-((_GRID / spread) ** 2) / 2) for spread in _SPREADS)])
    kinds /= kinds.sum(axis=1, keepdims=True)

    def likelihood(concentration: float) -> float:
        of_effect = [np.bincount(place, beta_binomial(ref, alt, bias + effect, concentration)) for effect in _GRID]
        each = np.stack(of_effect, axis=1)
        top = each.max(axis=1)
        of_kind = np.exp(each - top[:, None]) @ kinds.T
        share = np.full(len(kinds), 1 / len(kinds))
        for _ in range(_STEPS):
            owned = of_kind * share
            share = (owned / owned.sum(axis=1, keepdims=True)).mean(axis=0)
        return float((np.log(of_kind @ share) + top).sum())

    return _highest(likelihood, _CONCENTRATIONS)


def _highest(function: Callable[[float], float], grid: Floats) -> float:
    """Where on a grid a function with one peak is highest, by ternary search."""
    known = cache(lambda place: function(float(grid[place])))
    low, high = 0, len(grid) - 1
    while high - low > 2:
        first, second = low + (high - low) // 3, high - (high - low) // 3
        low, high = (first, high) if known(first) < known(second) else (low, second)
    return float(grid[max(range(low, high + 1), key=known)])


def imbalance(
    ref: Floats, alt: Floats, bias: Floats, concentration: float, site: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Effect (natural log odds) and p of each site from its rows (one a library); ``site`` ``[row]`` numbers sites."""
    number = int(site.max()) + 1
    likelihood = np.stack(
        [np.bincount(site, beta_binomial(ref, alt, bias + value, concentration), number) for value in _EFFECTS], axis=1
    ).astype(np.float64)
    effect = _peak(_EFFECTS, likelihood)
    best = np.bincount(site, beta_binomial(ref, alt, bias + effect[site], concentration), number)
    none = likelihood[:, len(_EFFECTS) // 2]
    return effect, np.asarray(chdtrc(1, np.maximum(2 * (best - none), 0)))


def _peak(grid: Floats, values: Floats) -> Floats:
    """Where each row of ``values`` on an even ``grid`` is highest: the top of a parabola through the best three."""
    best = values.argmax(axis=1)
    inner = best.clip(1, len(grid) - 2)
    rows = np.arange(len(values))
    left, middle, right = (values[rows, inner + step] for step in (-1, 0, 1))
    curve = left - 2 * middle + right
    shift = np.where(curve < 0, 0.5 * (left - right) / np.where(curve < 0, curve, -1.0), 0.0)
    return np.asarray(np.where(best == inner, grid[inner] + shift * (grid[1] - grid[0]), grid[best]))
