"""Allelic imbalance of SNVs over donors: beta-binomial tests with fitted overdispersion and reference bias.

The share of alternative reads of a library at a site has the logit ``effect + bias``; ``bias`` is the library's preference
for an allele, fitted to all its sites, and the concentration is one for all. An SNV's effect is shared by its donors and
tested by a likelihood ratio (1 degree of freedom); rates of false discovery are Benjamini and Hochberg's.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import betaln, expit
from scipy.stats import chi2, false_discovery_control

from allelegro.errors import DataError
from allelegro.io.tables import COUNT, NAME, POSITION, TEXT, read_table, write_table
from allelegro.procap.alleles import USED

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
    bias, concentration = fit_null(ref, alt, library, len(names))
    log.info(
        "concentration %.0f; reference share at balance %s",
        concentration, ", ".join(f"{name} {expit(-value):.3f}" for name, value in zip(names, bias, strict=True)),
    )  # fmt: skip
    sites = rows.groupby(_SITE, sort=False)
    site = np.asarray(sites.ngroup(), np.int64)
    effect, p = imbalance(ref, alt, bias[library], concentration, site)
    table = sites.agg(
        id=("id", "first"), donors=("donor", "nunique"), ref_count=("ref_count", "sum"), alt_count=("alt_count", "sum")
    ).reset_index()
    rate = false_discovery_control(p)
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
    return effect, np.asarray(chi2.sf(np.maximum(2 * (best - none), 0), 1))


def _peak(grid: Floats, values: Floats) -> Floats:
    """Where each row of ``values`` on an even ``grid`` is highest: the top of a parabola through the best three."""
    best = values.argmax(axis=1)
    inner = best.clip(1, len(grid) - 2)
    rows = np.arange(len(values))
    left, middle, right = (values[rows, inner + step] for step in (-1, 0, 1))
    curve = left - 2 * middle + right
    shift = np.where(curve < 0, 0.5 * (left - right) / np.where(curve < 0, curve, -1.0), 0.0)
    return np.asarray(np.where(best == inner, grid[inner] + shift * (grid[1] - grid[0]), grid[best]))
