"""Which reference base stands where in a haplotype, and back: for signals and for reporting."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from allelegro.genotype.store import HaplotypeStore

ABSENT = -1
Ints = NDArray[np.int64]


def reference_positions(store: HaplotypeStore, row: int) -> Ints:
    """Reference position (0-based) of each base of the haplotype in ``row`` of ``sequences``, shape ``(width,)``.

    -1 stands for inserted bases and for N beyond the contig's ends. A base put in the place of another has its position.
    """
    window = int(np.searchsorted(store.offsets, row, side="right")) - 1
    start, length = int(store.windows["start"].iloc[window]), store.contig_length(window)
    found = haplotype_positions(start, store.width, store.edits(row))
    found[(found < 0) | (found >= length)] = ABSENT
    return found


def haplotype_offsets(store: HaplotypeStore, row: int) -> Ints:
    """Where each reference base of the window stands in the haplotype of ``row``, shape ``(width,)``.

    -1 stands for bases that are deleted or that an insertion has pushed out of the window.
    """
    window = int(np.searchsorted(store.offsets, row, side="right")) - 1
    inside = reference_positions(store, row) - int(store.windows["start"].iloc[window])
    offsets = np.full(store.width, ABSENT, np.int64)
    shown = np.flatnonzero((inside >= 0) & (inside < store.width))
    offsets[inside[shown]] = shown
    return offsets


def haplotype_positions(start: int, width: int, edits: Iterable[tuple[int, int, int]]) -> Ints:
    """Reference positions along a haplotype with ``edits`` (start, end, bases that replace them) sorted by position.

    Not cut at the contig's ends; the layout is that of :mod:`allelegro.genotype.haplotypes`.
    """
    edits = list(edits)
    centre, half = start + width // 2, width // 2
    left = [
        (a, min(b, centre), n if b <= centre else min(n, centre - a)) for a, b, n in edits if a < centre or b <= centre
    ]
    right = [(max(a, centre), b, n - min(n, max(0, centre - a))) for a, b, n in edits if b > centre]
    lost = sum(max(0, b - a - n) for a, b, n in left)
    first = min([start, *(a for a, _, _ in left)]) - lost
    before = _spell(first, left, centre)
    after = _spell(centre, right, max([centre, *(b for _, b, _ in right)]) + width)
    return np.concatenate([before[len(before) - half :], after[: width - half]])


def _spell(position: int, edits: list[tuple[int, int, int]], stop: int) -> Ints:
    parts = []
    for start, end, bases in edits:
        paired = min(bases, end - start)
        parts += [np.arange(position, start), np.arange(start, start + paired), np.full(bases - paired, ABSENT)]
        position = end
    return np.concatenate([*parts, np.arange(position, stop)]).astype(np.int64)
