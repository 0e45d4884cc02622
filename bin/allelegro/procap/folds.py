"""Folds of windows: whole chromosomes for a human genome, contiguous blocks with gaps for a small one."""

import re
from typing import Literal

import numpy as np
import pandas as pd

from allelegro.errors import DataError

# CLIPNET's assignment (He et al. 2024, clipnet_data_folds/data_fold_assignments.csv): fold 0 is never trained on.
CLIPNET_FOLDS = {
    chromosome: fold
    for fold, chromosomes in enumerate(
        ((9, 13, 20, 21), (5, 7), (11, 12), (14, 15, 18), (1,), (2, 22), (4, 6), (3, 16), (10, 19), (8, 17))
    )
    for chromosome in chromosomes
}
UNASSIGNED = -1

Scheme = Literal["auto", "clipnet", "blocks"]


def assign_folds(
    windows: pd.DataFrame, scheme: Scheme, n_folds: int, gap: int, source: object = "windows"
) -> tuple[pd.Series, Scheme]:
    """Fold of each window (sorted by contig, then start), ``UNASSIGNED`` where it falls in no fold, and the scheme used.

    ``auto`` takes CLIPNET's folds when they leave none of the ten empty, blocks otherwise. ``n_folds`` and ``gap`` (bp)
    hold for blocks. Raises DataError, which names the ``source`` of the windows, when fewer windows than folds remain.
    """
    by_chromosome = windows["chrom"].map(clipnet_fold)
    if scheme == "auto":
        complete = set(by_chromosome) >= set(CLIPNET_FOLDS.values())
        scheme = "clipnet" if complete else "blocks"
    if scheme == "clipnet":
        return by_chromosome.rename("fold"), scheme
    return _blocks(windows, n_folds, gap, source), scheme


def clipnet_fold(contig: str) -> int:
    """CLIPNET's fold of a human autosome, named with or without ``chr``; ``UNASSIGNED`` for any other contig."""
    match = re.fullmatch(r"(?:chr)?([1-9]|1\d|2[0-2])", contig)
    return CLIPNET_FOLDS[int(match[1])] if match else UNASSIGNED


def _blocks(windows: pd.DataFrame, n_folds: int, gap: int, source: object) -> pd.Series:
    """Runs of consecutive windows, equal in number; windows within ``gap``/2 of a border inside a contig are excluded."""
    if len(windows) < n_folds:
        raise DataError(
            f"{source}: {len(windows)} windows cannot fill {n_folds} folds; give peaks or windows of the whole genome, or "
            f"ask for at most {len(windows)} folds (--n-folds; --folds in the pipeline)"
        )
    fold = np.arange(len(windows)) * n_folds // len(windows)
    chrom, start, end = (windows[column].to_numpy() for column in ("chrom", "start", "end"))
    for first in np.flatnonzero(np.diff(fold)) + 1:
        if chrom[first] == chrom[first - 1]:
            border = (end[first - 1] + start[first]) // 2
            near = (chrom == chrom[first]) & (end > border - gap // 2) & (start < border + (gap + 1) // 2)
            fold[near] = UNASSIGNED
    lost = set(range(n_folds)) - set(fold)
    if lost:
        raise DataError(
            f"{source}: the gap of {gap} bp between blocks leaves fold {min(lost)} without windows; lower --gap or the number "
            "of folds (--n-folds; --folds in the pipeline)"
        )
    return pd.Series(fold, index=windows.index, name="fold")


def fold_regions(windows: pd.DataFrame) -> dict[int, list[list[str | int]]]:
    """The span ``[chrom, start, end]`` of each fold's windows on each contig."""
    regions: dict[int, list[list[str | int]]] = {}
    for fold, own in windows.groupby("fold"):
        spans = own.groupby("chrom", sort=False).agg(start=("start", "min"), end=("end", "max"))
        rows = zip(spans.index, spans["start"].tolist(), spans["end"].tolist(), strict=True)
        regions[int(str(fold))] = [[str(chrom), start, end] for chrom, start, end in rows]
    return regions
