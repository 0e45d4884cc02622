"""Reference and alternative sequences of variants: fixed-width windows of a genome, or given pairs of sequences."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.effects.variants import Dropped
from allelegro.errors import DataError
from allelegro.intervals import nearest
from allelegro.io.contigs import contig_hint, match_contigs, plain_contig
from allelegro.io.dna import N, encode
from allelegro.io.fasta import Fasta
from allelegro.models.seen import AROUND

Codes = NDArray[np.uint8]

SURROUNDINGS = 4  # random sequences around alleles that are shorter than the input


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


def place_variants(frame: pd.DataFrame, genome: Genome, dropped: Dropped) -> pd.DataFrame:
    """Add ``contig`` (the FASTA's name); drop variants outside it."""
    names = match_contigs(frame["chrom"].unique(), genome.lengths)
    frame = frame.assign(contig=frame["chrom"].map(names))
    frame = dropped.keep(frame, frame["contig"].notna(), "contig_not_in_fasta")
    ends = frame["start"].to_numpy() + _lengths(frame["before"])
    return dropped.keep(frame, ends <= [genome.lengths[contig] for contig in frame["contig"]], "beyond_contig_end")


def fitting_alleles(frame: pd.DataFrame, width: int, dropped: Dropped) -> pd.DataFrame:
    """The variants of which no allele is longer than half a window of ``width``; the others are dropped."""
    longest = np.maximum(_lengths(frame["before"]), _lengths(frame["after"]))
    return dropped.keep(frame, longest <= width // 2, "allele_longer_than_window")


def nearest_windows(frame: pd.DataFrame, windows: pd.DataFrame) -> NDArray[np.intp]:
    """Row of the window with the nearest centre among those that hold a variant's first base, for each; -1: none.

    ``windows`` (``chrom start end``, 0-based, half-open) are of one width; contigs meet with or without ``chr``.
    """
    found = np.full(len(frame), -1, np.intp)
    plain = frame["chrom"].map(plain_contig)
    for name, here in windows.groupby(windows["chrom"].map(plain_contig)):
        here = here.sort_values("start", kind="stable")
        centres = window_centres(here)
        width = int(here["end"].iloc[0] - here["start"].iloc[0])
        rows = np.flatnonzero(plain == name)
        starts = frame["start"].to_numpy(np.int64)[rows]
        place = nearest(starts, centres)
        offset = starts - centres[place] + width // 2
        inside = (offset >= 0) & (offset < width)
        found[rows[inside]] = here.index.to_numpy()[place[inside]]
    return found


def window_centres(windows: pd.DataFrame) -> NDArray[np.int64]:
    """Positions (0-based) of the base in the middle of each window, as in the haplotype store."""
    start, end = windows["start"].to_numpy(np.int64), windows["end"].to_numpy(np.int64)
    return np.asarray(start + (end - start) // 2)


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
    frame: pd.DataFrame,
    genome: Genome,
    width: int,
    shifts: list[int],
    slide: bool = False,
    centres: NDArray[np.int64] | None = None,
) -> AllelePairs:
    """Windows of checked variants: the first replaced base at index ``width // 2 - shift``, the right flank refilled.

    A window of shift s starts ``width // 2 - s`` bases left of the variant; behind an insertion or deletion the
    sequence goes on as the genome does, so that both alleles fill the width. With ``slide`` windows stay inside the
    contig (centred on it where it is shorter), for a FASTA of elements rather than chromosomes.

    With ``centres`` (one a variant, 0-based) the windows are those of elements, as a haplotype store has them: the
    centre stays at index ``width // 2 - shift`` for both alleles, and the flank on the variant's side is refilled. A
    variant outside its window leaves both alleles alike.
    """
    margin = max(abs(shift) for shift in shifts)
    start, before, after = frame["start"].to_numpy(np.int64), _lengths(frame["before"]), _lengths(frame["after"])
    extra = int((before - after).clip(min=0).max())  # refills deletions
    left = 0 if centres is None else int(before.max())
    first = (start if centres is None else centres) - width // 2
    if slide and centres is None:
        spare = np.array([genome.lengths[contig] for contig in frame["contig"]]) - width
        first = np.where(spare >= 0, first.clip(0, spare.clip(min=0)), spare // 2)
    origin, span = first - margin - left, width + 2 * margin
    row, unique = pd.MultiIndex.from_arrays([frame["contig"], origin]).factorize()
    regions = np.stack([genome.codes(contig, begin, begin + left + span + extra) for contig, begin in unique])
    reference = regions[:, left : left + span]
    changed, place = reference[row], start - origin
    inside = (place >= 0) & (place < left + span)
    snv = np.flatnonzero((before == 1) & (after == 1) & inside & (place >= left))
    changed[snv, place[snv] - left] = encode("".join(frame["after"].to_numpy()[snv]))
    for i in np.flatnonzero(((before != 1) | (after != 1)) & inside):
        # Where the first replaced base is in the middle, nothing left of it moves.
        fixed = 0 if centres is None else int(centres[i] - origin[i])
        edited, moved = _replaced(regions[row[i]], int(place[i]), int(before[i]), encode(frame["after"].iloc[i]), fixed)
        changed[i] = edited[left + moved : left + moved + span]
    return AllelePairs(_shifted(reference, width, margin, shifts), row, _shifted(changed, width, margin, shifts))


def _replaced(region: Codes, place: int, before: int, allele: Codes, fixed: int) -> tuple[Codes, int]:
    """A region with ``before`` bases from ``place`` on replaced, and by how much the base at ``fixed`` has moved.

    The rule is that of :mod:`allelegro.genotype.haplotypes`: an allele before the fixed base moves it, one behind it
    does not, and of one across it as many bases are before it as were.
    """
    edited = np.concatenate([region[:place], allele, region[place + before :]])
    if place + before <= fixed:
        return edited, allele.size - before
    return edited, min(place + allele.size - fixed, 0) if place < fixed else 0


def _shifted(regions: Codes, width: int, margin: int, shifts: list[int]) -> Codes:
    return np.stack([regions[:, margin + shift : margin + shift + width] for shift in shifts], axis=1)


def sequence_pairs(table: pd.DataFrame, width: int, fill: bool = True) -> AllelePairs:
    """Given allele sequences in windows of ``width``: of longer ones the middle, shorter ones within random sequence.

    The place of the reference sequence (its centre on the window's centre) decides for both alleles, so that they stay
    aligned on the left of the variant. What is around shorter sequences is the same for both alleles, and one of
    ``SURROUNDINGS`` for each of as many shifts: no network has seen N, and a single sequence would decide too much.
    Without ``fill`` it is N.
    """
    short = bool((table["ref_sequence"].str.len() < width).any())
    around = _surroundings(width, SURROUNDINGS if short else 1) if fill else np.full((1, width), N, np.uint8)
    reference = np.tile(around, (len(table), 1, 1))
    alternative = reference.copy()
    for i, (ref, alt) in enumerate(zip(table["ref_sequence"], table["alt_sequence"], strict=True)):
        offset = (width - len(ref)) // 2
        _place(reference[i], encode(ref), offset)
        _place(alternative[i], encode(alt), offset)
    return AllelePairs(reference, np.arange(len(table)), alternative)


def _surroundings(width: int, n: int) -> Codes:
    """Random sequences ``[n, width]``, the same in every run."""
    return np.stack([np.random.default_rng(number).integers(0, 4, width, np.uint8) for number in range(n)])


def _place(rows: Codes, codes: Codes, offset: int) -> None:
    """Write codes into ``rows`` ``[shifts, width]`` from ``offset`` on, as far as they fit."""
    if offset < 0:
        codes, offset = codes[-offset:], 0
    used = min(codes.size, rows.shape[1] - offset)
    rows[:, offset : offset + used] = codes[:used]


def reference_around(chrom: pd.Series, start: pd.Series, genome: Genome, width: int = AROUND) -> Codes:
    """Reference sequence ``[n, width]`` around positions (0-based); N where the genome lacks them."""
    names = match_contigs(chrom.unique(), genome.lengths)
    codes = np.full((len(chrom), width), N, np.uint8)
    for row, (name, first) in enumerate(zip(chrom, start.to_numpy(np.int64) - width // 2, strict=True)):
        if contig := names[name]:
            codes[row] = genome.codes(contig, int(first), int(first) + width)
    return codes


def require_contigs(names: Iterable[str], genome: Genome) -> None:
    """Raise DataError when not one of these contigs of variants is in the FASTA (another genome)."""
    names = list(names)
    if not any(match_contigs(names, genome.lengths).values()):
        raise DataError(
            f"{genome.path}: contig {names[0]} of the variants is not in the FASTA; {contig_hint(names, genome.lengths)}"
        )
