"""Peaks of transcription initiation from stranded 5'-end counts, by a multilevel scan against clumped background."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.io.bigwig import Counts, open_signal
from allelegro.io.tables import write_table
from allelegro.procap.background import SCALES, Clumping, Floats, Ints, Mask, companions, local_rate, tail

logger = logging.getLogger(__name__)

PEAK_COLUMNS = ["chrom", "start", "end", "name", "score", "strand", "qvalue", "reads", "summit"]
CANDIDATE_P = 0.01  # a scan window must be this unlikely to become part of a candidate
JOIN = 20  # bp between scan windows of one candidate
MASK_MARGIN = 50  # bp on both sides of a called peak left out of the background
MIN_POSITIONS = 3  # occupied positions in a peak; towers have one
ROUNDS = 4  # calls and background are re-estimated in turn, starting from a cautious background
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

    def gaps(self) -> Mask:
        """What lies between contigs."""
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
    """Candidate peaks of one strand on the genome axis: intervals and the smallest scan p-value of each."""

    start: Ints
    end: Ints
    p: Floats


def shared_contigs(plus: Path, minus: Path) -> dict[str, int]:
    """Contigs listed by both strands' files, with a warning naming those of only one.

    Raises DataError when the files share none (chr1 against 1, or different genomes).
    """
    left, right = open_signal(plus).contigs, open_signal(minus).contigs
    shared = {name: max(length, right[name]) for name, length in left.items() if name in right}
    if not shared:
        raise DataError(
            f"{plus} and {minus} share no contig ({', '.join([*left][:3])}… against {', '.join([*right][:3])}…); "
            "give both strands of one library on one genome"
        )
    for path, names in ((plus, left.keys() - right.keys()), (minus, right.keys() - left.keys())):
        if names:
            logger.warning("%s: only this strand lists %s; left out", path, ", ".join(sorted(names)))
    return shared


def levels(counts: Ints) -> list[int]:
    """1, 2, 4, 8 … up to the third highest site: a peak needs three sites at its level."""
    if len(counts) < MIN_POSITIONS:
        return []
    third = int(np.partition(counts, -MIN_POSITIONS)[-MIN_POSITIONS])
    return [1 << power for power in range(third.bit_length())]


@dataclass(frozen=True)
class Scan:
    """One strand scanned at every level: sites of each level and their companions at each scale, found once."""

    sites: Counts
    positions: list[Ints]
    neighbours: list[list[Ints]]

    @classmethod
    def of(cls, sites: Counts) -> "Scan":
        positions = [sites.positions[sites.counts >= level] for level in levels(sites.counts)]
        return cls(sites, positions, [[companions(p, scale) for scale in SCALES] for p in positions])


def call_strand(scan: Scan, gaps: Mask, genome: int, fdr: float, min_reads: int) -> tuple[Candidates, Floats]:
    """Peaks of one strand and their q-values, best candidates of the last round first masked, then re-tested.

    Every round measures rates and clumping outside the peaks of the round before; the first takes a cautious prior.
    """
    mask, called = gaps, Candidates(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    q = np.empty(0)
    for number in range(ROUNDS):
        candidates, tests = _scan_levels(scan, mask, genome, prior=number == 0)
        reads = _reads_between(scan.sites, candidates.start, candidates.end)
        eligible = reads >= min_reads
        called = Candidates(candidates.start[eligible], candidates.end[eligible], candidates.p[eligible])
        q = benjamini_hochberg(called.p, max(tests, len(called.p)))
        keep = q <= fdr
        called, q = Candidates(called.start[keep], called.end[keep], called.p[keep]), q[keep]
        mask = Mask.union(
            np.concatenate([gaps.start, called.start - MASK_MARGIN]),
            np.concatenate([gaps.end, called.end + MASK_MARGIN]),
        )
    return called, q


def _scan_levels(scan: Scan, mask: Mask, genome: int, prior: bool) -> tuple[Candidates, int]:
    """Candidates over all levels, and the number of tests made on background sites."""
    exposure = max(1, genome - int((mask.end - mask.start).sum()))
    starts, ends, ps, tests = [], [], [], 0
    for position, neighbours in zip(scan.positions, scan.neighbours, strict=True):
        free = ~mask.covers(position)
        rate = local_rate(position, position[free], mask, exposure)
        clumping = Clumping.prior() if prior else Clumping.measure(rate[free], [counts[free] for counts in neighbours])
        tests += len(SCALES) * int(free.sum())
        for column, (scale, observed) in enumerate(zip(SCALES, neighbours, strict=True)):
            # Only an excess of at least two companions can be evidence: the rest of the sites have p near 1.
            hopeful = np.flatnonzero((observed >= MIN_POSITIONS - 1) & (observed > rate * scale))
            p = tail(observed[hopeful], rate[hopeful] * scale, clumping.at(rate[hopeful], column))
            hits = p <= CANDIDATE_P
            first = hopeful[hits]
            starts.append(position[first])
            ends.append(position[first + observed[first]] + 1)
            ps.append(p[hits])
    return _join(np.concatenate(starts), np.concatenate(ends), np.concatenate(ps)), tests


def _join(start: Ints, end: Ints, p: Floats) -> Candidates:
    """Join scan windows that overlap or lie within ``JOIN`` bp; a candidate keeps the smallest p."""
    if len(start) == 0:
        return Candidates(start, end, p)
    order = np.argsort(start, kind="stable")
    start, end, p = start[order], end[order], p[order]
    reach = np.maximum.accumulate(end)
    first = np.flatnonzero(np.concatenate([[True], start[1:] > reach[:-1] + JOIN]))
    return Candidates(start[first], np.maximum.reduceat(end, first), np.minimum.reduceat(p, first))


def benjamini_hochberg(p: Floats, tests: int) -> Floats:
    """q-values of ``p`` when ``tests`` hypotheses were tested and those not listed have p = 1."""
    if len(p) == 0:
        return p
    order = np.argsort(p)
    q = np.empty(len(p))
    q[order] = np.minimum.accumulate((p[order] * tests / np.arange(1, len(p) + 1))[::-1])[::-1]
    return np.minimum(q, 1)


def _reads_between(sites: Counts, start: Ints, end: Ints) -> Ints:
    total = np.concatenate([[0], np.cumsum(sites.counts)])
    return total[np.searchsorted(sites.positions, end)] - total[np.searchsorted(sites.positions, start)]


def summits(sites: Counts, start: Ints, end: Ints) -> Ints:
    """The occupied position of each interval with most reads around it (triangular kernel of ``SUMMIT_REACH`` bp)."""
    if len(start) == 0:
        return start
    low, high = np.searchsorted(sites.positions, start), np.searchsorted(sites.positions, end)
    size = high - low
    first = np.concatenate([[0], np.cumsum(size)[:-1]])
    member = np.repeat(low - first, size) + np.arange(size.sum())
    at = sites.positions[member]
    support = sum(_reads_between(sites, at - reach, at + reach + 1) for reach in range(SUMMIT_REACH)).astype(np.int64)
    best = np.maximum.reduceat(support, first)
    winner = np.flatnonzero(support == np.repeat(best, size))
    owner = np.repeat(np.arange(len(start)), size)[winner]
    _, leading = np.unique(owner, return_index=True)
    return at[winner[leading]]


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
    return np.clip(np.rint(-10 * np.log10(np.maximum(q, 1e-300))), 0, 1000).astype(np.int64)


def call_peaks(plus: Path, minus: Path, fdr: float, min_reads: int) -> pd.DataFrame:
    """Call peaks on both strands (bigWig or bedGraph of raw 5'-end counts; a negative minus strand is taken as positive).

    Returns the peaks format of docs/development.md, sorted; empty when nothing is significant.
    Raises DataError for normalised counts, unreadable files and strands without a common contig.
    """
    axis = GenomeAxis(shared_contigs(plus, minus))
    gaps, genome = axis.gaps(), int(axis.offsets[-1] + [*axis.contigs.values()][-1] + PAD)
    tables = []
    for path, strand in ((plus, "+"), (minus, "-")):
        signal = open_signal(path)
        sites = axis.place({contig: signal.counts(contig) for contig in axis.contigs})
        scan = Scan.of(sites)
        found, q = (
            call_strand(scan, gaps, genome, fdr, min_reads)
            if scan.positions
            else (Candidates(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)), np.empty(0))
        )
        logger.info("%s: %d reads at %d positions, %d peaks", path, sites.counts.sum(), len(sites.counts), len(q))
        tables.append(peak_table(axis, sites, found, q, strand))
    peaks = pd.concat(tables, ignore_index=True)
    order = {contig: number for number, contig in enumerate(axis.contigs)}
    peaks = peaks.sort_values(["chrom", "start", "strand"], key=lambda c: c.map(order) if c.name == "chrom" else c)
    peaks["name"] = [f"peak_{number}" for number in range(1, len(peaks) + 1)]
    return peaks.reset_index(drop=True)


def write_bed(table: pd.DataFrame, path: Path) -> None:
    """Write peaks, elements or windows with their ``#chrom`` header, atomically."""
    write_table(table.rename(columns={"chrom": "#chrom"}), path)
