"""Peaks of transcription initiation from stranded 5'-end counts, by a multilevel scan against clumped background."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.intervals import Ints, chain_starts, concatenated_ranges, union
from allelegro.io.signal import Counts, StrandedSignal
from allelegro.io.tables import COUNT, NAME, NUMBER, TEXT, WHOLE, write_table
from allelegro.procap.background import SCALES, Clumping, Floats, Level, Mask, exposures, stutters, tail
from allelegro.statistics import benjamini_hochberg, ranks

logger = logging.getLogger(__name__)

PEAK_KINDS = {
    "chrom": NAME, "start": COUNT, "end": COUNT, "name": TEXT, "score": NUMBER, "strand": TEXT, "qvalue": NUMBER,
    "reads": WHOLE, "summit": COUNT,
}  # fmt: skip
PEAK_COLUMNS = list(PEAK_KINDS)
CANDIDATE_P = 0.01  # a scan window must be this unlikely to become part of a candidate
JOIN = 20  # bp between scan windows of one candidate
MASK_MARGIN = 50  # bp on both sides of a called peak excluded from the background
MIN_POSITIONS = 3  # occupied positions in a peak; pile-ups of PCR duplicates have one
MAX_ROUNDS = 8
SETTLED = 0.01  # relative change of the number of peaks at which the rounds end
FLAT_WIDTH = 250  # bp from which a peak must have a middle to be told from a stack of rRNA-like reads
FLAT_REACH = 1000  # bp on both sides of a peak that tell how dense the background around it is
FLAT_CONTRAST = 6  # times denser in sites than that a peak need not be asked
FLAT_THINNING = 0.1  # rank correlation of reads with closeness to the middle below which there is none
PAD = max(10_000, 2 * SCALES[-1])  # bp between contigs on the genome axis, masked
SUMMIT_REACH = 5  # bp over which reads support a summit


@dataclass(frozen=True)
class GenomeAxis:
    """Contigs laid end to end with masked gaps, so that one pass serves the whole genome."""

    contigs: dict[str, int]

    @property
    def offsets(self) -> Ints:
        """Start of each contig on the axis."""
        lengths = np.array([*self.contigs.values()], np.int64)
        return PAD + np.concatenate([[0], np.cumsum(lengths + PAD)[:-1]]).astype(np.int64)

    @property
    def length(self) -> int:
        """Length of the axis, gaps included."""
        return int(sum(self.contigs.values()) + PAD * (len(self.contigs) + 1))

    def gaps(self) -> Mask:
        """The gaps between contigs."""
        lengths = np.array([*self.contigs.values()], np.int64)
        ends = self.offsets + lengths
        return Mask(np.concatenate([[0], ends]), np.concatenate([self.offsets, ends[-1:] + PAD]))

    def place(self, counts: dict[str, Counts]) -> Counts:
        """One strand's sites on the axis."""
        parts = [counts[contig].positions + offset for contig, offset in zip(self.contigs, self.offsets, strict=True)]
        return Counts(np.concatenate(parts), np.concatenate([counts[contig].counts for contig in self.contigs]))

    def contig_of(self, position: Ints) -> tuple[NDArray[np.str_], Ints]:
        """Contig names and the offsets to subtract for positions on the axis."""
        number = np.searchsorted(self.offsets, position, side="right") - 1
        return np.array([*self.contigs])[number], self.offsets[number]


@dataclass(frozen=True)
class Candidates:
    """Scan windows or candidate peaks of one strand on the genome axis, with their (smallest) p-values."""

    start: Ints
    end: Ints
    p: Floats

    @classmethod
    def concatenate(cls, parts: Sequence["Candidates"]) -> "Candidates":
        """All parts in one."""
        start, end = (np.concatenate([getattr(part, name) for part in parts]) for name in ("start", "end"))
        return cls(start, end, np.concatenate([part.p for part in parts]))

    def take(self, which: NDArray[np.bool_]) -> "Candidates":
        """Those marked."""
        return Candidates(self.start[which], self.end[which], self.p[which])


_EMPTY = Candidates(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


def levels(counts: Ints) -> list[int]:
    """1, 2, 4, 8 … up to the third highest site: a peak needs three sites at its level."""
    if len(counts) < MIN_POSITIONS:
        return []
    third = int(np.partition(counts, -MIN_POSITIONS)[-MIN_POSITIONS])
    return [1 << power for power in range(third.bit_length())]


def call_strand(sites: Counts, gaps: Mask, genome: int, fdr: float, min_reads: int) -> tuple[Candidates, Floats]:
    """Peaks of one strand and their q-values.

    Calling and background take turns: each round measures rates and clumping outside the peaks of the round before, the
    first with no peak known, until the number of peaks settles.
    """
    own = ~stutters(sites.positions, sites.counts)
    position, count = sites.positions[own], sites.counts[own]
    scan = [Level.of(position, count, reads) for reads in levels(count)]
    mask, peaks, q = gaps, _EMPTY, np.empty(0)
    for _ in range(MAX_ROUNDS if scan else 0):
        before = len(q)
        windows, tests = _scan(scan, mask, genome)
        peaks, q = _select(windows, sites, tests, fdr, min_reads)
        mask = _with_margin(gaps, peaks)
        if abs(len(q) - before) <= SETTLED * before:
            break
    return peaks, q


def _select(windows: Candidates, sites: Counts, tests: int, fdr: float, min_reads: int) -> tuple[Candidates, Floats]:
    """Join scan windows into candidates, keep those at the FDR, and redraw them from windows at their p-value threshold."""
    joined = _with_reads(_join(windows), sites, min_reads)
    q = benjamini_hochberg(joined.p, tests + len(joined.p))
    if not np.any(q <= fdr):
        return _EMPTY, np.empty(0)
    peaks = _with_reads(_join(windows.take(windows.p <= joined.p[q <= fdr].max())), sites, min_reads)
    return peaks, benjamini_hochberg(peaks.p, tests + len(joined.p))


def _with_reads(peaks: Candidates, sites: Counts, min_reads: int) -> Candidates:
    return peaks.take(_reads_between(sites, peaks.start, peaks.end) >= min_reads)


def _with_margin(gaps: Mask, peaks: Candidates) -> Mask:
    start = np.concatenate([gaps.start, peaks.start - MASK_MARGIN])
    return Mask(*union(start, np.concatenate([gaps.end, peaks.end + MASK_MARGIN])))


def _scan(scan: list[Level], mask: Mask, genome: int) -> tuple[Candidates, int]:
    """Unlikely windows of all levels and scales, and the number of tests made on background sites."""
    free = ~mask.covers(scan[0].position)
    exposure = exposures(scan[0].position, mask)
    unmasked = max(1, genome - int((mask.end - mask.start).sum()))
    found, tests = [_EMPTY], 0
    for level in scan:
        own = free[level.among]
        rate = level.rate(own, [bp[level.among] for bp in exposure], unmasked)
        gap = np.diff(level.position, prepend=level.position[:1] - PAD)
        clumping = Clumping.measure(rate[own], [counts[own] for counts in level.companions], gap[own])
        tests += len(SCALES) * int(own.sum())
        for column, (scale, observed) in enumerate(zip(SCALES, level.companions, strict=True)):
            mean = rate * scale
            # No tail is below CANDIDATE_P for fewer companions than these, whatever the clumping.
            hopeful = np.flatnonzero(observed >= np.maximum(MIN_POSITIONS - 1, mean + 2 * np.sqrt(mean)))
            p = tail(observed[hopeful], mean[hopeful], clumping.at(rate[hopeful], column))
            first = hopeful[p <= CANDIDATE_P]
            last = level.position[first + observed[first]]
            found.append(Candidates(level.position[first], last + 1, p[p <= CANDIDATE_P]))
    return Candidates.concatenate(found), tests


def _join(windows: Candidates) -> Candidates:
    """Join scan windows that overlap or are within ``JOIN`` bp; a candidate keeps the smallest p."""
    if len(windows.start) == 0:
        return windows
    order = np.argsort(windows.start, kind="stable")
    start, end, p = windows.start[order], windows.end[order], windows.p[order]
    first = np.flatnonzero(chain_starts(start, end, JOIN))
    return Candidates(start[first], np.maximum.reduceat(end, first), np.minimum.reduceat(p, first))


def _reads_between(sites: Counts, start: Ints, end: Ints) -> Ints:
    total = np.concatenate([[0], np.cumsum(sites.counts)])
    reads: Ints = total[np.searchsorted(sites.positions, end)] - total[np.searchsorted(sites.positions, start)]
    return reads


def flat(sites: Counts, start: Ints, end: Ints, mask: Mask) -> NDArray[np.bool_]:
    """Whether an interval is a dense stretch of background, such as a piece of a gene body or a stack of rRNA-like reads.

    It is when its reads do not thin out from their middle as those of a cluster do. Asked are intervals hardly denser in sites than
    the background around them (outside ``mask``: gaps and peaks), where that puts a site or more into them, and those too
    wide for a cluster.
    """
    free = sites.positions[~mask.covers(sites.positions)]
    low, high = start - FLAT_REACH, end + FLAT_REACH
    exposure = high - low - (mask.length_before(high) - mask.length_before(low))
    around = np.searchsorted(free, high) - np.searchsorted(free, low)
    expected = around / np.maximum(exposure, 1) * (end - start)
    own = np.searchsorted(sites.positions, end) - np.searchsorted(sites.positions, start)
    asked = (end - start >= FLAT_WIDTH) | ((expected >= 1) & (own < FLAT_CONTRAST * expected))
    found = np.zeros(len(start), bool)
    for number in np.flatnonzero(asked):
        found[number] = thinning(sites, int(start[number]), int(end[number])) < FLAT_THINNING
    return found


def thinning(sites: Counts, start: int, end: int) -> float:
    """Spearman's rank correlation, over the bases of an interval, of their reads with their closeness to the reads' median."""
    low, high = np.searchsorted(sites.positions, [start, end])
    position, count = sites.positions[low:high] - start, sites.counts[low:high]
    reads = np.bincount(position, count, end - start)
    middle = position[np.searchsorted(np.cumsum(count), count.sum() / 2)]
    if reads.min() == reads.max():
        return 0.0
    return float(-np.corrcoef(ranks(reads), ranks(np.abs(np.arange(end - start) - middle)))[0, 1])


def _members(sites: Counts, start: Ints, end: Ints) -> tuple[Ints, Ints, Ints]:
    """Indices of the sites in each interval one after the other, where each interval's begin, and how many it has."""
    low, high = np.searchsorted(sites.positions, start), np.searchsorted(sites.positions, end)
    size = high - low
    first = np.cumsum(size) - size
    return concatenated_ranges(low, size), first, size


def summits(sites: Counts, start: Ints, end: Ints) -> Ints:
    """The occupied position of each interval with most reads around it (triangular kernel of ``SUMMIT_REACH`` bp)."""
    if len(start) == 0:
        return start
    member, first, size = _members(sites, start, end)
    at = sites.positions[member]
    support = np.sum([_reads_between(sites, at - reach, at + reach + 1) for reach in range(SUMMIT_REACH)], axis=0)
    best = np.maximum.reduceat(support, first)
    winner = np.flatnonzero(support == np.repeat(best, size))
    owner = np.repeat(np.arange(len(start)), size)[winner]
    _, leading = np.unique(owner, return_index=True)
    summit: Ints = at[winner[leading]]
    return summit


def peak_table(axis: GenomeAxis, sites: Counts, peaks: Candidates, q: Floats, strand: str) -> pd.DataFrame:
    """Peaks of one strand in the columns of the peaks format."""
    contig, offset = axis.contig_of(peaks.start)
    return pd.DataFrame(
        {
            "chrom": contig,
            "start": peaks.start - offset,
            "end": peaks.end - offset,
            "name": "",
            "score": bed_score(q),
            "strand": strand,
            "qvalue": q,
            "reads": _reads_between(sites, peaks.start, peaks.end),
            "summit": summits(sites, peaks.start, peaks.end) - offset,
        },
        columns=PEAK_COLUMNS,
    )


def bed_score(q: Floats) -> Ints:
    """−10·log10 q, whole and held to BED's 0 to 1000."""
    score: Ints = np.clip(np.rint(-10 * np.log10(np.maximum(q, 1e-300))), 0, 1000).astype(np.int64)
    return score


def call_peaks(plus: Path, minus: Path, fdr: float, min_reads: int) -> pd.DataFrame:
    """Call peaks on both strands (bigWig or bedGraph of raw 5'-end counts; a negative minus strand is taken as positive).

    Returns the peaks format of docs/formats.md, sorted; empty when nothing is significant.
    Raises DataError for normalised counts, unreadable files and strands without a common contig.
    """
    signal = StrandedSignal((plus, minus))
    axis = GenomeAxis(signal.contigs)
    gaps, genome = axis.gaps(), axis.length
    tables = []
    for number, (strand, path) in enumerate((("+", plus), ("-", minus))):
        sites = axis.place({contig: signal.strand(number, contig) for contig in axis.contigs})
        peaks, q = call_strand(sites, gaps, genome, fdr, min_reads)
        stack = flat(sites, peaks.start, peaks.end, _with_margin(gaps, peaks))
        peaks, q = peaks.take(~stack), q[~stack]
        logger.info(
            "%s: %d reads at %d positions, %d peaks, %d flat stacks excluded",
            path, sites.counts.sum(), len(sites.counts), len(q), stack.sum(),
        )  # fmt: skip
        tables.append(peak_table(axis, sites, peaks, q, strand))
    peaks_of_both = pd.concat(tables, ignore_index=True)
    rank = peaks_of_both["chrom"].map({contig: number for number, contig in enumerate(axis.contigs)})
    order = np.lexsort((peaks_of_both["strand"], peaks_of_both["start"], rank))
    peaks_of_both = peaks_of_both.iloc[order].reset_index(drop=True)
    peaks_of_both["name"] = [f"peak_{number}" for number in range(1, len(peaks_of_both) + 1)]
    return peaks_of_both


def write_bed(table: pd.DataFrame, path: Path) -> None:
    """Write peaks, elements or windows with their ``#chrom`` header, atomically."""
    write_table(table.rename(columns={"chrom": "#chrom"}), path)
