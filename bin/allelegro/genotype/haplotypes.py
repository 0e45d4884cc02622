"""Distinct haplotypes of windows, found from the carriers of each allele, and their sequences.

The centre of a window, the reference base ``start + width // 2``, always sits at index ``width // 2``: the right half is
read from it downstream along the haplotype and the left half upstream, so the width stays constant when indels move
the edges. An allele's bases stand in pairs with the reference bases they replace; surplus bases follow the last pair.
An insertion directly before the centre belongs to the left half. Beyond the ends of the contig stands N.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from allelegro.genotype.records import CODE, Bytes, Ints
from allelegro.io.dna import N


@njit(cache=True, nogil=True)
def resolve_overlaps(
    start: Ints,
    end: Ints,
    record_slot: Ints,
    number: Ints,
    counted: NDArray[np.bool_],
    offsets: Ints,
    carriers: NDArray[np.int32],
    numbers: Bytes,
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


@njit(cache=True, nogil=True)
def _grow(values: Ints) -> Ints:
    grown = np.full(2 * len(values), -1, np.int64)
    grown[: len(values)] = values
    return grown


@njit(cache=True, nogil=True)
def distinct_haplotypes(
    window_start: Ints,
    width: int,
    start: Ints,
    end: Ints,
    length: Ints,
    offsets: Ints,
    carriers: NDArray[np.int32],
    haplotypes: int,
) -> tuple[NDArray[np.int32], Ints, Ints, Ints, Ints]:
    """Partition the haplotypes of each window by the alleles that reach it.

    Starts from one class, the reference, and splits it by the carriers of one allele after the other, from the centre
    outwards; a class knows how far along the reference its own deletions and insertions move its two edges, so
    only alleles that show inside the window split it. The work is the number of carriers, not alleles × people.

    Returns ``index`` (windows, haplotypes) with the row within the window, row 0 the reference; ``row_offsets``
    (windows + 1); the alleles of each row (ascending, CSR: ``allele_offsets``, ``alleles``); and ``reach``
    (windows, 2), the reference interval that was looked at.
    """
    windows = len(window_start)
    index = np.zeros((windows, haplotypes), np.int32)
    row_offsets = np.zeros(windows + 1, np.int64)
    allele_offsets = np.zeros(windows * 8 + 2, np.int64)
    alleles = np.empty(windows * 8 + 2, np.int64)
    reach = np.empty((windows, 2), np.int64)
    rows, used = 0, 0

    last_end = np.empty(len(start), np.int64)  # the furthest end so far, to know when nothing further left can matter
    furthest = np.int64(-1)
    for k in range(len(start)):
        furthest = max(furthest, end[k])
        last_end[k] = furthest

    node = np.zeros(haplotypes, np.int64)
    parent = np.full(64, -1, np.int64)
    via = np.full(64, -1, np.int64)  # the allele that made the class
    lost_left = np.zeros(64, np.int64)  # reference bases that the class skips in its left half, net of inserted ones
    lost_right = np.zeros(64, np.int64)
    child = np.full(64, -1, np.int64)
    child_of = np.full(64, -1, np.int64)
    row_of = np.full(64, -1, np.int64)

    for w in range(windows):
        lo, centre, hi = window_start[w], window_start[w] + width // 2, window_start[w] + width
        node[:] = 0
        nodes = 1
        child_of[0] = -1
        lost_left[0] = lost_right[0] = 0
        most_left, most_right = np.int64(0), np.int64(0)
        first_right = np.searchsorted(start, centre)
        last_left = np.searchsorted(start, centre, side="right") - 1  # with an insertion exactly at the centre
        # Three passes: alleles across the centre, then rightwards, then leftwards.
        for step in range(3):
            k = first_right if step == 1 else last_left
            while 0 <= k < len(start):
                a, b = start[k], end[k]
                if step == 1:
                    if a >= hi + most_right:
                        break
                elif last_end[k] <= (centre if step == 0 else lo - most_left):
                    break
                across = a < centre < b
                before = b <= centre
                wanted = across if step == 0 else (not before if step == 1 else before and not across)
                if wanted:
                    left_paired = min(centre - a, length[k]) if across else 0
                    for i in range(offsets[k], offsets[k + 1]):
                        old = node[carriers[i]]
                        if step == 1 and a >= hi + lost_right[old]:
                            continue
                        if step == 2 and b <= lo - lost_left[old]:
                            continue
                        if child_of[old] != k:
                            if nodes == len(parent):
                                parent, via, child, child_of = _grow(parent), _grow(via), _grow(child), _grow(child_of)
                                lost_left, lost_right, row_of = _grow(lost_left), _grow(lost_right), _grow(row_of)
                            parent[nodes], via[nodes], child_of[nodes] = old, k, -1
                            lost_left[nodes], lost_right[nodes] = lost_left[old], lost_right[old]
                            if step == 0:
                                lost_left[nodes] += centre - a - left_paired
                                lost_right[nodes] += b - centre - (length[k] - left_paired)
                            elif step == 1:
                                lost_right[nodes] += b - a - length[k]
                            else:
                                lost_left[nodes] += b - a - length[k]
                            most_left = max(most_left, lost_left[nodes])
                            most_right = max(most_right, lost_right[nodes])
                            child[old], child_of[old] = nodes, k
                            nodes += 1
                        node[carriers[i]] = child[old]
                k += 1 if step == 1 else -1
        reach[w, 0], reach[w, 1] = lo - most_left, hi + most_right

        row_of[:nodes] = -1
        row_of[0] = 0
        first_row = rows
        for h in range(-1, haplotypes):
            here = 0 if h < 0 else node[h]
            if h >= 0 and row_of[here] >= 0:
                index[w, h] = row_of[here]
                continue
            row_of[here] = rows - first_row
            if h >= 0:
                index[w, h] = row_of[here]
            depth, at = 0, here
            while at > 0:
                depth += 1
                at = parent[at]
            while used + depth > len(alleles):
                alleles = _grow(alleles)
            at, n = here, used
            while at > 0:
                alleles[n] = via[at]
                n += 1
                at = parent[at]
            alleles[used:n].sort()
            used = n
            rows += 1
            if rows + 1 > len(allele_offsets):
                allele_offsets = _grow(allele_offsets)
            allele_offsets[rows] = used
        row_offsets[w + 1] = rows
    return index, row_offsets, allele_offsets[: rows + 1], alleles[:used], reach


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
    """For each row, the first row of its window with the same sequence: different alleles may spell one sequence."""
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
