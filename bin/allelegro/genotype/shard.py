"""One shard of windows: from VCF text to its distinct haplotypes and who carries them."""

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.genotype import records as vcf_text
from allelegro.genotype.haplotypes import build_sequences, distinct_haplotypes, merge_equal_rows, resolve_overlaps
from allelegro.genotype.records import (
    ALT,
    ALT_END,
    INFO,
    INFO_END,
    LINE_END,
    POS,
    REF,
    REF_END,
    SAMPLES,
    SEQUENCE,
    STAR,
    Alleles,
    Bytes,
    Ints,
    symbolic_deletion,
)
from allelegro.intervals import chain_starts, union
from allelegro.io.dna import decode
from allelegro.io.fasta import Fasta
from allelegro.io.vcf import IndexedVcf

FETCH_GAP = 16_384  # windows closer than this are read in one go: the linear index has steps of 16 kb
TEXT_BUDGET = 32_000_000  # bytes of VCF text that a worker holds at once
FIRST_PAD = 64  # bp beside a window where alleles are looked for at first; grows when deletions ask for more

UNPHASED_MODES = {"error": vcf_text.ERROR, "reference": vcf_text.REFERENCE, "random": vcf_text.RANDOM}


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
    """What a shard adds to the store (see :mod:`allelegro.genotype.store`); ``variants`` are those its rows carry."""

    chrom: str
    sequences: Bytes
    row_offsets: Ints
    index: NDArray[np.int32]
    allele_offsets: Ints
    alleles: Ints
    variants: list[tuple[int, str, str, int, int, str]]
    donor_counts: Ints
    tally: Counter[str]


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
            found = self._read(shard, pad)
            if found is None:
                first, second = shard.halves(self.width)
                return self.run(first) + self.run(second)
            result = self._build(shard, pad, *found)
            if isinstance(result, ShardResult):
                return [result]
            pad = result + FIRST_PAD

    def _read(self, shard: Shard, pad: int) -> tuple[Bytes, int] | None:
        """Text and number of the record lines near the windows; None when they are too much for one go."""
        which = self.file_of.get(shard.chrom)
        if which is None:
            return np.empty(0, np.uint8), 0
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
                        position = _position(line)
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
                break
            lows = reached  # a record reaches in from the left: read what may overlap it there, too
        lines.append("")
        return np.frombuffer("\n".join(lines).encode(), np.uint8), len(lines) - 1

    def _build(self, shard: Shard, pad: int, text: Bytes, lines: int) -> ShardResult | int:
        """The shard's part of the store, or the padding that its deletions need."""
        tally: Counter[str] = Counter()
        fields = self._scan(shard, text, lines)
        alleles = self._alleles(shard, pad, text, fields, tally)
        reference, origin = self._reference(shard, pad, fields, alleles)
        alleles = self._check_reference(shard, text, fields, alleles, reference, origin, tally)
        counted = self._counted(shard, alleles.start, alleles.end)
        tally["alleles"] += int(counted.sum())
        records, slots = np.unique(alleles.record, return_inverse=True)
        counted_records = np.bincount(slots, counted, len(records)) > 0
        offsets, carriers, numbers, donor_counts, sets = self._genotypes(shard, text, fields, records, counted_records)
        haplotypes = 2 * len(self.donors)
        kept_offsets, kept, set_aside = resolve_overlaps(
            alleles.start, alleles.end, slots, alleles.number, counted, offsets, carriers, numbers, haplotypes
        )
        index, row_offsets, allele_offsets, row_alleles, reach = distinct_haplotypes(
            shard.starts, self.width, alleles.start, alleles.end, alleles.length, kept_offsets, kept, haplotypes
        )
        needed = int(max((shard.starts - reach[:, 0]).max(), (reach[:, 1] - shard.starts - self.width).max()))
        if needed > pad:
            return needed
        sequences = build_sequences(
            shard.starts, self.width, row_offsets, allele_offsets, row_alleles,
            alleles.start, alleles.end, alleles.alt, alleles.length, text, reference, origin,
        )  # fmt: skip
        tally["overlapping"] += set_aside
        seen = alleles.take(counted)
        shiftable = vcf_text.left_shiftable(text, seen.start, seen.end, seen.alt, seen.length, reference, origin)
        tally["not_left_aligned"] += len(shiftable)
        tally["phase_set_changes"] += _phase_set_changes(shard.starts, self.width, fields[records, POS], sets)
        result = ShardResult(
            shard.chrom, sequences, row_offsets, index, allele_offsets, row_alleles, [], donor_counts, tally
        )
        _merge_rows(result)
        _name_variants(result, text, fields, alleles)
        return result

    def _where(self, shard: Shard, text: Bytes, row: Ints) -> str:
        """File, position and alleles of a record, for messages."""
        ref, alt = _string(text, row[REF], row[REF_END]), _string(text, row[ALT], row[ALT_END])
        alleles = " ".join(allele if len(allele) < 30 else allele[:27] + "…" for allele in (ref, alt))
        return f"{self.files[self.file_of[shard.chrom]].path} {shard.chrom}:{row[POS] + 1} {alleles}"

    def _scan(self, shard: Shard, text: Bytes, lines: int) -> Ints:
        fields: Ints = vcf_text.scan_lines(text, lines)
        if (fields[:, SAMPLES] < 0).any():
            bad = fields[np.flatnonzero(fields[:, SAMPLES] < 0)[0]]
            line = _string(text, bad[REF], min(bad[LINE_END], bad[REF] + 60))
            path = self.files[self.file_of[shard.chrom]].path
            raise DataError(f"{path} {shard.chrom}: line '{line}' has too few columns; the file is damaged")
        backwards = np.flatnonzero(np.diff(fields[:, POS]) < 0)
        if len(backwards):
            where = self._where(shard, text, fields[backwards[0] + 1])
            raise DataError(f"{where}: the VCF is not sorted by position; run bcftools sort and index it again")
        return fields

    def _alleles(self, shard: Shard, pad: int, text: Bytes, fields: Ints, tally: Counter[str]) -> Alleles:
        """Alleles that may show in a window, or overlap one that may; the others are counted by reason and left out."""
        table = vcf_text.split_alleles(text, fields)
        for n in np.flatnonzero(table[:, 2] > STAR).tolist():
            row = fields[table[n, 0]]
            alt, info = _string(text, table[n, 5], table[n, 5] + table[n, 6]), _string(text, row[INFO], row[INFO_END])
            removed = symbolic_deletion(alt, info, int(row[POS]), int(row[REF_END] - row[REF]))
            if removed is not None:
                table[n, 2:7] = (SEQUENCE, *removed, 0, 0)
        kind, start, end = table[:, 2], table[:, 3], table[:, 4]
        counted = self._counted(shard, start, end)
        tally["star"] += int((counted & (kind == STAR)).sum())
        tally["symbolic"] += int((counted & (kind > STAR)).sum())
        keep = kind == SEQUENCE
        if self.rules.indels == "skip":
            indel = keep & (end - start != table[:, 6])
            tally["indel"] += int((counted & indel).sum())
            keep &= ~indel
        alleles = Alleles(*np.ascontiguousarray(table[keep][:, [0, 1, 3, 4, 5, 6]].T)).sort()
        return alleles.take(_near(alleles, shard.starts - pad - 1, shard.starts + self.width + pad + 1))

    def _counted(self, shard: Shard, start: Ints, end: Ints) -> NDArray[np.bool_]:
        """Which alleles touch a window of this shard and none of the shards before, so that each is counted once."""
        first = np.searchsorted(shard.starts + self.width, start, side="right")
        inside = np.append(shard.starts, np.iinfo(np.int64).max)[first] < np.maximum(end, start + 1)
        counted: NDArray[np.bool_] = inside & (start >= shard.previous_end)
        return counted

    def _reference(self, shard: Shard, pad: int, fields: Ints, alleles: Alleles) -> tuple[Bytes, int]:
        """The reference around the windows and every allele, and where it begins."""
        rows = fields[alleles.record]
        record_end = rows[:, POS] + rows[:, REF_END] - rows[:, REF]
        origin = min(int(shard.starts[0]) - pad, int(rows[:, POS].min(initial=np.iinfo(np.int64).max)) - 1)
        end = max(int(shard.starts[-1]) + self.width + pad, int(np.maximum(record_end, alleles.end).max(initial=0)))
        origin = max(0, origin)
        return self.fasta.codes(shard.chrom, origin, min(end, self.fasta.lengths[shard.chrom])), origin

    def _check_reference(
        self,
        shard: Shard,
        text: Bytes,
        fields: Ints,
        alleles: Alleles,
        reference: Bytes,
        origin: int,
        tally: Counter[str],
    ) -> Alleles:
        wrong = vcf_text.mismatching_reference(text, fields, alleles.record, reference, origin)
        if not wrong.any():
            return alleles
        if self.rules.on_ref_mismatch == "error":
            row = fields[alleles.record[wrong].min()]
            found = reference[row[POS] - origin : row[POS] - origin + row[REF_END] - row[REF]]
            raise DataError(
                f"{self._where(shard, text, row)}: REF is not the reference, {self.fasta.path} has {decode(found[:30])}; "
                "give the genome that the variants were called on, or drop such records with --on-ref-mismatch skip"
            )
        tally["ref_mismatch"] += int((self._counted(shard, alleles.start, alleles.end) & wrong).sum())
        return alleles.take(~wrong)

    def _genotypes(
        self, shard: Shard, text: Bytes, fields: Ints, records: Ints, counted: NDArray[np.bool_]
    ) -> tuple[Ints, NDArray[np.int32], Bytes, Ints, NDArray[np.int32]]:
        which = self.file_of.get(shard.chrom, 0)
        offsets, carriers, numbers, counts, sets, problem = vcf_text.read_genotypes(
            text, fields, records, counted, self.columns[which], len(self.donors), UNPHASED_MODES[self.rules.unphased],
            np.uint64(self.rules.seed), self.keys, "PS" in self.files[which].formats,
        )  # fmt: skip
        code, record, column = problem.tolist()
        if code:
            samples = self.files[which].samples
            sample = samples[min(column, len(samples) - 1)]
            raise DataError(f"{self._where(shard, text, fields[record])}: {_problem(code, sample, len(samples))}")
        return offsets, carriers, numbers, counts, sets


def _problem(code: int, sample: str, samples: int) -> str:
    if code == vcf_text.UNPHASED:
        return f"heterozygote of donor {sample} is not phased; phase it, or choose --unphased reference or random"
    if code == vcf_text.NO_GENOTYPE:
        return "FORMAT does not begin with GT; give a file with genotypes"
    if code == vcf_text.TOO_MANY_PLOIDS:
        return f"donor {sample} has more than two alleles; only haploid and diploid calls can be used"
    if code == vcf_text.WRONG_COLUMNS:
        return f"the line does not have the header's {samples} sample columns; the file is damaged"
    return f"the genotype of donor {sample} names no allele of the record; the file is damaged"


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


def _merge_rows(result: ShardResult) -> None:
    """Drop rows that spell the sequence of an earlier row of their window."""
    rows = len(result.sequences)
    same = merge_equal_rows(result.sequences, result.row_offsets)
    keep = same == np.arange(rows)
    result.tally["rows_merged"] += rows - int(keep.sum())
    if keep.all():
        return
    new_row = np.append(np.cumsum(keep) - 1, keep.sum())
    old_rows = result.index + result.row_offsets[:-1, None]
    new_offsets = np.append(new_row[result.row_offsets[:-1]], keep.sum())
    result.index = (new_row[same[old_rows]] - new_offsets[:-1, None]).astype(np.int32)
    result.row_offsets = new_offsets
    counts = np.diff(result.allele_offsets)
    result.alleles = result.alleles[np.repeat(keep, counts)]
    result.allele_offsets = np.append(0, np.cumsum(counts[keep]))
    result.sequences = result.sequences[keep]


def _name_variants(result: ShardResult, text: Bytes, fields: Ints, alleles: Alleles) -> None:
    """Describe the alleles that the rows carry and number them within the shard."""
    used, result.alleles = np.unique(result.alleles, return_inverse=True)
    seen = alleles.take(used)
    rows = fields[seen.record]
    for row, start, end, alt, length, number in zip(
        rows.tolist(), seen.start.tolist(), seen.end.tolist(), seen.alt.tolist(), seen.length.tolist(),
        seen.number.tolist(), strict=True,
    ):  # fmt: skip
        ref = _string(text, row[REF], row[REF_END])
        name = _string(text, row[ALT], row[ALT_END]).split(",")[number - 1]
        result.variants.append((row[POS] + 1, ref, name, start, end, _string(text, alt, alt + length).upper()))


def _string(text: Bytes, start: int, end: int) -> str:
    return text[start:end].tobytes().decode()


def _position(line: str) -> int:
    """0-based position of a VCF line."""
    return int(line.split("\t", 2)[1]) - 1
