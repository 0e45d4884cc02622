"""Records to alleles: what each record changes of the reference, and who carries it.

Positions are 0-based. An allele is the reference interval it replaces, ``[start, end)`` after trimming shared bases
(empty for an insertion), and the bases that take its place.
"""

import re
from dataclasses import dataclass, fields

import numpy as np
from numba import njit
from numpy.typing import NDArray

from allelegro.io.dna import encode, encode_reference
from allelegro.io.genotypes import (
    ABSENT,
    ALT,
    ALT_END,
    INFO,
    MISSING,
    POS,
    REF,
    REF_END,
    Bytes,
    Calls,
    Ints,
    RecordLines,
)

SEQUENCE, STAR, SYMBOLIC, AMBIGUOUS = range(4)
CODE = encode(bytes(range(256)))  # the code of every byte
REFERENCE_CODE = encode_reference(bytes(range(256)))
FARTHEST = 2**40  # bp: beyond every contig, and far from overflow

_COMMA, _DOT, _STAR = (ord(c) for c in ",.*")


@dataclass(frozen=True)
class Alleles:
    """Alternative alleles sorted by the reference interval that they replace; all arrays have one entry an allele.

    ``record`` is the line, ``number`` the allele's number in its GT; ``alt`` the offset of its bases in the text and
    ``length`` how many they are; ``symbolic`` is 1 for a deletion that is written as a symbol.
    """

    record: Ints
    number: Ints
    start: Ints
    end: Ints
    alt: Ints
    length: Ints
    symbolic: Ints

    def __len__(self) -> int:
        return len(self.start)

    def take(self, keep: NDArray[np.int64] | NDArray[np.bool_]) -> "Alleles":
        """The chosen alleles, in the order chosen."""
        return Alleles(*(getattr(self, column.name)[keep] for column in fields(self)))

    def sort(self) -> "Alleles":
        """In order of position; at one start insertions come first, then the file's order."""
        return self.take(np.lexsort((self.number, self.record, self.start != self.end, self.start)))


@dataclass(frozen=True)
class Carriers:
    """Who carries the alternative alleles of the records (CSR): those of record k are ``offsets[k]:offsets[k + 1]``.

    ``haplotype`` is 2·donor + 0 or 1, ``number`` the allele's number in its GT.
    """

    offsets: Ints
    haplotype: NDArray[np.int32]
    number: NDArray[np.int16]

    def of(self, record: int, number: int) -> NDArray[np.int32]:
        """Haplotypes that carry one allele of a record."""
        here = slice(self.offsets[record], self.offsets[record + 1])
        found: NDArray[np.int32] = self.haplotype[here][self.number[here] == number]
        return found


def read_alleles(lines: RecordLines) -> tuple[Alleles, Ints]:
    """Every alternative allele of the lines, and its kind: ``SEQUENCE`` (also a deletion by symbol), ``STAR``,
    ``SYMBOLIC`` (any other) or ``AMBIGUOUS`` (letters other than A, C, G, T and N).
    """
    table = _split_alleles(lines.text, lines.fields)
    for n in np.flatnonzero(table[:, 0] == SYMBOLIC).tolist():
        record, number, start, end, alt, length = table[n, 1:7].tolist()
        removed = symbolic_deletion(
            lines.string(alt, alt + length), number, lines.column(record, INFO), start, end - start
        )
        if removed is not None:
            table[n] = (SEQUENCE, record, number, *removed, alt, 0, 1)
    return Alleles(*np.ascontiguousarray(table[:, 1:].T)), table[:, 0]


def symbolic_deletion(alt: str, number: int, info: str, position: int, ref_length: int) -> tuple[int, int] | None:
    """The interval that a ``<DEL>`` removes: the base after POS to END, or SVLEN bases; None for other symbols.

    Of several lengths the allele's own (``number`` from 1) counts, and goes before END, which is then the furthest one.
    """
    if not (alt == "<DEL>" or alt.startswith("<DEL:")):
        return None
    end, length = re.search(r"(?:^|;)END=(\d+)", info), re.search(r"(?:^|;)SVLEN=([-0-9.,]+)", info)
    lengths = length[1].split(",") if length else []
    if end and len(lengths) < 2:
        last = int(end[1])
    elif lengths and (own := lengths[min(number, len(lengths)) - 1].lstrip("-")).isdigit():
        last = position + 1 + int(own)
    else:
        last = int(end[1]) if end else position + ref_length
    return (position + 1, min(last, FARTHEST)) if last > position + 1 else None


def repeated_alleles(alleles: Alleles, text: Bytes) -> Ints:
    """For each allele, the place of the first one in the file's order that makes the same change (often its own)."""
    first: dict[tuple[int, int, bytes], int] = {}
    found = np.arange(len(alleles))
    near = np.flatnonzero(np.isin(alleles.start, _repeated(alleles.start)))
    for k in near[np.lexsort((alleles.number[near], alleles.record[near]))].tolist():
        bases = text[alleles.alt[k] : alleles.alt[k] + alleles.length[k]].tobytes().upper()
        found[k] = first.setdefault((int(alleles.start[k]), int(alleles.end[k]), bases), k)
    return found


def _repeated(values: Ints) -> Ints:
    unique, count = np.unique(values, return_counts=True)
    return unique[count > 1]


@njit(cache=True, nogil=True)
def _split_alleles(text: Bytes, fields: Ints) -> Ints:
    """One row an alternative allele: kind, record, number, start, end, alt offset, alt length, 0; shared bases trimmed.

    Trimming is that of a left-aligned VCF: shared last bases first, then shared first bases.
    """
    total = 0
    for record in range(len(fields)):
        total += 1
        for i in range(fields[record, ALT], fields[record, ALT_END]):
            total += text[i] == _COMMA
    out = np.zeros((total, 8), np.int64)
    n = 0
    for record in range(len(fields)):
        row = fields[record]
        begin, number = row[ALT], 0
        while begin <= row[ALT_END]:
            stop = begin
            while stop < row[ALT_END] and text[stop] != _COMMA:
                stop += 1
            number += 1
            if stop - begin != 1 or text[begin] != _DOT:
                kind = _kind(text, begin, stop)
                skip, ref_end, alt_end = 0, row[REF_END] - row[REF], stop - begin
                if kind == SEQUENCE:
                    skip, ref_end, alt_end = _trim(text, row[REF], ref_end, begin, alt_end)
                out[n, :4] = (kind, record, number, row[POS] + skip)
                out[n, 4:7] = (row[POS] + ref_end, begin + skip, alt_end - skip)
                n += 1
            begin = stop + 1
    return out[:n]


@njit(cache=True, nogil=True)
def _kind(text: Bytes, begin: int, stop: int) -> int:
    if stop - begin == 1 and text[begin] == _STAR:
        return STAR
    kind = SEQUENCE if stop > begin else SYMBOLIC
    for i in range(begin, stop):
        base = text[i] & 0xDF  # upper case
        if base < ord("A") or base > ord("Z"):
            return SYMBOLIC
        if CODE[base] == 4 and base != ord("N"):
            kind = AMBIGUOUS
    return kind


@njit(cache=True, nogil=True)
def _trim(text: Bytes, ref: int, ref_length: int, alt: int, alt_length: int) -> tuple[int, int, int]:
    """How many first bases REF and ALT share, and where each ends once shared last bases are off."""
    r, a = ref_length, alt_length
    while r > 1 and a > 1 and (text[ref + r - 1] ^ text[alt + a - 1]) & 0xDF == 0:
        r -= 1
        a -= 1
    skip = 0
    while skip < r and skip < a and (text[ref + skip] ^ text[alt + skip]) & 0xDF == 0:
        skip += 1
    while r > skip and a > skip and (text[ref + r - 1] ^ text[alt + a - 1]) & 0xDF == 0:
        r -= 1
        a -= 1
    return skip, r, a


@njit(cache=True, nogil=True)
def mismatching_reference(text: Bytes, fields: Ints, records: Ints, reference: Bytes, origin: int) -> NDArray[np.bool_]:
    """Whether REF differs from the reference, for each of ``records``; ``reference`` begins at position ``origin``."""
    wrong = np.zeros(len(records), np.bool_)
    for n in range(len(records)):
        row = fields[records[n]]
        for i in range(row[REF_END] - row[REF]):
            at = row[POS] + i - origin
            if at < 0 or at >= len(reference) or reference[at] != REFERENCE_CODE[text[row[REF] + i]]:
                wrong[n] = True
                break
    return wrong


@njit(cache=True, nogil=True)
def left_shiftable(text: Bytes, start: Ints, end: Ints, alt: Ints, length: Ints, reference: Bytes, origin: int) -> Ints:
    """Indices of pure insertions and deletions that could be further left: not left-aligned in the file."""
    found = np.empty(len(start), np.int64)
    n = 0
    for k in range(len(start)):
        before = start[k] - 1 - origin
        if before < 0 or end[k] - origin > len(reference) or (start[k] < end[k]) == (length[k] > 0):
            continue
        last = CODE[text[alt[k] + length[k] - 1]] if length[k] else reference[end[k] - 1 - origin]
        if last < 4 and last == reference[before]:
            found[n] = k
            n += 1
    return found[:n]


ERROR, REFERENCE, RANDOM = range(3)  # what to do with an unphased heterozygote
CALLED, HETEROZYGOUS, MISSING_CALLS, HALF_MISSING, UNPHASED_CALLS, HAPLOID = range(6)


@njit(cache=True, nogil=True)
def count_genotypes(alleles: NDArray[np.int16], phased: NDArray[np.bool_], counted: NDArray[np.bool_]) -> Ints:
    """Calls of each donor over the ``counted`` records, ``(donors, 6)``: called, heterozygous, missing, half-missing,
    unphased heterozygous, haploid; arrays as in :class:`~allelegro.io.genotypes.Calls`.
    """
    counts = np.zeros((alleles.shape[1], 6), np.int64)
    for k in np.flatnonzero(counted):
        for donor in range(alleles.shape[1]):
            first, second = _pair(alleles[k, donor, 0], alleles[k, donor, 1])
            haploid = alleles[k, donor, 1] == ABSENT
            missing = (alleles[k, donor, 0] == MISSING) + (alleles[k, donor, 1] == MISSING)
            here = counts[donor]
            here[CALLED] += missing == 0
            here[HETEROZYGOUS] += first != second and missing == 0
            here[MISSING_CALLS] += missing == 2 - haploid
            here[HALF_MISSING] += missing == 1 and not haploid
            here[UNPHASED_CALLS] += first != second and not phased[k, donor]
            here[HAPLOID] += haploid
    return counts


def find_carriers(
    calls: Calls, positions: Ints, unphased: int, seed: int, donor_keys: NDArray[np.uint64]
) -> tuple[Carriers, tuple[int, int] | None]:
    """Carriers of the alternative alleles of records at ``positions``, and the first unphased heterozygote (record,
    donor) when ``unphased`` is ``ERROR``.

    A missing allele is the reference, a haploid call fills both places. With ``RANDOM`` the order of an unphased
    heterozygote depends on ``seed``, the donor's key and the position alone.
    """
    most = int((calls.alleles > 0).sum()) + int(((calls.alleles[..., 0] > 0) & (calls.alleles[..., 1] == ABSENT)).sum())
    found = Carriers(np.zeros(len(positions) + 1, np.int64), np.empty(most, np.int32), np.empty(most, np.int16))
    record, donor = _fill_carriers(
        calls.alleles, calls.phased, positions, unphased, np.uint64(seed), donor_keys,
        found.offsets, found.haplotype, found.number,
    )  # fmt: skip
    return found, None if record < 0 else (record, donor)


@njit(cache=True, nogil=True)
def _fill_carriers(
    alleles: NDArray[np.int16],
    phased: NDArray[np.bool_],
    positions: Ints,
    unphased: int,
    seed: np.uint64,
    donor_keys: NDArray[np.uint64],
    offsets: Ints,
    haplotype: NDArray[np.int32],
    number: NDArray[np.int16],
) -> tuple[int, int]:
    n = 0
    for k in range(len(positions)):
        for donor in range(alleles.shape[1]):
            first, second = _pair(alleles[k, donor, 0], alleles[k, donor, 1])
            if first != second and not phased[k, donor]:
                if unphased == ERROR:
                    return k, donor
                if unphased == REFERENCE:
                    first = second = 0
                elif _toss(seed, donor_keys[donor], np.uint64(positions[k])):
                    first, second = second, first
            if first:
                haplotype[n], number[n] = 2 * donor, first
                n += 1
            if second:
                haplotype[n], number[n] = 2 * donor + 1, second
                n += 1
        offsets[k + 1] = n
    return -1, -1


@njit(cache=True, nogil=True)
def _pair(first: int, second: int) -> tuple[int, int]:
    """The alleles of both haplotypes: a missing one is the reference, a haploid one is on both."""
    return max(first, 0), max(first, 0) if second == ABSENT else max(second, 0)


@njit(cache=True, nogil=True)
def _toss(seed: np.uint64, donor: np.uint64, position: np.uint64) -> bool:
    """A fair choice that depends on seed, donor and position alone, never on shards or the choice of donors."""
    x = seed ^ (donor * np.uint64(0x9E3779B97F4A7C15)) ^ (position * np.uint64(0xD1B54A32D192ED03))
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bool((x ^ (x >> np.uint64(31))) >> np.uint64(63))
