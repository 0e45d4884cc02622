"""From the peaks of many libraries to one set of fixed-width windows, each centred on a consensus summit."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.inputs.references import fasta_contigs
from allelegro.io.atomic import also_reading
from allelegro.io.compression import text_lines
from allelegro.io.contigs import check_contigs
from allelegro.io.metrics import NO_MODEL, metric_row
from allelegro.io.tables import NAME, read_table
from allelegro.procap.elements import ELEMENT_KINDS
from allelegro.procap.folds import UNASSIGNED, Scheme, assign_folds, fold_regions
from allelegro.procap.peaks import PEAK_KINDS
from allelegro.statistics import wilson_ci

logger = logging.getLogger(__name__)

MAX_IRREPRODUCIBLE = 0.1  # share of a library's best loci that a replicate may miss
LINK = 100  # bp between sites of one locus: an element's midpoint and its lone summits are closer, neighbours further


@dataclass(frozen=True)
class Merged:
    """Windows, the loci behind them, and the count left after each step."""

    windows: pd.DataFrame
    loci: pd.DataFrame
    sites: pd.DataFrame
    summary: dict[str, object]
    metrics: list[dict[str, object]]


def contig_lengths(fasta: Path | None, chrom_sizes: Path | None) -> dict[str, int]:
    """Contig lengths in file order from a FASTA (its index is made when absent) or a two-column table."""
    if fasta is not None:
        return fasta_contigs(fasta)
    assert chrom_sizes is not None
    lengths = {}
    for number, line in enumerate(text_lines(chrom_sizes), 1):
        cells = [cell.strip() for cell in line.split("\t" if "\t" in line else None)]
        if not any(cells) or line.startswith("#"):
            continue
        if len(cells) < 2 or not cells[1].isdecimal():
            raise DataError(f"{chrom_sizes} line {number}: expected a contig and its length; got '{line.strip()[:60]}'")
        lengths[cells[0]] = int(cells[1])
    if not lengths:
        raise DataError(f"{chrom_sizes}: the file is empty; expected a contig and its length a line")
    return lengths


def read_sites(sheet: Path, lengths: Mapping[str, int]) -> pd.DataFrame:
    """Sites of all libraries of a sheet (``library donor peaks elements``, paths relative to it).

    A site is an element, centred between its summits, or a peak in no element, centred on its summit. Columns
    ``chrom centre strand reads qvalue library donor``. A library whose peak file has no rows is named in the log.
    """
    libraries = read_table(sheet, dict.fromkeys(["library", "donor", "peaks", "elements"], NAME))
    repeated = libraries["library"][libraries["library"].duplicated()]
    if len(repeated):
        raise DataError(f"{sheet}: library {repeated.iloc[0]} occurs twice; one row a library")
    also_reading(sheet.parent / str(cell) for cell in libraries[["peaks", "elements"]].to_numpy().ravel())
    parts = []
    for row in libraries.itertuples():
        peaks = read_table(sheet.parent / str(row.peaks), PEAK_KINDS, allow_empty=True)
        elements = read_table(sheet.parent / str(row.elements), ELEMENT_KINDS, allow_empty=True)
        if peaks.empty:
            logger.warning("%s: library %s has no peaks", sheet.parent / str(row.peaks), row.library)
        parts.append(_library_sites(peaks, elements).assign(library=str(row.library), donor=str(row.donor)))
    sites = pd.concat(parts, ignore_index=True)
    check_contigs(sites["chrom"].unique(), f"{sheet}: its peaks", lengths, "the genome")
    return sites


def _library_sites(peaks: pd.DataFrame, elements: pd.DataFrame) -> pd.DataFrame:
    columns = ["chrom", "centre", "strand", "reads", "qvalue"]
    paired = {
        (str(chrom), strand, summit)
        for strand, column in (("+", "plus_summit"), ("-", "minus_summit"))
        for chrom, summit in zip(elements["chrom"], elements[column], strict=True)
    }
    lone = [key not in paired for key in zip(peaks["chrom"].astype(str), peaks["strand"], peaks["summit"], strict=True)]
    sites = pd.concat(
        [
            elements.assign(centre=(elements["plus_summit"] + elements["minus_summit"]) // 2)[columns],
            peaks[np.array(lone, bool)].rename(columns={"summit": "centre"})[columns],
        ],
        ignore_index=True,
    )
    return sites.astype({"chrom": str, "centre": np.int64})


def find_loci(sites: pd.DataFrame, lengths: Mapping[str, int], width: int) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Link sites within ``LINK`` bp of one another into loci; a chain longer than half a window is cut at its widest gap.

    Returns loci (``chrom centre strand donors libraries reads``) and the locus number of each site. The centre is the
    median over donors' elements, or over lone summits where no library has an element; each donor weighs the same.
    """
    rank = sites["chrom"].map({name: number for number, name in enumerate(lengths)})
    order = np.lexsort((sites["centre"], rank))
    chrom, centre = rank.to_numpy()[order], sites["centre"].to_numpy()[order]
    breaks = np.flatnonzero((np.diff(centre) > LINK) | (np.diff(chrom) != 0)) + 1
    bounds = np.concatenate([[0], breaks, [len(centre)]])
    cuts = [cut for low, high in pairwise(bounds) for cut in _cut(centre, low, high, width // 2)]
    locus_sorted = np.zeros(len(centre), np.int64)
    locus_sorted[[*breaks, *cuts]] = 1
    locus = np.empty(len(centre), np.int64)
    locus[order] = np.cumsum(locus_sorted)
    return _describe_loci(sites.assign(locus=locus)), locus


def _cut(centre: NDArray[np.int64], low: int, high: int, longest: int) -> list[int]:
    if high - low < 2 or centre[high - 1] - centre[low] <= longest:
        return []
    at = low + 1 + int(np.argmax(np.diff(centre[low:high])))
    return [*_cut(centre, low, at, longest), at, *_cut(centre, at, high, longest)]


def _describe_loci(sites: pd.DataFrame) -> pd.DataFrame:
    divergent = sites["strand"] == "."
    informative = divergent | ~divergent.groupby(sites["locus"]).transform("any")
    per_donor = sites[informative].groupby(["locus", "donor"])["centre"].median()
    loci = sites.groupby("locus").agg(
        chrom=("chrom", "first"),
        donors=("donor", "nunique"),
        libraries=("library", "nunique"),
        reads=("reads", "sum"),
    )
    strands = sites[informative].groupby("locus")["strand"].agg(["first", "nunique"])
    loci["centre"] = per_donor.groupby("locus").median().round().astype(np.int64)
    loci["strand"] = strands["first"].where(strands["nunique"] == 1, ".")
    return loci.reset_index(drop=True)


def place_windows(loci: pd.DataFrame, lengths: Mapping[str, int], width: int) -> tuple[pd.DataFrame, dict[str, int]]:
    """Windows of ``width`` bp around loci that stay inside their contig and do not overlap.

    Where windows would overlap the locus of more donors (then reads) keeps its window and the other is excluded: merging
    would centre a window on no summit, and overlapping windows would count reads twice and let folds share sequence.
    """
    start = loci["centre"] - width // 2
    inside = (start >= 0) & (start + width <= loci["chrom"].map(lengths))
    kept = loci[inside].assign(start=start[inside], end=start[inside] + width)
    free = _strongest_apart(kept, width, lengths)
    counts = {"beyond_contig_end": int((~inside).sum()), "overlapping_a_stronger_window": int((~free).sum())}
    return kept[free].reset_index(drop=True), counts


def _strongest_apart(windows: pd.DataFrame, width: int, lengths: Mapping[str, int]) -> NDArray[np.bool_]:
    """Greedy choice from the strongest: True for windows that overlap no stronger chosen one."""
    rank = windows["chrom"].map({name: number for number, name in enumerate(lengths)}).to_numpy()
    start = windows["start"].to_numpy()
    place = np.lexsort((start, rank))
    where = np.empty(len(place), np.int64)
    where[place] = np.arange(len(place))
    state = np.zeros(len(windows), np.int8)  # 0 open, 1 chosen, -1 excluded
    for index in np.lexsort((start, rank, -windows["reads"].to_numpy(), -windows["donors"].to_numpy())):
        if state[index]:
            continue
        state[index] = 1
        for step in (-1, 1):
            at = where[index] + step
            while 0 <= at < len(place):
                other = place[at]
                if rank[other] != rank[index] or abs(start[other] - start[index]) >= width:
                    break
                state[other] = -1
                at += step
    return np.asarray(state == 1)


def reproducibility(sites: pd.DataFrame, locus: NDArray[np.int64]) -> list[dict[str, object]]:
    """How far libraries find the same loci, as rows of tidy metrics.

    For two libraries of one donor, ``reproducible_share`` is the share of the smaller one's loci found in the other, and
    ``reproducible_loci`` how many of its best loci (by q, then reads) can be taken before more than a tenth of them are
    missing in the other: an irreproducible discovery rate counted on replicates instead of modelled (compare Li et al.
    2011, doi:10.1214/11-AOAS466). ``between_donors_share``, the median of the same share over pairs of donors, is the baseline.
    """
    ranked = sites.assign(locus=locus).sort_values(["qvalue", "reads"], ascending=[True, False])
    ranked = ranked.drop_duplicates(["library", "locus"])
    libraries = ranked.groupby("library")["donor"].first()
    found = np.zeros((len(libraries), int(locus.max()) + 1), np.float32)
    found[libraries.index.get_indexer(pd.Index(ranked["library"])), ranked["locus"]] = 1
    shared, size = (found @ found.T).astype(np.int64), found.sum(1).astype(np.int64)
    rows, between = [], []
    for a, b in combinations(range(len(libraries)), 2):
        small, large = (a, b) if size[a] <= size[b] else (b, a)
        if libraries.iloc[a] != libraries.iloc[b]:
            between.append(shared[a, b] / size[small])
            continue
        order = ranked.loc[ranked["library"] == libraries.index[small], "locus"].to_numpy()
        missing = np.cumsum(found[large, order] == 0) / np.arange(1, len(order) + 1)
        good = np.flatnonzero(missing <= MAX_IRREPRODUCIBLE)
        name = f"{libraries.index[small]} in {libraries.index[large]}"
        share = (shared[a, b] / size[small], *wilson_ci(int(shared[a, b]), int(size[small])))
        rows.append(_metric(libraries.iloc[a], name, "reproducible_share", size[small], *share))
        rows.append(
            _metric(libraries.iloc[a], name, "reproducible_loci", size[small], good[-1] + 1 if len(good) else 0)
        )
    if between:
        rows.append(_metric("all", "pairs of donors", "between_donors_share", len(between), float(np.median(between))))
    return rows


def _metric(
    dataset: object, subset: str, metric: str, n: int, value: float, low: float | None = None, high: float | None = None
) -> dict[str, object]:
    return metric_row("procap", str(dataset), NO_MODEL, subset, metric, (float(value), low, high, int(n)))


def merge_peaks(
    sheet: Path,
    lengths: Mapping[str, int],
    width: int,
    min_donors: int,
    scheme: Scheme,
    n_folds: int,
    gap: int,
) -> Merged:
    """Consensus windows of all libraries of a sheet, with folds; every step counts what it excludes.

    Raises DataError when a filter leaves nothing, naming it.
    """
    sites = read_sites(sheet, lengths)
    donors = sites["donor"].nunique()
    min_donors = min(min_donors, max(donors, 1))
    if sites.empty:
        raise DataError(f"{sheet}: no library has a peak; lower call_peaks.py --min-reads or raise --fdr")
    loci, locus = find_loci(sites, lengths, width)
    supported = loci[loci["donors"] >= min_donors]
    if supported.empty:
        raise DataError(
            f"{sheet}: no locus is found in {min_donors} donors; lower --min-donors (--min_donors in the pipeline)"
        )
    windows, excluded = place_windows(supported, lengths, width)
    if windows.empty:
        raise DataError(f"{sheet}: no window of {width} bp fits inside its contig; lower --width")
    fold, used = assign_folds(windows, scheme, n_folds, gap, sheet)
    windows = windows.assign(fold=fold)[fold != UNASSIGNED].reset_index(drop=True)
    if windows.empty:
        raise DataError(f"{sheet}: no window is on a human autosome; use --folds blocks")
    windows = windows.assign(name=[f"window_{n}" for n in range(1, len(windows) + 1)], score=windows["donors"])
    metrics = reproducibility(sites, locus)
    summary: dict[str, object] = {
        "libraries": int(sites["library"].nunique()),
        "donors": int(donors),
        "min_donors": min_donors,
        "width": width,
        "steps": [
            {"step": "sites of all libraries", "count": len(sites)},
            {"step": "loci", "count": len(loci)},
            {"step": f"loci found in at least {min_donors} donors", "count": len(supported)},
            {"step": "windows inside their contig", "count": len(supported) - excluded["beyond_contig_end"]},
            {"step": "windows that do not overlap a stronger one", "count": len(fold)},
            {"step": "windows in a fold", "count": len(windows)},
        ],
        "dropped": {
            "too_few_donors": len(loci) - len(supported),
            **excluded,
            "between_folds" if used == "blocks" else "not_a_human_autosome": int((fold == UNASSIGNED).sum()),
        },
        "divergent_windows": int((windows["strand"] == ".").sum()),
        "folds": {
            "scheme": used,
            "windows": dict(enumerate(np.bincount(windows["fold"]).tolist())),
            "regions": fold_regions(windows),
        },
        "reproducibility": [
            {key: row[key] for key in ("dataset", "subset", "metric", "value", "n")} for row in metrics
        ],
    }
    return Merged(windows, loci, sites, summary, metrics)
