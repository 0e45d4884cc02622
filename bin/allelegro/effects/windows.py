"""Reference and alternative sequences of variants: fixed-width windows of a genome, or given pairs of sequences."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.effects.variants import Dropped
from allelegro.errors import DataError
from allelegro.io.contigs import contig_hint, match_contigs
from allelegro.io.dna import N, encode
from allelegro.io.fasta import Fasta

Codes = NDArray[np.uint8]


class Genome:
    """A FASTA whose contigs are found with or without ``chr`` and which goes on as N beyond their ends."""

    def __init__(self, path: Path) -> None:
        self._fasta = Fasta(path)
        self.path, self.lengths = path, self._fasta.lengths

    def contig(self, name: str) -> str | None:
        """The FASTA's own name of a contig, or None; ``chr1`` and ``1`` are one."""
        return match_contigs([name], self.lengths)[name]

    def codes(self, contig: str, start: int, end: int) -> Codes:
        """Codes of ``[start, end)``; positions beyond the contig are N."""
        length = self.lengths[contig]
        if start >= 0 and end <= length:
            return self._fasta.codes(contig, start, end)
        padded = np.full(end - start, N, np.uint8)
        first, last = max(start, 0), min(end, length)
        if first < last:
            padded[first - start : last - start] = self._fasta.codes(contig, first, last)
        return padded


@dataclass
class AllelePairs:
    """Sequences of one chunk: ``reference[reference_row[i]]`` and ``alternative[i]`` belong to variant i.

    Both are ``[rows, shifts, width]``; a reference window shared by several variants is kept once.
    """

    reference: Codes
    reference_row: NDArray[np.intp]
    alternative: Codes


def place_variants(frame: pd.DataFrame, genome: Genome, width: int, dropped: Dropped) -> pd.DataFrame:
    """Add ``contig`` (the FASTA's name); drop variants outside it and alleles longer than half a window of ``width``."""
    names = match_contigs(frame["chrom"].unique(), genome.lengths)
    frame = frame.assign(contig=frame["chrom"].map(names))
    frame = dropped.keep(frame, frame["contig"].notna(), "contig_not_in_fasta")
    longest = np.maximum(_lengths(frame["before"]), _lengths(frame["after"]))
    frame = dropped.keep(frame, longest <= width // 2, "allele_longer_than_window")
    ends = frame["start"].to_numpy() + _lengths(frame["before"])
    return dropped.keep(frame, ends <= [genome.lengths[contig] for contig in frame["contig"]], "beyond_contig_end")


def _lengths(alleles: pd.Series) -> NDArray[np.int64]:
    return np.array([len(allele) for allele in alleles], dtype=np.int64)


def reference_agrees(frame: pd.DataFrame, genome: Genome) -> NDArray[np.bool_]:
    """Whether the FASTA has each placed variant's REF."""
    agrees = [
        bool((genome.codes(contig, start, start + len(before)) == encode(before)).all())
        for contig, start, before in zip(frame["contig"], frame["start"], frame["before"], strict=True)
    ]
    return np.array(agrees, dtype=bool)


def genome_pairs(
    frame: pd.DataFrame, genome: Genome, width: int, shifts: list[int], slide: bool = False
) -> AllelePairs:
    """Windows of checked variants: the first replaced base at index ``width // 2 - shift``, the right flank refilled.

    A window of shift s starts ``width // 2 - s`` bases left of the variant; behind an insertion or deletion the
    sequence goes on as the genome does, so that both alleles fill the width. With ``slide`` windows stay inside the
    contig (centred on it where it is shorter), for a FASTA of elements rather than chromosomes.
    """
    margin = max(abs(shift) for shift in shifts)
    before, after = _lengths(frame["before"]), _lengths(frame["after"])
    extra = int((before - after).clip(min=0).max())
    span = width + 2 * margin + extra
    first = frame["start"].to_numpy() - width // 2
    if slide:
        spare = np.array([genome.lengths[contig] for contig in frame["contig"]]) - width
        first = np.where(spare >= 0, first.clip(0, spare.clip(min=0)), spare // 2)
    place = frame["start"].to_numpy() - first + margin
    row, unique = pd.MultiIndex.from_arrays([frame["contig"], first - margin]).factorize()
    regions = np.stack([genome.codes(contig, left, left + span) for contig, left in unique])
    changed = regions[row]
    snv = np.flatnonzero((before == 1) & (after == 1))
    changed[snv, place[snv]] = encode("".join(frame["after"].to_numpy()[snv]))
    for i in np.flatnonzero((before != 1) | (after != 1)):
        allele = encode(frame["after"].iloc[i])
        whole = np.concatenate([changed[i, : place[i]], allele, changed[i, place[i] + before[i] :]])
        used = min(whole.size, span)  # the last ``extra`` bases are only there to refill deletions
        changed[i, :used] = whole[:used]
    return AllelePairs(_shifted(regions, width, margin, shifts), row, _shifted(changed, width, margin, shifts))


def _shifted(regions: Codes, width: int, margin: int, shifts: list[int]) -> Codes:
    return np.stack([regions[:, margin + shift : margin + shift + width] for shift in shifts], axis=1)


def sequence_pairs(table: pd.DataFrame, width: int) -> AllelePairs:
    """Given allele sequences in windows of ``width``: longer ones are cut, shorter ones padded with N.

    The place of the reference sequence (its centre on the window's centre) decides for both alleles, so that they stay
    aligned on the left of the variant.
    """
    reference = np.full((len(table), 1, width), N, np.uint8)
    alternative = np.full((len(table), 1, width), N, np.uint8)
    for i, (ref, alt) in enumerate(zip(table["ref_sequence"], table["alt_sequence"], strict=True)):
        offset = (width - len(ref)) // 2
        _place(reference[i, 0], encode(ref), offset)
        _place(alternative[i, 0], encode(alt), offset)
    return AllelePairs(reference, np.arange(len(table)), alternative)


def _place(row: Codes, codes: Codes, offset: int) -> None:
    if offset < 0:
        codes, offset = codes[-offset:], 0
    used = min(codes.size, row.size - offset)
    row[offset : offset + used] = codes[:used]


def require_contigs(names: Iterable[str], genome: Genome) -> None:
    """Raise DataError when not one of these contigs of variants is in the FASTA (another genome)."""
    names = list(names)
    if not any(match_contigs(names, genome.lengths).values()):
        raise DataError(
            f"{genome.path}: contig {names[0]} of the variants is not in the FASTA; {contig_hint(names, genome.lengths)}"
        )
