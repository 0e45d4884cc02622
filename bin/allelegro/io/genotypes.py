"""Record lines of a VCF as arrays: where the columns of every line are, and the calls of the chosen samples.

The lines of a region are one buffer (uint8), so that a line never becomes Python objects; :meth:`RecordLines.calls`
says why the calls are not read by cyvcf2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray

from allelegro.errors import DataError

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

POS, REF, REF_END, ALT, ALT_END, INFO, INFO_END, FORMAT, FORMAT_END, SAMPLES, LINE_END = range(11)
MISSING, ABSENT = -1, -2  # alleles of a call: a dot; no second allele (haploid)
MOST_ALLELES = 32_767

_TAB, _NEWLINE, _COMMA, _COLON, _PIPE, _SLASH, _DOT = (ord(c) for c in "\t\n,:|/.")
_BAD = -3
_NO_GENOTYPE, _TOO_MANY_PLOIDS, _BAD_ALLELE, _WRONG_COLUMNS = range(1, 5)
_PROBLEMS = {
    _NO_GENOTYPE: "FORMAT does not begin with GT; give a file with genotypes",
    _TOO_MANY_PLOIDS: "donor {sample} has more than two alleles; only haploid and diploid calls can be used",
    _BAD_ALLELE: "the genotype of donor {sample} names no allele of the record; the file is damaged",
    _WRONG_COLUMNS: "the line does not have the header's {samples} sample columns; the file is damaged",
}


@dataclass(frozen=True)
class Calls:
    """Genotypes: ``alleles`` int16 ``[records, donors, 2]`` (``MISSING``, ``ABSENT``, 0 the reference), ``phased`` bool
    ``[records, donors]`` (every phase mark is ``|``), and ``sets`` int32 ``[records, donors]``, the phase sets of
    heterozygotes (0: none given; -1: no heterozygote), or ``[0, donors]`` when not asked for.
    """

    alleles: NDArray[np.int16]
    phased: NDArray[np.bool_]
    sets: NDArray[np.int32]


@dataclass(frozen=True)
class RecordLines:
    """Lines of one contig, sorted by position: ``text`` and the offsets of columns ``fields`` ``[lines, 11]``.

    ``fields[:, POS]`` is the 0-based position; the other columns are offsets into ``text``.
    """

    path: Path
    chrom: str
    text: Bytes
    fields: Ints

    @classmethod
    def parse(cls, path: Path, chrom: str, lines: Sequence[str]) -> "RecordLines":
        """Find the columns; raises DataError for a line with too few, a POS that is no number, or unsorted lines."""
        text = np.frombuffer("".join(f"{line}\n" for line in lines).encode(), np.uint8)
        found = cls(path, chrom, text, _scan_lines(text, len(lines)))
        malformed = np.flatnonzero(found.fields[:, SAMPLES] < 0)
        if len(malformed):
            raise DataError(
                f"{path} {chrom}: line '{lines[malformed[0]][:60]}' has too few columns or no whole number as POS; "
                "the file is damaged"
            )
        backwards = np.flatnonzero(np.diff(found.fields[:, POS]) < 0)
        if len(backwards):
            where = found.where(int(backwards[0]) + 1)
            raise DataError(f"{where}: the VCF is not sorted by position; run bcftools sort and index it again")
        return found

    def string(self, start: int, end: int) -> str:
        """Text between two offsets."""
        return self.text[start:end].tobytes().decode()

    def column(self, record: int, first: int) -> str:
        """A column of a line, named by its first offset: ``REF``, ``ALT``, ``INFO`` or ``FORMAT``."""
        return self.string(self.fields[record, first], self.fields[record, first + 1])

    def where(self, record: int) -> str:
        """File, position and alleles of a record, for messages."""
        alleles = " ".join(
            allele if len(allele) < 30 else allele[:27] + "…"
            for allele in (self.column(record, REF), self.column(record, ALT))
        )
        return f"{self.path} {self.chrom}:{self.fields[record, POS] + 1} {alleles}"

    def calls(
        self, records: Ints, samples: Sequence[str], columns: Ints, donors: int, *, phase_sets: bool = False
    ) -> Calls:
        """Calls of ``donors`` at ``records`` (line numbers); ``columns[c]`` is the donor of sample column c, or -1.

        Phase marks before the first allele (VCF 4.4 and 4.5) are understood. Raises DataError for a record without GT,
        more than two alleles, an allele that the record lacks, or another number of columns than ``samples``.

        Read by cyvcf2, the whole extraction takes 1.5 times as long for 100 donors and 2.3 times for 1,000
        (``benchmarks/haplotypes.py --cyvcf2``); and cyvcf2 0.35 (htslib 1.19) refuses the phase marks of VCF 4.4 and
        accepts lines with too many sample columns.
        """
        calls = Calls(
            np.full((len(records), donors, 2), MISSING, np.int16),
            np.zeros((len(records), donors), np.bool_),
            np.full((len(records) if phase_sets else 0, donors), -1, np.int32),
        )
        code, record, column = _read_calls(
            self.text, self.fields, records, columns, calls.alleles, calls.phased, calls.sets
        )
        if code:
            sample = samples[min(column, len(samples) - 1)]
            raise DataError(f"{self.where(record)}: {_PROBLEMS[code].format(sample=sample, samples=len(samples))}")
        return calls


@njit(cache=True, nogil=True)
def _scan_lines(text: Bytes, lines: int) -> Ints:
    """Offsets of the fixed columns of every line, shape ``(lines, 11)``; a row of -1 for a malformed line."""
    fields = np.full((lines, 11), -1, np.int64)
    tabs = np.empty(9, np.int64)
    at = 0
    for line in range(lines):
        n = 0
        while n < 9 and text[at] != _NEWLINE:
            if text[at] == _TAB:
                tabs[n] = at
                n += 1
            at += 1
        samples = at
        # A sample column is at least two bytes; the rest of the line is left to the genotype reader.
        while text[at] != _NEWLINE:
            at += 1
        position = _number(text, tabs[0] + 1, tabs[1]) if n == 9 else -1
        if position >= 0:
            row = fields[line]
            row[POS] = position - 1
            row[REF], row[REF_END] = tabs[2] + 1, tabs[3]
            row[ALT], row[ALT_END] = tabs[3] + 1, tabs[4]
            row[INFO], row[INFO_END] = tabs[6] + 1, tabs[7]
            row[FORMAT], row[FORMAT_END] = tabs[7] + 1, tabs[8]
            row[SAMPLES], row[LINE_END] = samples, at
        at += 1
    return fields


@njit(cache=True, nogil=True)
def _number(text: Bytes, start: int, end: int) -> int:
    """The whole number written between two offsets, or -1."""
    if not 0 < end - start < 18:
        return -1
    value = 0
    for i in range(start, end):
        if not 48 <= text[i] <= 57:
            return -1
        value = value * 10 + (text[i] - 48)
    return value


@njit(cache=True, nogil=True)
def _read_calls(
    text: Bytes,
    fields: Ints,
    records: Ints,
    columns: Ints,
    alleles: NDArray[np.int16],
    phased: NDArray[np.bool_],
    sets: NDArray[np.int32],
) -> tuple[int, int, int]:
    """Fill ``alleles``, ``phased`` and ``sets`` (when it has rows); a problem as (code, record, column), code 0: none."""
    for k in range(len(records)):
        row = fields[records[k]]
        begin, stop = row[FORMAT], row[FORMAT_END]
        genotype = stop - begin >= 2 and text[begin] == ord("G") and text[begin + 1] == ord("T")
        if not genotype or (stop - begin > 2 and text[begin + 2] != _COLON):
            return _NO_GENOTYPE, records[k], 0
        set_key = _phase_set_key(text, begin, stop) if len(sets) else -1
        alternatives = _count_alternatives(text, row[ALT], row[ALT_END])
        at, end = row[SAMPLES], row[LINE_END]
        for column in range(len(columns)):
            if at >= end:
                return _WRONG_COLUMNS, records[k], column
            donor = columns[column]
            if donor >= 0:
                at, is_phased, problem = _read_call(text, at, end, alternatives, alleles, k, donor)
                if problem:
                    return problem, records[k], column
                phased[k, donor] = is_phased
                if len(sets) and _heterozygous(alleles[k, donor, 0], alleles[k, donor, 1]):
                    sets[k, donor] = _phase_set(text, at, end, set_key)
            while at < end and text[at] != _TAB:
                at += 1
            at += 1
        if at <= end:
            return _WRONG_COLUMNS, records[k], len(columns)
    return 0, 0, 0


@njit(cache=True, nogil=True)
def _read_call(
    text: Bytes, at: int, end: int, alternatives: int, alleles: NDArray[np.int16], record: int, donor: int
) -> tuple[int, bool, int]:
    """Read one GT into ``alleles[record, donor]``: the offset behind it, whether it is phased, and a problem or 0."""
    is_phased, ploidy = True, 0
    alleles[record, donor, 1] = ABSENT
    if at < end and (text[at] == _PIPE or text[at] == _SLASH):
        is_phased = text[at] == _PIPE
        at += 1
    while True:
        value, at = _read_allele(text, at, end, alternatives)
        if value == _BAD:
            return at, is_phased, _BAD_ALLELE
        if ploidy == 2:
            return at, is_phased, _TOO_MANY_PLOIDS
        alleles[record, donor, ploidy] = value
        ploidy += 1
        if at >= end or text[at] == _TAB or text[at] == _COLON:
            return at, is_phased, 0
        if text[at] != _PIPE and text[at] != _SLASH:
            return at, is_phased, _BAD_ALLELE
        is_phased = is_phased and text[at] == _PIPE
        at += 1


@njit(cache=True, nogil=True)
def _read_allele(text: Bytes, at: int, end: int, alternatives: int) -> tuple[int, int]:
    """The allele number at an offset (``MISSING`` for a dot, ``_BAD`` for none of the record), and the offset behind."""
    if text[at] == _DOT:
        return MISSING, at + 1
    value, first = 0, at
    while at < end and 48 <= text[at] <= 57 and value <= alternatives:
        value = value * 10 + (text[at] - 48)
        at += 1
    return (_BAD if at == first or value > alternatives or value > MOST_ALLELES else value), at


@njit(cache=True, nogil=True)
def _heterozygous(first: int, second: int) -> bool:
    """Whether two alleles of a call differ; a missing one counts as the reference, a haploid call never differs."""
    return second != ABSENT and max(first, 0) != max(second, 0)


@njit(cache=True, nogil=True)
def _count_alternatives(text: Bytes, begin: int, end: int) -> int:
    if end - begin == 1 and text[begin] == _DOT:
        return 0
    count = 1
    for i in range(begin, end):
        count += text[i] == _COMMA
    return count


@njit(cache=True, nogil=True)
def _phase_set_key(text: Bytes, begin: int, stop: int) -> int:
    """Which of the FORMAT keys is PS, or -1."""
    key, found = 0, -1
    for i in range(begin, stop):
        if text[i] == _COLON:
            key += 1
            is_ps = i + 3 <= stop and text[i + 1] == ord("P") and text[i + 2] == ord("S")
            if is_ps and (i + 3 == stop or text[i + 3] == _COLON):
                found = key
    return found


@njit(cache=True, nogil=True)
def _phase_set(text: Bytes, at: int, end: int, wanted: int) -> int:
    """The PS of a sample whose GT ends at ``at``; 0 when it has none."""
    key, value = 0, 0
    while at < end and text[at] != _TAB:
        if text[at] == _COLON:
            key += 1
        elif key == wanted and 48 <= text[at] <= 57:
            value = value * 10 + (text[at] - 48)
        at += 1
    return value
