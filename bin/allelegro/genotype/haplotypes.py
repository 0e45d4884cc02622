"""Distinct haplotypes of windows, found from the carriers of each allele, and their sequences.

The centre of a window, the reference base ``start + width // 2``, always sits at index ``width // 2``: the right half is
read from it downstream along the haplotype and the left half upstream, so the width stays constant when indels move
the edges. An allele's bases are paired with the reference bases they replace; surplus bases follow the last pair.
An insertion directly before the centre belongs to the left half. Beyond the ends of the contig is N.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from allelegro.genotype.records import CODE
from allelegro.io.dna import N
from allelegro.io.genotypes import Bytes, Ints

PARENT, VIA, LOST_LEFT, LOST_RIGHT, CHILD, CHILD_OF, ROW = range(7)  # columns of the table of classes
ACROSS, RIGHTWARDS, LEFTWARDS = range(3)
NOT_BEYOND = -(2**60)  # bp


@dataclass(frozen=True)
class DistinctHaplotypes:
    """The haplotypes of each window by their alleles.

    ``index`` ``[windows, haplotypes]`` the row within the window, row 0 the reference; rows of window w are
    ``row_offsets[w]:row_offsets[w + 1]``; alleles of row r, ascending, are ``alleles[allele_offsets[r]:allele_offsets[r + 1]]``;
    ``reach`` ``[windows, 2]`` is the reference interval that was looked at.
    """

    index: NDArray[np.int32]
    row_offsets: Ints
    allele_offsets: Ints
    alleles: Ints
    reach: Ints

    def padding(self, window_start: Ints, width: int) -> int:
        """How far (bp) beyond its window the farthest haplotype reaches along the reference."""
        left, right = window_start - self.reach[:, 0], self.reach[:, 1] - window_start - width
        return int(max(left.max(), right.max()))


@njit(cache=True, nogil=True)
def resolve_overlaps(
    start: Ints,
    end: Ints,
    record_slot: Ints,
    number: Ints,
    counted: NDArray[np.bool_],
    offsets: Ints,
    carriers: NDArray[np.int32],
    numbers: NDArray[np.int16],
    haplotypes: int,
) -> tuple[Ints, NDArray[np.int32], int]:
    """Carriers of each allele (CSR), where of alleles that overlap on one haplotype only the first takes effect.

    Two alleles overlap when the intervals that they replace share a base, when one inserts strictly inside the
    other's interval, or when both insert at one point. Alleles must be sorted (:meth:`Alleles.sort`). Also returns how
    often an allele was set aside on a haplotype, over ``counted`` alleles.
    """
    kept_offsets = np.zeros(len(start) + 1, np.int64)
    kept = np.empty(len(carriers), np.int32)
    last_end = np.full(haplotypes, -1, np.int64)
    last_insertion = np.full(haplotypes, -1, np.int64)
    n, set_aside = 0, 0
    for k in range(len(start)):
        slot = record_slot[k]
        for i in range(offsets[slot], offsets[slot + 1]):
            if numbers[i] != number[k]:
                continue
            haplotype = carriers[i]
            insertion = start[k] == end[k]
            if start[k] < last_end[haplotype] or (insertion and last_insertion[haplotype] == start[k]):
                set_aside += counted[k]
                continue
            last_end[haplotype] = end[k]
            if insertion:
                last_insertion[haplotype] = start[k]
            kept[n] = haplotype
            n += 1
        kept_offsets[k + 1] = n
    return kept_offsets, kept[:n], set_aside


def distinct_haplotypes(
    window_start: Ints,
    width: int,
    start: Ints,
    end: Ints,
    length: Ints,
    offsets: Ints,
    carriers: NDArray[np.int32],
    haplotypes: int,
) -> DistinctHaplotypes:
    """Partition the haplotypes of each window by the alleles that reach it.

    Starts from one class, the reference, and splits it by the carriers of one allele after the other, from the centre
    outwards; a class knows how far along the reference its own deletions and insertions move its two edges, so
    only alleles that show inside the window split it. The work is the number of carriers, not alleles × people.
    """
    index = np.zeros((len(window_start), haplotypes), np.int32)
    row_offsets = np.zeros(len(window_start) + 1, np.int64)
    reach = np.empty((len(window_start), 2), np.int64)
    # The furthest end so far says when nothing further left can matter.
    furthest_end = np.maximum.accumulate(end) if len(end) else end
    allele_offsets, alleles = _partition_windows(
        window_start, width, start, end, furthest_end, length, offsets, carriers, index, row_offsets, reach
    )
    return DistinctHaplotypes(index, row_offsets, allele_offsets, alleles, reach)


@njit(cache=True, nogil=True)
def _partition_windows(
    window_start: Ints,
    width: int,
    start: Ints,
    end: Ints,
    furthest_end: Ints,
    length: Ints,
    offsets: Ints,
    carriers: NDArray[np.int32],
    index: NDArray[np.int32],
    row_offsets: Ints,
    reach: Ints,
) -> tuple[Ints, Ints]:
    """Fill ``index``, ``row_offsets`` and ``reach``; the alleles of the rows (CSR)."""
    allele_offsets = np.zeros(len(window_start) * 8 + 2, np.int64)
    alleles = np.empty(len(window_start) * 8 + 2, np.int64)
    classes = np.zeros((64, 7), np.int64)
    class_of = np.zeros(index.shape[1], np.int64)
    rows = 0
    for w in range(len(window_start)):
        lo, hi = window_start[w], window_start[w] + width
        class_of[:] = 0
        classes, n, left, right = _split_classes(
            classes,
            class_of,
            int(lo),
            int(lo) + width // 2,
            int(hi),
            start,
            end,
            furthest_end,
            length,
            offsets,
            carriers,
        )
        reach[w, 0], reach[w, 1] = lo - left, hi + right
        rows, allele_offsets, alleles = _collect_rows(classes[:n], class_of, index[w], rows, allele_offsets, alleles)
        row_offsets[w + 1] = rows
    return allele_offsets[: rows + 1], alleles[: allele_offsets[rows]]


@njit(cache=True, nogil=True)
def _split_classes(
    classes: Ints,
    class_of: Ints,
    lo: int,
    centre: int,
    hi: int,
    start: Ints,
    end: Ints,
    furthest_end: Ints,
    length: Ints,
    offsets: Ints,
    carriers: NDArray[np.int32],
) -> tuple[Ints, int, int, int]:
    """Classes of one window ``[lo, hi)``: the table, how many, and the most bases that one lost on the left and right.

    ``class_of`` is the class of each haplotype. Three passes: alleles across the centre, then rightwards, then leftwards.
    """
    classes[0] = (-1, -1, 0, 0, -1, -1, -1)
    n, most_left, most_right = 1, 0, 0
    first_right = np.searchsorted(start, centre)
    last_left = np.searchsorted(start, centre, side="right") - 1  # with an insertion exactly at the centre
    for step in range(3):
        k = first_right if step == RIGHTWARDS else last_left
        while 0 <= k < len(start):
            a, b = int(start[k]), int(end[k])
            if step == RIGHTWARDS:
                if a >= hi + most_right:
                    break
            elif furthest_end[k] <= (centre if step == ACROSS else lo - most_left):
                break
            if step == _pass_of(a, b, centre):
                left, right = _lost(a, b, int(length[k]), centre)
                before = n
                classes, n = _split_by(
                    classes, n, class_of, int(k), carriers[offsets[k] : offsets[k + 1]], left, right,
                    a - hi if step == RIGHTWARDS else NOT_BEYOND, lo - b if step == LEFTWARDS else NOT_BEYOND,
                )  # fmt: skip
                for new in range(before, n):
                    most_left = max(most_left, classes[new, LOST_LEFT])
                    most_right = max(most_right, classes[new, LOST_RIGHT])
            k += 1 if step == RIGHTWARDS else -1
    return classes, n, most_left, most_right


@njit(cache=True, nogil=True)
def _pass_of(start: int, end: int, centre: int) -> int:
    if start < centre < end:
        return ACROSS
    return LEFTWARDS if end <= centre else RIGHTWARDS


@njit(cache=True, nogil=True)
def _lost(start: int, end: int, length: int, centre: int) -> tuple[int, int]:
    """Bases of the reference that an allele takes from the left and the right half, net of those it puts there."""
    if start < centre < end:
        paired = min(centre - start, length)
        return centre - start - paired, end - centre - (length - paired)
    net = end - start - length
    return (net, 0) if end <= centre else (0, net)


@njit(cache=True, nogil=True)
def _split_by(
    classes: Ints,
    n: int,
    class_of: Ints,
    allele: int,
    carriers: NDArray[np.int32],
    left: int,
    right: int,
    beyond_right: int,
    beyond_left: int,
) -> tuple[Ints, int]:
    """Move the carriers of an allele from their class to its child with the allele; the table and how many classes.

    ``left`` and ``right`` are what the allele takes from the two halves (:func:`_lost`). A class whose edge does not reach it (``beyond_right`` or ``beyond_left`` bases outside the window) is not split.
    """
    for carrier in carriers:
        old = class_of[carrier]
        if beyond_right >= classes[old, LOST_RIGHT] or beyond_left >= classes[old, LOST_LEFT]:
            continue
        if classes[old, CHILD_OF] != allele:
            if n == len(classes):
                grown = np.zeros((2 * n, classes.shape[1]), np.int64)
                grown[:n] = classes
                classes = grown
            lost_left, lost_right = classes[old, LOST_LEFT] + left, classes[old, LOST_RIGHT] + right
            classes[n] = (old, allele, lost_left, lost_right, -1, -1, -1)
            classes[old, CHILD], classes[old, CHILD_OF] = n, allele
            n += 1
        class_of[carrier] = classes[old, CHILD]
    return classes, n


@njit(cache=True, nogil=True)
def _collect_rows(
    classes: Ints, class_of: Ints, index: NDArray[np.int32], rows: int, allele_offsets: Ints, alleles: Ints
) -> tuple[int, Ints, Ints]:
    """Number the classes that haplotypes belong to, the reference first, into ``index``, and append their alleles."""
    first_row = rows
    for h in range(-1, len(class_of)):
        here = 0 if h < 0 else class_of[h]
        if classes[here, ROW] < 0:
            classes[here, ROW] = rows - first_row
            used = at = allele_offsets[rows]
            up = here
            while up > 0:
                if at == len(alleles):
                    alleles = _grow(alleles)
                alleles[at] = classes[up, VIA]
                at += 1
                up = classes[up, PARENT]
            alleles[used:at].sort()
            rows += 1
            if rows + 1 > len(allele_offsets):
                allele_offsets = _grow(allele_offsets)
            allele_offsets[rows] = at
        if h >= 0:
            index[h] = classes[here, ROW]
    return rows, allele_offsets, alleles


@njit(cache=True, nogil=True)
def _grow(values: Ints) -> Ints:
    grown = np.zeros(2 * len(values), np.int64)
    grown[: len(values)] = values
    return grown


@njit(cache=True, nogil=True)
def build_sequences(
    window_start: Ints,
    width: int,
    row_offsets: Ints,
    allele_offsets: Ints,
    alleles: Ints,
    start: Ints,
    end: Ints,
    alt: Ints,
    length: Ints,
    text: Bytes,
    reference: Bytes,
    origin: int,
) -> Bytes:
    """Sequences of the distinct haplotypes, codes ``(rows, width)``; ``reference`` begins at position ``origin``."""
    out = np.empty((row_offsets[-1], width), np.uint8)
    for w in range(len(window_start)):
        centre = window_start[w] + width // 2
        for row in range(row_offsets[w], row_offsets[w + 1]):
            line = out[row]
            first, last = allele_offsets[row], allele_offsets[row + 1]
            at, position = width // 2, centre
            for i in range(first, last):
                k = alleles[i]
                if end[k] <= centre:
                    continue
                paired = min(centre - start[k], length[k]) if start[k] < centre else 0
                while position < start[k] and at < width:
                    line[at] = _base(reference, position - origin)
                    at += 1
                    position += 1
                for j in range(paired, length[k]):
                    if at < width:
                        line[at] = CODE[text[alt[k] + j]]
                        at += 1
                position = end[k]
            while at < width:
                line[at] = _base(reference, position - origin)
                at += 1
                position += 1
            at, position = width // 2 - 1, centre - 1
            for i in range(last - 1, first - 1, -1):
                k = alleles[i]
                if start[k] >= centre and end[k] > centre:
                    continue
                paired = min(centre - start[k], length[k]) if end[k] > centre else length[k]
                while position >= end[k] and at >= 0:
                    line[at] = _base(reference, position - origin)
                    at -= 1
                    position -= 1
                for j in range(paired - 1, -1, -1):
                    if at >= 0:
                        line[at] = CODE[text[alt[k] + j]]
                        at -= 1
                position = start[k] - 1
            while at >= 0:
                line[at] = _base(reference, position - origin)
                at -= 1
                position -= 1
    return out


@njit(cache=True, nogil=True)
def _base(reference: Bytes, at: int) -> int:
    return reference[at] if 0 <= at < len(reference) else N


@njit(cache=True, nogil=True)
def merge_equal_rows(sequences: Bytes, row_offsets: Ints) -> Ints:
    """For each row, the first row of its window with the same sequence: different alleles may make one sequence."""
    same = np.arange(len(sequences))
    digest = np.zeros(len(sequences), np.uint64)
    for row in range(len(sequences)):
        value = np.uint64(0xCBF29CE484222325)
        for base in sequences[row]:
            value = (value ^ np.uint64(base)) * np.uint64(0x100000001B3)
        digest[row] = value
    for w in range(len(row_offsets) - 1):
        for row in range(row_offsets[w], row_offsets[w + 1]):
            for earlier in range(row_offsets[w], row):
                if digest[earlier] == digest[row] and np.array_equal(sequences[earlier], sequences[row]):
                    same[row] = earlier
                    break
    return same
