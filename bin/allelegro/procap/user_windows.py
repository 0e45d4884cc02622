"""Windows from any BED that a user has: of one width, named, inside their contigs, with folds where models are trained."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from allelegro.errors import DataError
from allelegro.io.contigs import check_contigs, match_contigs
from allelegro.io.windows import NO_FOLD, read_regions, unique_names
from allelegro.procap.folds import UNASSIGNED, Scheme, assign_folds, fold_regions

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """Windows in the order of their BED, and the count left after each step."""

    windows: pd.DataFrame
    summary: dict[str, object]


def prepare_windows(
    path: Path, lengths: Mapping[str, int], width: int, scheme: Scheme | None, n_folds: int, gap: int
) -> Prepared:
    """Windows of a BED of three columns or more, in its order.

    Intervals that all have one width keep it. Others, and single positions, become ``width`` bp about their midpoint.
    Folds of the BED are kept; where it has none, ``scheme`` assigns them (``n_folds`` and ``gap`` as in
    :func:`allelegro.procap.folds.assign_folds`), and windows in no fold are dropped. None: no folds. Windows that reach
    beyond their contig or repeat another are dropped, too. All are counted and said. Contigs get the genome's names
    (``chr1`` for ``1``). Raises DataError when a row is no interval, a contig is not in the genome, or no window is left.
    """
    given = read_regions(path)
    names = match_contigs(given["chrom"].unique(), lengths)
    check_contigs([name for name, known in names.items() if known is None], str(path), lengths, "the genome")
    given["chrom"] = given["chrom"].map(names)
    sized = _one_width(given, width, path)
    inside = (sized["start"] >= 0) & (sized["end"] <= sized["chrom"].map(lengths))
    windows = sized[inside]
    _say_dropped(path, len(sized) - len(windows), "reach beyond the end of their contig")
    if windows.empty:
        raise DataError(f"{path}: every window reaches beyond the end of its contig; give another genome or --width")
    repeated = windows.duplicated(["chrom", "start", "end"])
    windows = windows[~repeated].copy()
    _say_dropped(path, int(repeated.sum()), "repeat another")
    steps: list[dict[str, object]] = [
        {"step": "intervals of the BED", "count": len(given)},
        {"step": "windows inside their contig", "count": int(inside.sum())},
        {"step": "windows that are not repeated", "count": len(windows)},
    ]
    used: str | None = "of the BED" if (windows["fold"] != NO_FOLD).any() else None
    if scheme is not None and used is None:
        before = len(windows)
        windows, used = _with_folds(windows, lengths, scheme, n_folds, gap, path)
        _say_dropped(path, before - len(windows), "are in no fold: off the human autosomes, or between two blocks")
        steps.append({"step": "windows in a fold", "count": len(windows)})
    # A name that several have, as a gene's, names none of them: they are called by their place.
    windows["name"] = windows["name"].mask(windows["name"].duplicated(keep=False), "")
    windows = unique_names(windows.reset_index(drop=True), path)
    if overlapping := _overlapping(windows):
        logger.warning("%s: %d windows overlap another; reads in both are counted in both", path, overlapping)
    summary: dict[str, object] = {
        "width": int(windows["end"].iloc[0] - windows["start"].iloc[0]), "steps": steps, "overlapping": overlapping,
    }  # fmt: skip
    if used is not None:
        counts = windows["fold"].value_counts().sort_index()
        summary["folds"] = {
            "scheme": used,
            "windows": dict(zip(counts.index.tolist(), counts.tolist(), strict=True)),
            "regions": fold_regions(windows),
        }
    return Prepared(windows, summary)


def _say_dropped(path: Path, dropped: int, why: str) -> None:
    if dropped:
        logger.warning("%s: %d windows dropped: they %s", path, dropped, why)


def _one_width(regions: pd.DataFrame, width: int, path: Path) -> pd.DataFrame:
    """The regions as they are when they have one width above 1 bp, else ``width`` bp about their midpoints."""
    widths = regions["end"] - regions["start"]
    if widths.nunique() == 1 and widths.iloc[0] > 1:
        return regions
    logger.info(
        "%s: intervals of %d to %d bp become windows of %d bp about their midpoints",
        path, widths.min(), widths.max(), width,
    )  # fmt: skip
    start = (regions["start"] + regions["end"]) // 2 - width // 2
    return regions.assign(start=start, end=start + width)


def _with_folds(
    windows: pd.DataFrame, lengths: Mapping[str, int], scheme: Scheme, n_folds: int, gap: int, path: Path
) -> tuple[pd.DataFrame, Scheme]:
    """The windows that fall in a fold, in their order, and the scheme used."""
    rank = windows["chrom"].map({name: number for number, name in enumerate(lengths)})
    order = np.lexsort((windows["start"], rank))
    fold, used = assign_folds(windows.iloc[order], scheme, n_folds, gap, path)
    windows = windows.assign(fold=fold)  # back in the order of the BED: joined by row label
    return windows[windows["fold"] != UNASSIGNED], used


def _overlapping(windows: pd.DataFrame) -> int:
    """Windows that share a base with another; all have one width."""
    by_place = windows.sort_values(["chrom", "start"])
    chrom, start = by_place["chrom"].to_numpy(), by_place["start"].to_numpy()
    width = by_place["end"].iloc[0] - start[0]
    close = (chrom[1:] == chrom[:-1]) & (np.diff(start) < width)
    return int((np.append(close, False) | np.append(False, close)).sum())
