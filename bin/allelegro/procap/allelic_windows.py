"""Allelic imbalance of whole windows: the donors that carry the same two haplotypes, tested together.

A window's reads over all its heterozygous SNVs say more than one SNV's, and donors with one pair of haplotypes are
replicates of one contrast. The likelihood is that of :mod:`allelegro.procap.allelic_events`.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.io.tables import write_table
from allelegro.procap.allelic_events import fit, imbalance
from allelegro.statistics import benjamini_hochberg

WINDOW_COLUMNS = [
    "chrom", "start", "end", "window", "haplotype_1", "haplotype_2", "alleles_1", "alleles_2", "effect", "n", "p", "fdr",
    "donors", "count_1", "count_2", "significant",
]  # fmt: skip
Alleles = Callable[[int, int, int], tuple[str, str]]

log = logging.getLogger(__name__)


def call_window_events(
    windows: pd.DataFrame,
    reads: NDArray[np.integer],
    reference: NDArray[np.floating],
    pairs: NDArray[np.int64],
    donors: Sequence[str],
    alleles: Alleles,
    out: Path,
    *,
    min_reads: int = 10,
    fdr: float = 0.05,
    allow_none: bool = False,
) -> pd.DataFrame:
    """Test every window and pair of haplotypes over the donors that carry it, and write ``WINDOW_COLUMNS``.

    ``reads`` ``[window, library, 2]`` of the two haplotypes and their ``reference`` ``[window, library]`` are those of the
    counts store (both strands); ``pairs`` ``[window, library, 2]`` rows of the haplotype store within the window (0 the
    reference); ``donors`` name each library's; ``alleles`` ``(window, row_1, row_2)`` gives the alleles that only the first
    and only the second haplotype carries. ``effect`` is log2 of haplotype_2 over haplotype_1, whose row is the lower one. Each
    library's reference bias is fitted to all, and one concentration to the pairs of several donors. Raises DataError when
    no pair has ``min_reads``, or with ``allow_none`` warns and writes a table without rows.
    """
    window, library = np.nonzero((reads.sum(axis=2) > 0) & (pairs[..., 0] != pairs[..., 1]))
    pair, counts = pairs[window, library], reads[window, library].astype(np.float64)
    turned = pair[:, 0] > pair[:, 1]
    first, second = (np.where(turned, counts[:, 1 - side], counts[:, side]) for side in (0, 1))
    # A preference for reference bases moves haplotype 0, so the second one the other way unless the two are turned.
    direction = np.where(turned, 1.0, -1.0) * reference[window, library]
    keys, event = np.unique(np.column_stack([window, np.sort(pair, axis=1)]), axis=0, return_inverse=True)
    event = event.ravel()
    kept = np.bincount(event, first + second, len(keys)) >= min_reads
    rows = kept[event]
    if not rows.any() and allow_none:
        log.warning("no window has %d reads of a pair of haplotypes: %s has no rows", min_reads, out)
        write_table(pd.DataFrame(columns=WINDOW_COLUMNS), out)
        return pd.DataFrame(columns=WINDOW_COLUMNS)
    if not rows.any():
        raise DataError(f"{out}: no window has {min_reads} reads of a pair of haplotypes; lower --min-reads")
    keys, event = keys[kept], (np.cumsum(kept) - 1)[event[rows]]
    first, second, direction = (np.asarray(part[rows], np.float64) for part in (first, second, direction))
    library = library[rows]
    donor = pd.factorize(np.array(donors))[0][library]
    bias, concentration = fit(first, second, library, len(donors), event, donor, direction)
    effect, p = imbalance(first, second, bias[library] * direction, concentration, event)
    rate = benjamini_hochberg(p)
    who = pd.DataFrame({"event": event, "donor": np.array(donors)[library]})
    names = [alleles(*map(int, key)) for key in keys]
    found = windows.iloc[keys[:, 0]].reset_index(drop=True)
    table = pd.DataFrame(
        {
            "chrom": found["chrom"], "start": found["start"], "end": found["end"], "window": found["name"],
            "haplotype_1": keys[:, 1], "haplotype_2": keys[:, 2], "alleles_1": [one for one, _ in names],
            "alleles_2": [other for _, other in names], "effect": effect / np.log(2), "p": p, "fdr": rate,
            "donors": who.groupby("event")["donor"].nunique().to_numpy(),
            "count_1": np.bincount(event, first).astype(np.int64), "count_2": np.bincount(event, second).astype(np.int64),
            "significant": np.where(rate < fdr, "yes", "no"),
        }
    )  # fmt: skip
    table = table.assign(n=table["count_1"] + table["count_2"])[WINDOW_COLUMNS]
    write_table(table, out)
    log.info(
        "%s: %d pairs of haplotypes in %d windows tested, %d imbalanced at FDR %g",
        out, len(table), table["window"].nunique(), (rate < fdr).sum(), fdr,
    )  # fmt: skip
    return table
