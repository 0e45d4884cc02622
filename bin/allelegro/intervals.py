"""Half-open integer intervals as arrays of starts and ends: ranges one after another, unions, overlaps."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def concatenated_ranges(starts: Ints, sizes: Ints) -> Ints:
    """``starts[0], starts[0] + 1, …`` of each size, one range after another, ``[sizes.sum()]``."""
    shift = np.repeat(starts - np.cumsum(sizes) + sizes, sizes)
    return np.asarray(shift + np.arange(len(shift)), np.int64)


def run_starts(values: NDArray[np.generic]) -> NDArray[np.intp]:
    """Index of the first element of each run of equal neighbours."""
    if not len(values):
        return np.empty(0, np.intp)
    return np.flatnonzero(np.append(True, values[1:] != values[:-1]))


def chain_starts(starts: Ints, ends: Ints, gap: int = 0) -> NDArray[np.bool_]:
    """Which intervals, sorted by start, begin a chain: they start more than ``gap`` beyond the end of all before them."""
    return np.append(True, starts[1:] > np.maximum.accumulate(ends)[:-1] + gap)[: len(starts)]


def union(starts: Ints, ends: Ints, gap: int = 0) -> tuple[Ints, Ints]:
    """Disjoint sorted intervals that cover the given ones, in any order; those at most ``gap`` apart become one."""
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], ends[order]
    first = np.flatnonzero(chain_starts(starts, ends, gap))
    return starts[first], np.maximum.reduceat(ends, first) if len(first) else ends


def inside(positions: NDArray[np.integer], starts: NDArray[np.integer], ends: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which positions are in one of some disjoint sorted intervals."""
    return np.asarray(np.searchsorted(starts, positions, "right") > np.searchsorted(ends, positions, "right"))


def nearest(positions: NDArray[np.integer], among: NDArray[np.integer]) -> NDArray[np.intp]:
    """Index of the one of some sorted places (at least one) that is closest to each position, the first of two as close."""
    after = np.searchsorted(among, positions).clip(max=len(among) - 1)
    before = (after - 1).clip(min=0)
    return np.where(np.abs(positions - among[before]) <= np.abs(positions - among[after]), before, after)


@dataclass(frozen=True)
class Regions:
    """Disjoint sorted intervals by contig, ``{contig: (starts, ends)}``; made by :meth:`of`."""

    by_contig: dict[str, tuple[Ints, Ints]]

    @classmethod
    def of(cls, table: pd.DataFrame) -> "Regions":
        """The union of a table's intervals (columns ``chrom start end``)."""
        columns = table["start"].to_numpy(np.int64), table["end"].to_numpy(np.int64)
        rows = table.groupby(table["chrom"].astype(str), sort=False).indices
        return cls({str(contig): union(columns[0][own], columns[1][own]) for contig, own in rows.items()})

    def contain(self, contig: str, positions: Ints) -> NDArray[np.bool_]:
        """Which positions of a contig are in one of the intervals."""
        return self.overlap(contig, positions, positions + 1)

    def overlap_rows(self, contigs: NDArray[np.object_], starts: Ints, ends: Ints) -> NDArray[np.bool_]:
        """Which rows, intervals of any contigs, share at least one base with one of these."""
        found = np.zeros(len(contigs), np.bool_)
        number, names = pd.factorize(contigs)
        for place, name in enumerate(names):
            here = np.flatnonzero(number == place)
            found[here] = self.overlap(name, starts[here], ends[here])
        return found

    def overlap(self, contig: str, starts: Ints, ends: Ints) -> NDArray[np.bool_]:
        """Which intervals of a contig share at least one base with one of these."""
        if contig not in self.by_contig:
            return np.zeros(len(starts), np.bool_)
        # Those that start before an interval's end, less those that end before its start.
        own_starts, own_ends = self.by_contig[contig]
        return np.asarray(np.searchsorted(own_starts, ends) > np.searchsorted(own_ends, starts, "right"))
