"""One shard of windows: from VCF text to its distinct haplotypes and who carries them."""

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.genotype import records as rules_of
from allelegro.genotype.haplotypes import (
    DistinctHaplotypes,
    build_sequences,
    distinct_haplotypes,
    merge_equal_rows,
    resolve_overlaps,
)
from allelegro.genotype.records import (
    AMBIGUOUS,
    SEQUENCE,
    STAR,
    SYMBOLIC,
    Alleles,
    Carriers,
    count_genotypes,
    find_carriers,
    left_shiftable,
    mismatching_reference,
    read_alleles,
    repeated_alleles,
)
from allelegro.intervals import chain_starts, union
from allelegro.io.dna import decode
from allelegro.io.fasta import Fasta
from allelegro.io.genotypes import ALT, POS, REF, REF_END, Bytes, Calls, Ints, RecordLines
from allelegro.io.vcf import IndexedVcf

FETCH_GAP = 16_384  # windows closer than this are read in one go: the linear index has steps of 16 kb
TEXT_BUDGET = 32_000_000  # bytes of VCF text that a worker holds at once
FIRST_PAD = 64  # bp around a window where alleles are looked for at first; grows when deletions ask for more

UNPHASED_MODES = {"error": rules_of.ERROR, "reference": rules_of.REFERENCE, "random": rules_of.RANDOM}


@dataclass(frozen=True)
class Rules:
    """How genotypes are read; the defaults are the strict ones."""

    indels: str = "keep"
    unphased: str = "error"
    on_ref_mismatch: str = "error"
    seed: int = 0


@dataclass(frozen=True)
class Shard:
    """Consecutive windows of one contig; ``previous_end`` is where the windows before them end (-1: none before)."""

    chrom: str
    starts: Ints
    previous_end: int

    def halves(self, width: int) -> tuple["Shard", "Shard"]:
        """Two shards of half the windows each."""
        middle = len(self.starts) // 2
        seam = int(self.starts[middle - 1]) + width
        return Shard(self.chrom, self.starts[:middle], self.previous_end), Shard(self.chrom, self.starts[middle:], seam)


@dataclass
class ShardResult:
    """What a shard adds to the store (see :mod:`allelegro.genotype.store`); ``variants`` are those its rows carry.

    ``conflicts`` are the records that repeat an allele with other genotypes than the first.
    """

    chrom: str
    sequences: Bytes
    row_offsets: Ints
    index: NDArray[np.int32]
    allele_offsets: Ints
    alleles: Ints
    variants: list[tuple[int, str, str, int, int, str]]
    donor_counts: Ints
    tally: Counter[str]
    conflicts: list[str]


class ShardWorker:
    """One process's open files and what stays the same from shard to shard."""

    def __init__(self, vcfs: Sequence[Path], fasta: Path, donors: list[str], width: int, rules: Rules) -> None:
        self.fasta = Fasta(fasta)
        self.files = [IndexedVcf(path) for path in vcfs]
        self.donors, self.width, self.rules = donors, width, rules
        place = {donor: n for n, donor in enumerate(donors)}
        self.columns = [np.array([place.get(sample, -1) for sample in vcf.samples], np.int64) for vcf in self.files]
        self.keys = np.array([zlib.crc32(donor.encode()) for donor in donors], np.uint64)
        self.file_of = {chrom: n for n, vcf in enumerate(self.files) for chrom in vcf.contigs}

    def run(self, shard: Shard) -> list[ShardResult]:
        """Results of the shard, in pieces when its text is larger than the budget."""
        pad = FIRST_PAD
        while True:
            lines = self._read(shard, pad)
            if lines is None:
                first, second = shard.halves(self.width)
                return self.run(first) + self.run(second)
            result = self._build(shard, pad, RecordLines.parse(self._path(shard), shard.chrom, lines))
            if isinstance(result, ShardResult):
                return [result]
            pad = result + FIRST_PAD

    def _path(self, shard: Shard) -> Path:
        return self.files[self.file_of.get(shard.chrom, 0)].path

    def _read(self, shard: Shard, pad: int) -> list[str] | None:
        """Record lines near the windows; None when they are too much for one go."""
        which = self.file_of.get(shard.chrom)
        if which is None:
            return []
        lows = np.maximum(shard.starts - pad - 1, 0)
        highs = np.minimum(shard.starts + self.width + pad + 1, self.fasta.lengths[shard.chrom])
        while True:
            lows, highs = union(lows, highs, FETCH_GAP)
            lines: list[str] = []
            size, previous_high, reached = 0, 0, lows.copy()
            for n, (low, high) in enumerate(zip(lows.tolist(), highs.tolist(), strict=True)):
                before = True
                for line in self.files[which].lines(shard.chrom, low, high):
                    if before:
                        position = _position(line, low)
                        if position < previous_high:
                            continue  # a long record that the interval before has brought
                        reached[n] = min(reached[n], max(position - 1, 0))
                        before = position < low
                    size += len(line)
                    lines.append(line)
                    if size > TEXT_BUDGET and len(shard.starts) > 1:
                        return None
                previous_high = high
            if (reached == lows).all():
                return lines
            lows = reached  # a record reaches in from the left: read what may overlap it there, too

    def _build(self, shard: Shard, pad: int, lines: RecordLines) -> ShardResult | int:
        """The shard's part of the store, or the padding that its deletions need."""
        tally: Counter[str] = Counter()
        alleles = self._alleles(shard, pad, lines, tally)
        reference, origin = self._reference(shard, pad, lines, alleles)
        alleles = self._check_reference(shard, lines, alleles, reference, origin, tally)
        first = repeated_alleles(alleles, lines.text)
        repeated = first != np.arange(len(alleles))
        counted = self._counted(shard, alleles.start, alleles.end) & ~repeated
        tally["alleles"] += int(counted.sum())
        records, slots = np.unique(alleles.record, return_inverse=True)
        calls = self._calls(shard, lines, records)
        carriers = self._carriers(lines, records, calls)
        conflicts = self._conflicts(shard, lines, alleles, first, slots, carriers, tally)
        alleles, slots, counted = alleles.take(~repeated), slots[~repeated], counted[~repeated]
        haplotypes = 2 * len(self.donors)
        kept_offsets, kept, set_aside = resolve_overlaps(
            alleles.start, alleles.end, slots, alleles.number, counted,
            carriers.offsets, carriers.haplotype, carriers.number, haplotypes,
        )  # fmt: skip
        distinct = distinct_haplotypes(
            shard.starts, self.width, alleles.start, alleles.end, alleles.length, kept_offsets, kept, haplotypes
        )
        needed = distinct.padding(shard.starts, self.width)
        if needed > pad:
            return needed
        sequences = build_sequences(
            shard.starts, self.width, distinct.row_offsets, distinct.allele_offsets, distinct.alleles,
            alleles.start, alleles.end, alleles.alt, alleles.length, lines.text, reference, origin,
        )  # fmt: skip
        tally["overlapping"] += set_aside
        seen = alleles.take(counted)
        shiftable = left_shiftable(lines.text, seen.start, seen.end, seen.alt, seen.length, reference, origin)
        tally["not_left_aligned"] += len(shiftable)
        positions = lines.fields[records, POS]
        tally["phase_set_changes"] += _phase_set_changes(shard.starts, self.width, positions, calls.sets)
        counted_records = np.bincount(slots, counted, len(records)) > 0
        donor_counts = count_genotypes(calls.alleles, calls.phased, counted_records)
        result = _merge_rows(shard.chrom, sequences, distinct, donor_counts, tally)
        result.conflicts = conflicts
        _name_variants(result, lines, alleles)
        return result

    def _alleles(self, shard: Shard, pad: int, lines: RecordLines, tally: Counter[str]) -> Alleles:
        """Alleles that may show in a window, or overlap one that may; the others are counted by reason and excluded."""
        alleles, kinds = read_alleles(lines)
        counted = self._counted(shard, alleles.start, alleles.end)
        for reason, kind in (("star", STAR), ("symbolic", SYMBOLIC), ("ambiguous", AMBIGUOUS)):
            tally[reason] += int((counted & (kinds == kind)).sum())
        keep = kinds == SEQUENCE
        if self.rules.indels == "skip":
            indel = keep & (alleles.end - alleles.start != alleles.length)
            tally["indel"] += int((counted & indel).sum())
            keep &= ~indel
        alleles = alleles.take(keep).sort()
        return alleles.take(_near(alleles, shard.starts - pad - 1, shard.starts + self.width + pad + 1))

    def _counted(self, shard: Shard, start: Ints, end: Ints) -> NDArray[np.bool_]:
        """Which alleles touch a window of this shard and none of the shards before, so that each is counted once."""
        first = np.searchsorted(shard.starts + self.width, start, side="right")
        inside = np.append(shard.starts, np.iinfo(np.int64).max)[first] < np.maximum(end, start + 1)
        counted: NDArray[np.bool_] = inside & (start >= shard.previous_end)
        return counted

    def _reference(self, shard: Shard, pad: int, lines: RecordLines, alleles: Alleles) -> tuple[Bytes, int]:
        """The reference around the windows and every allele, and where it begins."""
        rows = lines.fields[alleles.record]
        record_end = rows[:, POS] + rows[:, REF_END] - rows[:, REF]
        origin = min(int(shard.starts[0]) - pad, int(rows[:, POS].min(initial=np.iinfo(np.int64).max)) - 1)
        end = max(int(shard.starts[-1]) + self.width + pad, int(np.maximum(record_end, alleles.end).max(initial=0)))
        origin = max(0, origin)
        return self.fasta.codes(shard.chrom, origin, min(end, self.fasta.lengths[shard.chrom])), origin

    def _check_reference(
        self,
        shard: Shard,
        lines: RecordLines,
        alleles: Alleles,
        reference: Bytes,
        origin: int,
        tally: Counter[str],
    ) -> Alleles:
        """Alleles whose REF is the genome's; that of a symbol is a placeholder (callers write N) and not compared."""
        wrong = mismatching_reference(lines.text, lines.fields, alleles.record, reference, origin)
        wrong &= alleles.symbolic == 0
        if not wrong.any():
            return alleles
        if self.rules.on_ref_mismatch == "error":
            record = int(alleles.record[wrong].min())
            row = lines.fields[record]
            found = reference[row[POS] - origin : row[POS] - origin + row[REF_END] - row[REF]]
            raise DataError(
                f"{lines.where(record)}: REF is not the reference, {self.fasta.path} has {decode(found[:30])}; "
                "give the genome that the variants were called on, or drop such records with --on-ref-mismatch skip"
            )
        tally["ref_mismatch"] += int((self._counted(shard, alleles.start, alleles.end) & wrong).sum())
        return alleles.take(~wrong)

    def _calls(self, shard: Shard, lines: RecordLines, records: Ints) -> Calls:
        which = self.file_of.get(shard.chrom, 0)
        vcf = self.files[which]
        return lines.calls(records, vcf.samples, self.columns[which], len(self.donors), phase_sets="PS" in vcf.formats)

    def _carriers(self, lines: RecordLines, records: Ints, calls: Calls) -> Carriers:
        mode, positions = UNPHASED_MODES[self.rules.unphased], lines.fields[records, POS]
        carriers, unphased = find_carriers(calls, positions, mode, self.rules.seed, self.keys)
        if unphased is not None:
            record, donor = unphased
            raise DataError(
                f"{lines.where(int(records[record]))}: heterozygote of donor {self.donors[donor]} is not phased; "
                "phase it, or choose --unphased reference or random"
            )
        return carriers

    def _conflicts(
        self,
        shard: Shard,
        lines: RecordLines,
        alleles: Alleles,
        first: Ints,
        slots: Ints,
        carriers: Carriers,
        tally: Counter[str],
    ) -> list[str]:
        """Count alleles that repeat an earlier one; those with other carriers, as file, position and alleles."""
        counted = self._counted(shard, alleles.start, alleles.end)
        found = []
        for k in np.flatnonzero(counted & (first != np.arange(len(alleles)))).tolist():
            tally["duplicate"] += 1
            own, kept = (carriers.of(slots[allele], alleles.number[allele]) for allele in (k, first[k]))
            if not np.array_equal(own, kept):
                found.append(lines.where(int(alleles.record[k])))
        return found


def _near(alleles: Alleles, lows: Ints, highs: Ints) -> NDArray[np.bool_]:
    """Alleles of chains (runs of overlapping or touching alleles) that reach into one of the intervals."""
    if not len(alleles):
        return np.zeros(0, np.bool_)
    lows, highs = union(lows, highs)
    chain = np.cumsum(chain_starts(alleles.start, alleles.end)) - 1
    chain_start, chain_end = union(alleles.start, alleles.end)
    interval = np.searchsorted(highs, chain_start)
    near = np.append(lows, np.iinfo(np.int64).max)[interval] <= chain_end
    chosen: NDArray[np.bool_] = near[chain]
    return chosen


def _phase_set_changes(starts: Ints, width: int, positions: Ints, sets: NDArray[np.int32]) -> int:
    """Donor × window pairs whose heterozygotes inside the window belong to more than one phase set."""
    changes = 0
    if len(sets):
        for start in starts.tolist():
            low, high = np.searchsorted(positions, [start, start + width])
            inside = sets[low:high]
            if len(inside) > 1:
                smallest = np.where(inside < 0, np.iinfo(np.int32).max, inside).min(axis=0)
                changes += int(((inside.max(axis=0) >= 0) & (inside.max(axis=0) != smallest)).sum())
    return changes


def _merge_rows(
    chrom: str, sequences: Bytes, distinct: DistinctHaplotypes, donor_counts: Ints, tally: Counter[str]
) -> ShardResult:
    """The shard's rows without those that have the sequence of an earlier row of their window."""
    rows = len(sequences)
    same = merge_equal_rows(sequences, distinct.row_offsets)
    keep = same == np.arange(rows)
    tally["rows_merged"] += rows - int(keep.sum())
    new_row = np.append(np.cumsum(keep) - 1, keep.sum())
    old_rows = distinct.index + distinct.row_offsets[:-1, None]
    row_offsets = np.append(new_row[distinct.row_offsets[:-1]], keep.sum())
    counts = np.diff(distinct.allele_offsets)
    return ShardResult(
        chrom=chrom,
        sequences=sequences[keep],
        row_offsets=row_offsets,
        index=(new_row[same[old_rows]] - row_offsets[:-1, None]).astype(np.int32),
        allele_offsets=np.append(0, np.cumsum(counts[keep])),
        alleles=distinct.alleles[np.repeat(keep, counts)],
        variants=[],
        donor_counts=donor_counts,
        tally=tally,
        conflicts=[],
    )


def _name_variants(result: ShardResult, lines: RecordLines, alleles: Alleles) -> None:
    """Describe the alleles that the rows carry and number them within the shard."""
    used, result.alleles = np.unique(result.alleles, return_inverse=True)
    seen = alleles.take(used)
    for record, number, start, end, alt, length in zip(
        seen.record.tolist(), seen.number.tolist(), seen.start.tolist(), seen.end.tolist(), seen.alt.tolist(),
        seen.length.tolist(), strict=True,
    ):  # fmt: skip
        name = lines.column(record, ALT).split(",")[number - 1]
        bases = lines.string(alt, alt + length).upper()
        position = int(lines.fields[record, POS]) + 1
        result.variants.append((position, lines.column(record, REF), name, start, end, bases))


def _position(line: str, otherwise: int) -> int:
    """0-based position of a VCF line; ``otherwise`` where it is no number (told when the lines are parsed)."""
    position = line.split("\t", 2)[1]
    return int(position) - 1 if position.isdigit() else otherwise
