"""VCF text to alleles: what each record changes of the reference, and who carries it.

Everything works on one buffer of record lines (uint8) so that a line is never turned into Python objects. Positions
are 0-based. An allele is the reference interval it replaces, ``[start, end)`` after trimming shared bases (empty for an
insertion), and the bases that take its place.
"""

import re
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from allelegro.io.dna import encode

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

POS, REF, REF_END, ALT, ALT_END, INFO, INFO_END, FORMAT, FORMAT_END, SAMPLES, LINE_END = range(11)
SEQUENCE, STAR, SYMBOLIC = range(3)
MISSING = 255

TAB, NEWLINE, COMMA, COLON, PIPE, SLASH, DOT = (ord(c) for c in "\t\n,:|/.")
CODE = encode(bytes(range(256)))  # the code of every byte


@dataclass(frozen=True)
class Alleles:
    """Alternative alleles sorted by the reference interval that they replace; all arrays have one entry an allele.

    ``record`` is the line, ``number`` the allele's number in its GT; ``alt`` the offset of its bases in the text and
    ``length`` how many they are.
    """

    record: Ints
    number: Ints
    start: Ints
    end: Ints
    alt: Ints
    length: Ints

    def __len__(self) -> int:
        return len(self.start)

    def take(self, keep: NDArray[np.int64] | NDArray[np.bool_]) -> "Alleles":
        """The chosen alleles, in the order chosen."""
        return Alleles(*(getattr(self, name)[keep] for name in ("record", "number", "start", "end", "alt", "length")))

    def sort(self) -> "Alleles":
        """In order of position; at one start insertions come first, then the file's order."""
        return self.take(np.lexsort((self.number, self.record, self.start != self.end, self.start)))


@njit(cache=True, nogil=True)
def scan_lines(text: Bytes, lines: int) -> Ints:
    """Offsets of the fixed columns of every line, shape ``(lines, 11)``; POS is the 0-based position; all -1 if malformed."""
    fields = np.empty((lines, 11), np.int64)
    tabs = np.empty(9, np.int64)
    at = 0
    for line in range(lines):
        begin, n = at, 0
        while n < 9 and text[at] != NEWLINE:
            if text[at] == TAB:
                tabs[n] = at
                n += 1
            at += 1
        row = fields[line]
        if n < 9:
            row[:] = -1
            row[REF], row[LINE_END] = begin, at
            at += 1
            continue
        row[SAMPLES] = at
        # A sample column is at least two bytes; the rest of the line is left to the genotype reader.
        while text[at] != NEWLINE:
            at += 1
        row[LINE_END] = at
        position = 0
        for i in range(tabs[0] + 1, tabs[1]):
            position = position * 10 + (text[i] - 48)
        row[POS] = position - 1
        row[REF], row[REF_END] = tabs[2] + 1, tabs[3]
        row[ALT], row[ALT_END] = tabs[3] + 1, tabs[4]
        row[INFO], row[INFO_END] = tabs[6] + 1, tabs[7]
        row[FORMAT], row[FORMAT_END] = tabs[7] + 1, tabs[8]
        at += 1
    return fields


@njit(cache=True, nogil=True)
def split_alleles(text: Bytes, fields: Ints) -> Ints:
    """One row an alternative allele: record, number, kind, start, end, alt offset, alt length; shared bases trimmed.

    Trimming is that of a left-aligned VCF: shared last bases first, then shared first bases.
    """
    total = 0
    for record in range(len(fields)):
        total += 1
        for i in range(fields[record, ALT], fields[record, ALT_END]):
            total += text[i] == COMMA
    out = np.empty((total, 7), np.int64)
    n = 0
    for record in range(len(fields)):
        row = fields[record]
        begin, number = row[ALT], 0
        while begin <= row[ALT_END]:
            stop = begin
            while stop < row[ALT_END] and text[stop] != COMMA:
                stop += 1
            number += 1
            length = stop - begin
            if length == 1 and text[begin] == DOT:
                begin = stop + 1
                continue
            kind = SEQUENCE
            if length == 1 and text[begin] == ord("*"):
                kind = STAR
            else:
                for i in range(begin, stop):
                    base = text[i] & 0xDF  # upper case
                    if base < ord("A") or base > ord("Z"):
                        kind = SYMBOLIC
            start, end, alt, size = row[POS], row[POS] + row[REF_END] - row[REF], begin, length
            if kind == SEQUENCE:
                ref = row[REF]
                r, a = row[REF_END] - row[REF], length
                while r > 1 and a > 1 and (text[ref + r - 1] ^ text[alt + a - 1]) & 0xDF == 0:
                    r -= 1
                    a -= 1
                skip = 0
                while skip < r and skip < a and (text[ref + skip] ^ text[alt + skip]) & 0xDF == 0:
                    skip += 1
                while r > skip and a > skip and (text[ref + r - 1] ^ text[alt + a - 1]) & 0xDF == 0:
                    r -= 1
                    a -= 1
                start, end, alt, size = row[POS] + skip, row[POS] + r, alt + skip, a - skip
            out[n, 0], out[n, 1], out[n, 2] = record, number, kind
            out[n, 3], out[n, 4], out[n, 5], out[n, 6] = start, end, alt, size
            n += 1
            begin = stop + 1
    return out[:n]


def symbolic_deletion(alt: str, info: str, position: int, ref_length: int) -> tuple[int, int] | None:
    """The interval that a ``<DEL>`` removes: the base after POS to END, or SVLEN bases; None for other symbols."""
    if not (alt == "<DEL>" or alt.startswith("<DEL:")):
        return None
    if found := re.search(r"(?:^|;)END=(\d+)", info):
        end = int(found[1])
    elif found := re.search(r"(?:^|;)SVLEN=-?(\d+)", info):
        end = position + 1 + int(found[1])
    else:
        end = position + ref_length
    return (position + 1, end) if end > position + 1 else None


@njit(cache=True, nogil=True)
def mismatching_reference(text: Bytes, fields: Ints, records: Ints, reference: Bytes, origin: int) -> NDArray[np.bool_]:
    """Whether REF differs from the reference, for each of ``records``; ``reference`` begins at position ``origin``."""
    wrong = np.zeros(len(records), np.bool_)
    for n in range(len(records)):
        row = fields[records[n]]
        for i in range(row[REF_END] - row[REF]):
            at = row[POS] + i - origin
            if at < 0 or at >= len(reference) or reference[at] != CODE[text[row[REF] + i]]:
                wrong[n] = True
                break
    return wrong


@njit(cache=True, nogil=True)
def left_shiftable(text: Bytes, start: Ints, end: Ints, alt: Ints, length: Ints, reference: Bytes, origin: int) -> Ints:
    """Indices of pure insertions and deletions that could stand further left: not left-aligned in the file."""
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
NO_GENOTYPE, TOO_MANY_PLOIDS, BAD_ALLELE, WRONG_COLUMNS, UNPHASED = range(1, 6)
CALLED, HETEROZYGOUS, MISSING_CALLS, HALF_MISSING, UNPHASED_CALLS, HAPLOID = range(6)


@njit(cache=True, nogil=True)
def _coin(seed: np.uint64, donor: np.uint64, position: np.uint64) -> bool:
    """A fair coin that depends on seed, donor and position alone, never on shards or the choice of donors."""
    x = seed ^ (donor * np.uint64(0x9E3779B97F4A7C15)) ^ (position * np.uint64(0xD1B54A32D192ED03))
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bool((x ^ (x >> np.uint64(31))) >> np.uint64(63))


@njit(cache=True, nogil=True)
def read_genotypes(
    text: Bytes,
    fields: Ints,
    records: Ints,
    counted: NDArray[np.bool_],
    columns: Ints,
    donors: int,
    unphased: int,
    seed: np.uint64,
    donor_keys: NDArray[np.uint64],
    with_phase_sets: bool,
) -> tuple[Ints, NDArray[np.int32], Bytes, Ints, NDArray[np.int32], Ints]:
    """Carriers of the alternative alleles of ``records``.

    ``columns[c]`` is the donor of sample column c, or -1. Returns per record offsets into carriers; carriers
    (haplotype = 2·donor + 0 or 1); their allele numbers; counts ``(donors, 6)`` over ``counted`` records (called,
    heterozygous, missing, half-missing, unphased heterozygous, haploid); phase sets of heterozygotes ``(records,
    donors)`` (-1: not heterozygous; empty without phase sets); and a problem ``(code, record, column)`` (code 0: none).
    A missing allele is the reference; a haploid call fills both places.
    """
    offsets = np.zeros(len(records) + 1, np.int64)
    carriers = np.empty(1024, np.int32)
    numbers = np.empty(1024, np.uint8)
    counts = np.zeros((donors, 6), np.int64)
    sets = np.full((len(records) if with_phase_sets else 0, donors), -1, np.int32)
    problem = np.zeros(3, np.int64)
    n = 0
    allele = np.empty(2, np.int64)
    for k in range(len(records)):
        row = fields[records[k]]
        begin, stop = row[FORMAT], row[FORMAT_END]
        has_genotype = text[begin] == ord("G") and text[begin + 1] == ord("T")
        if not has_genotype or (stop - begin > 2 and text[begin + 2] != COLON):
            problem[:] = (NO_GENOTYPE, records[k], 0)
            return offsets, carriers, numbers, counts, sets, problem
        phase_set_key = -1
        if with_phase_sets:
            key = 0
            for i in range(begin, stop):
                if text[i] == COLON:
                    key += 1
                    is_ps = i + 3 <= stop and text[i + 1] == ord("P") and text[i + 2] == ord("S")
                    if is_ps and (i + 3 == stop or text[i + 3] == COLON):
                        phase_set_key = key
        alternatives = 1
        for i in range(row[ALT], row[ALT_END]):
            alternatives += text[i] == COMMA
        if n + 2 * donors > len(carriers):
            grown = np.empty(2 * (n + 2 * donors), np.int32)
            grown[:n] = carriers[:n]
            carriers = grown
            grown_numbers = np.empty(2 * (n + 2 * donors), np.uint8)
            grown_numbers[:n] = numbers[:n]
            numbers = grown_numbers
        at, end = row[SAMPLES], row[LINE_END]
        for column in range(len(columns)):
            if at >= end:
                problem[:] = (WRONG_COLUMNS, records[k], column)
                return offsets, carriers, numbers, counts, sets, problem
            donor = columns[column]
            if donor < 0:
                while at < end and text[at] != TAB:
                    at += 1
                at += 1
                continue
            ploidy, is_phased, missing = 0, True, 0
            while True:
                value = -1
                if text[at] == DOT:
                    at += 1
                else:
                    while at < end and 48 <= text[at] <= 57:
                        value = max(value, 0) * 10 + (text[at] - 48)
                        at += 1
                        if value > alternatives:
                            break
                    if value < 0 or value > alternatives or value >= MISSING:
                        problem[:] = (BAD_ALLELE, records[k], column)
                        return offsets, carriers, numbers, counts, sets, problem
                if ploidy == 2:
                    problem[:] = (TOO_MANY_PLOIDS, records[k], column)
                    return offsets, carriers, numbers, counts, sets, problem
                missing += value < 0
                allele[ploidy] = max(value, 0)
                ploidy += 1
                if at >= end or text[at] == TAB or text[at] == COLON:
                    break
                if text[at] != PIPE and text[at] != SLASH:
                    problem[:] = (BAD_ALLELE, records[k], column)
                    return offsets, carriers, numbers, counts, sets, problem
                is_phased = text[at] == PIPE
                at += 1
            if ploidy == 1:
                allele[1] = allele[0]
            heterozygous = allele[0] != allele[1]
            if counted[k]:
                counts[donor, CALLED] += missing == 0
                counts[donor, HETEROZYGOUS] += heterozygous and missing == 0
                counts[donor, MISSING_CALLS] += missing == ploidy
                counts[donor, HALF_MISSING] += missing == 1 and ploidy == 2
                counts[donor, UNPHASED_CALLS] += heterozygous and not is_phased
                counts[donor, HAPLOID] += ploidy == 1
            if heterozygous and not is_phased:
                if unphased == ERROR:
                    problem[:] = (UNPHASED, records[k], column)
                    return offsets, carriers, numbers, counts, sets, problem
                if unphased == REFERENCE:
                    allele[:] = 0
                elif _coin(seed, donor_keys[donor], np.uint64(row[POS])):
                    allele[0], allele[1] = allele[1], allele[0]
            for copy in range(2):
                if allele[copy]:
                    carriers[n] = 2 * donor + copy
                    numbers[n] = allele[copy]
                    n += 1
            key, phase_set = 0, 0
            while at < end and text[at] != TAB:
                if text[at] == COLON:
                    key += 1
                elif key == phase_set_key and 48 <= text[at] <= 57:
                    phase_set = phase_set * 10 + (text[at] - 48)
                at += 1
            if with_phase_sets and heterozygous:
                sets[k, donor] = phase_set
            at += 1
        if at <= end:
            problem[:] = (WRONG_COLUMNS, records[k], len(columns))
            return offsets, carriers, numbers, counts, sets, problem
        offsets[k + 1] = n
    return offsets, carriers[:n], numbers[:n], counts, sets, problem
