"""The heterozygous SNVs of one donor: where they are, which allele each haplotype has, and which can be trusted.

Positions are 0-based. A SNV is a record at which the donor has the reference base and one single alternative base. What
is near an insertion or a deletion that the donor carries is set apart, because reads of the two haplotypes align
differently there; so are sites that are not phased, and positions that more than one carried record describes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.intervals import inside, union
from allelegro.io.contigs import few
from allelegro.io.dna import encode
from allelegro.io.genotypes import ABSENT, ALT, ALT_END, POS, REF, REF_END, Ints, RecordLines
from allelegro.io.vcf import IndexedVcf, select_samples

_STRETCH = 4_000_000  # bp of records held at a time
_LONGEST = (1 << 29) - 1  # bp that a tabix index can address
_LETTERS = np.array(list("ACGT"))


@dataclass(frozen=True)
class Heterozygotes:
    """Heterozygous SNVs of a donor on one contig, sorted by position.

    ``position`` 0-based; ``alleles`` uint8 ``[site, 2]`` codes (A0 C1 G2 T3) of reference and alternative; ``haplotype``
    which of the two (0 or 1) carries the alternative allele; ``phase_set`` as in the VCF (0: none given); ``phased``;
    ``near_indel``; ``name`` the ID column.
    """

    position: Ints
    alleles: NDArray[np.uint8]
    haplotype: NDArray[np.int64]
    phase_set: NDArray[np.int64]
    phased: NDArray[np.bool_]
    near_indel: NDArray[np.bool_]
    name: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.position)

    @classmethod
    def empty(cls) -> "Heterozygotes":
        """No site."""
        return cls(
            np.empty(0, np.int64), np.empty((0, 2), np.uint8), np.empty(0, np.int64), np.empty(0, np.int64),
            np.empty(0, np.bool_), np.empty(0, np.bool_), np.empty(0, object),
        )  # fmt: skip

    def take(self, kept: NDArray[np.bool_] | NDArray[np.intp]) -> "Heterozygotes":
        """The sites at ``kept``."""
        return Heterozygotes(*(getattr(self, column.name)[kept] for column in fields(self)))

    @property
    def letters(self) -> NDArray[np.str_]:
        """Reference and alternative as letters ``[site, 2]``."""
        return _LETTERS[self.alleles]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Which sites tell the haplotypes of a read apart."""
        return self.phased & ~self.near_indel


@dataclass(frozen=True)
class DonorGenotypes:
    """Phased genotypes of one donor in one VCF or BCF, or in one a chromosome; made by :meth:`open`."""

    donor: str
    files: list[Path]
    lengths: dict[str, int]  # contigs and their lengths (0: not said)
    indel_distance: int

    @classmethod
    def open(cls, paths: Sequence[Path], donor: str, indel_distance: int = 5) -> "DonorGenotypes":
        """Check files and donor; raises DataError for an unreadable file, and for a donor that is in none of them."""
        lengths: dict[str, int] = {}
        for path in paths:
            vcf = IndexedVcf(path)
            try:
                select_samples([donor], vcf.samples, path)
                lengths |= vcf.lengths
            finally:
                vcf.close()
        return cls(donor, list(paths), lengths, indel_distance)

    def require_contigs(self, contigs: dict[str, int], reads: Path) -> None:
        """Raise DataError when the reads are aligned to contigs of other lengths than the VCF says."""
        for name, length in self.lengths.items():
            if length and contigs.get(name, length) != length:
                raise DataError(
                    f"{reads}: {name} has {contigs[name]:,} bp here and {length:,} bp in {self.files[0]}: another assembly; "
                    "align the reads to the genome that the variants were called on"
                )

    def on(self, contig: str) -> Heterozygotes:
        """The donor's heterozygous SNVs on a contig; raises DataError for a damaged record."""
        parts = [part for path in self.files for part in self._of_file(path, contig)]
        if not parts:
            return Heterozygotes.empty()
        sites = [_heterozygous_snvs(lines, calls) for lines, calls in parts]
        joined = Heterozygotes(
            *(np.concatenate([getattr(part, column.name) for part in sites]) for column in fields(Heterozygotes))
        )
        joined = joined.take(np.argsort(joined.position, kind="stable"))
        carried = np.concatenate([_carried_positions(lines, calls) for lines, calls in parts])
        places, times = np.unique(carried, return_counts=True)
        single = np.isin(joined.position, places[times == 1])
        indels = np.concatenate([_indels(lines, calls) for lines, calls in parts])
        around = union(indels[:, 0] - self.indel_distance, indels[:, 1] + self.indel_distance)
        joined.near_indel[:] = inside(joined.position, *around)
        return joined.take(single)

    def _of_file(self, path: Path, contig: str) -> Iterator[tuple[RecordLines, "_Calls"]]:
        """The records of a contig, a stretch at a time, with the donor's calls."""
        vcf = IndexedVcf(path)
        try:
            if contig not in vcf.contigs:
                return
            columns = np.full(len(vcf.samples), -1, np.int64)
            columns[vcf.samples.index(self.donor)] = 0
            end = vcf.lengths[contig] or _LONGEST
            for start in range(0, end, _STRETCH):
                text = [line for line in vcf.lines(contig, start, start + _STRETCH) if _begins_in(line, start)]
                if text:
                    lines = RecordLines.parse(path, contig, text)
                    yield lines, _Calls.read(lines, vcf.samples, columns)
                elif not vcf.lengths[contig] and next(vcf.lines(contig, start, end), None) is None:
                    return
        finally:
            vcf.close()


def _begins_in(line: str, start: int) -> bool:
    """Whether a record begins at or behind ``start``; one that reaches in was read with the stretch before."""
    position = line.split("\t", 2)[1]
    return not position.isdigit() or int(position) > start


@dataclass(frozen=True)
class _Calls:
    """The donor's two alleles ``[record, 2]`` (0 for a missing or absent one), whether both are called and phased, PS."""

    alleles: NDArray[np.int64]
    called: NDArray[np.bool_]
    phased: NDArray[np.bool_]
    sets: NDArray[np.int64]

    @classmethod
    def read(cls, lines: RecordLines, samples: Sequence[str], columns: Ints) -> "_Calls":
        calls = lines.calls(np.arange(len(lines.fields)), samples, columns, 1, phase_sets=True)
        alleles = calls.alleles[:, 0].astype(np.int64)
        haploid = alleles[:, 1] == ABSENT
        alleles[haploid, 1] = alleles[haploid, 0]
        called = np.asarray((alleles >= 0).all(axis=1), np.bool_)
        return cls(np.maximum(alleles, 0), called, calls.phased[:, 0], np.maximum(calls.sets[:, 0], 0).astype(np.int64))


def _heterozygous_snvs(lines: RecordLines, calls: _Calls) -> Heterozygotes:
    """Records at which the donor has the reference base and one other single base."""
    fields_, alleles = lines.fields, calls.alleles
    one_reference = (alleles == 0).sum(axis=1) == 1
    rows = np.flatnonzero(calls.called & one_reference & (fields_[:, REF_END] - fields_[:, REF] == 1))
    number = alleles[rows].max(axis=1)
    at = _alternative_offsets(lines, rows, number)
    rows, number, at = rows[at >= 0], number[at >= 0], at[at >= 0]
    codes = encode(lines.text[np.stack([fields_[rows, REF], at], axis=1)].tobytes()).reshape(-1, 2)
    known = (codes < len(_LETTERS)).all(axis=1)
    rows, codes = rows[known], codes[known]
    names = np.array([_name_of(lines, int(row)) for row in rows], object)
    return Heterozygotes(
        fields_[rows, POS], codes, (alleles[rows, 1] > 0).astype(np.int64), calls.sets[rows], calls.phased[rows],
        np.zeros(len(rows), np.bool_), names,
    )  # fmt: skip


def _alternative_offsets(lines: RecordLines, rows: Ints, numbers: Ints) -> Ints:
    """Offset of each record's ALT number ``numbers`` in the text; -1 where it is not one letter."""
    fields_ = lines.fields[rows]
    at = np.where(fields_[:, ALT_END] - fields_[:, ALT] == 1, fields_[:, ALT], -1)
    for place in np.flatnonzero(fields_[:, ALT_END] - fields_[:, ALT] > 1).tolist():
        allele_list = lines.string(*fields_[place, [ALT, ALT_END]].tolist()).split(",")
        chosen = int(numbers[place]) - 1
        if len(allele_list[chosen]) == 1:
            at[place] = fields_[place, ALT] + sum(len(allele) + 1 for allele in allele_list[:chosen])
    return np.asarray(at, np.int64)


def _name_of(lines: RecordLines, row: int) -> str:
    """The ID column: what is between POS and REF."""
    begin, end = lines.fields[row, REF] - 1, lines.fields[row, REF] - 1
    while lines.text[begin - 1] != ord("\t"):
        begin -= 1
    return lines.string(int(begin), int(end))


def _carried_positions(lines: RecordLines, calls: _Calls) -> Ints:
    """Positions of the records of which the donor carries an alternative allele."""
    return np.asarray(lines.fields[(calls.alleles > 0).any(axis=1), POS], np.int64)


def _indels(lines: RecordLines, calls: _Calls) -> Ints:
    """Reference intervals ``[n, 2]`` of the records of which the donor carries an allele of another length."""
    found = []
    for row in np.flatnonzero((calls.alleles > 0).any(axis=1)).tolist():
        start, size = int(lines.fields[row, POS]), int(lines.fields[row, REF_END] - lines.fields[row, REF])
        if size == 1 and lines.fields[row, ALT_END] - lines.fields[row, ALT] == 1:
            continue
        named = lines.column(row, ALT).split(",")
        carried = {named[number - 1] for number in calls.alleles[row].tolist() if number}
        if any(len(allele) != size or allele.startswith("<") for allele in carried - {"*"}):
            found.append((start, start + size))
    return np.array(found, np.int64).reshape(-1, 2)


def require_sites(sites: Mapping[str, Heterozygotes], genotypes: DonorGenotypes) -> int:
    """How many sites there are; raises DataError when there is none, or none that is phased."""
    known = sum(len(found) for found in sites.values())
    phased = sum(int(found.phased.sum()) for found in sites.values())
    if not known:
        raise DataError(
            f"{genotypes.files[0]}: donor {genotypes.donor} has no heterozygous SNV on the reads' contigs ({few(sites)}); "
            "check donor and contig names"
        )
    if not phased:
        raise DataError(
            f"{genotypes.files[0]}: none of the {known:,} heterozygous SNVs of donor {genotypes.donor} is phased (0|1); "
            "reads cannot be given to haplotypes, phase the genotypes first"
        )
    return known
