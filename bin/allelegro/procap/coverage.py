"""Stranded coverage of read ends: alignments or signal files of one library into a bigWig pair and its quality figures."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.intervals import inside, run_starts
from allelegro.io.atomic import atomic_path
from allelegro.io.bigwig import PIECE, BigWigWriter, stranded_writers
from allelegro.io.documents import read_document
from allelegro.io.signal import StrandedSignal
from allelegro.procap.bam import CONTIG_SHIFT, POSITION_MASK, TALLIES, AlignmentStream, ReadRules, open_runs
from allelegro.procap.regions import ContigFilter, blacklist_keys

_COMPACT_AT = 4_000_000  # read ends kept apart before equal ones are counted together
_CURVE_POINTS = 20
_KEPT_CONTIGS = "on kept contigs"
_UNALIGNED = TALLIES[1:6]  # why a record is no alignment of the read that counts

log = logging.getLogger(__name__)


# ------------------------------------------------------------------------------------------------ from alignments


@dataclass
class _Buffer:
    """Read ends on their way out: equal ones are counted together (and, with UMIs, collapsed to molecules)."""

    with_umis: bool
    keys: list[NDArray[np.uint64]] = field(default_factory=list)
    umis: list[NDArray[np.uint64]] = field(default_factory=list)
    sizes: list[NDArray[np.int64]] = field(default_factory=list)
    waiting: int = 0
    most: int = _COMPACT_AT

    def add(self, keys: NDArray[np.uint64], umis: NDArray[np.uint64]) -> None:
        """Put read ends into the buffer."""
        if self.with_umis:
            self._push(keys, umis, np.ones(len(keys), np.int64))
        else:
            keys = np.sort(keys)
            heads = run_starts(keys)
            self._push(keys[heads], umis, np.diff(heads, append=len(keys)))
        if self.waiting > self.most:
            self._push(*self._compact())
            self.most = max(_COMPACT_AT, 2 * self.waiting)

    def take(self, boundary: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Take what is below ``boundary``: keys in order (one entry a molecule with UMIs) and reads of each."""
        keys, umis, sizes = self._compact()
        cut = int(np.searchsorted(keys, np.uint64(boundary)))
        self._push(keys[cut:], umis[cut:], sizes[cut:])
        return keys[:cut], sizes[:cut]

    def _push(self, keys: NDArray[np.uint64], umis: NDArray[np.uint64], sizes: NDArray[np.int64]) -> None:
        self.keys.append(keys)
        self.umis.append(umis)
        self.sizes.append(sizes)
        self.waiting += len(keys)

    def _compact(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]:
        if not self.waiting:
            return np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.int64)
        keys, umis, sizes = np.concatenate(self.keys), np.concatenate(self.umis), np.concatenate(self.sizes)
        self.keys, self.umis, self.sizes, self.waiting = [], [], [], 0
        order = np.lexsort((umis, keys)) if self.with_umis else np.argsort(keys, kind="stable")
        keys, umis, sizes = keys[order], umis[order] if self.with_umis else umis, sizes[order]
        new = keys[1:] != keys[:-1]
        if self.with_umis:
            new |= umis[1:] != umis[:-1]
        heads = np.flatnonzero(np.concatenate(([True], new)))
        return keys[heads], umis[heads] if self.with_umis else umis, np.add.reduceat(sizes, heads)


def _ordered_ends(
    streams: Sequence[AlignmentStream], rules: ReadRules
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.int64]]]:
    """Read ends of all runs together in genome order, in pieces that end at multiples of PIECE or of a contig."""
    buffer = _Buffer(rules.umi != "none")
    batches = [stream.batches(rules) for stream in streams]
    marks: list[int | None] = [0] * len(streams)
    done = 0
    while True:
        behind = min((n for n, mark in enumerate(marks) if mark is not None), key=lambda n: marks[n] or 0, default=None)
        if behind is None:
            yield buffer.take(len(streams[0].contigs) + 1 << CONTIG_SHIFT)
            return
        batch = next(batches[behind], None)
        marks[behind] = batch.watermark if batch is not None else None
        if batch is not None and len(batch.keys):
            buffer.add(batch.keys, batch.umis)
        lowest = min((mark for mark in marks if mark is not None), default=0)
        contig, position = lowest >> CONTIG_SHIFT, (lowest & POSITION_MASK) >> 1
        boundary = contig << CONTIG_SHIFT | position // PIECE * PIECE << 1
        if boundary > done and buffer.waiting:
            done = boundary
            yield buffer.take(boundary)


def _write_keys(
    keys: NDArray[np.uint64],
    counts: NDArray[np.int64],
    names: Sequence[str],
    writers: tuple[BigWigWriter, BigWigWriter],
) -> None:
    """Write counts at distinct sorted keys, contig by contig, strand by strand."""
    contigs = (keys >> np.uint64(CONTIG_SHIFT)).astype(np.int64)
    positions = (keys & np.uint64(POSITION_MASK)).astype(np.int64)
    for first, last in pairwise([*run_starts(contigs).tolist(), len(keys)]):
        here = slice(first, last)
        for strand, writer in enumerate(writers):
            chosen = (positions[here] & 1) == strand
            writer.add(names[contigs[first]], positions[here][chosen] >> 1, counts[here][chosen])


def coverage_of_reads(
    reads: Sequence[Path],
    prefix: Path,
    *,
    library: str,
    library_type: str,
    rules: ReadRules,
    contigs: ContigFilter,
    blacklist: Path | None = None,
    reference: Path | None = None,
    alignment: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write ``PREFIX.plus.bw``, ``PREFIX.minus.bw`` and ``PREFIX.qc.json`` of one library; its alignment files are runs, summed.

    Duplicates by UMI are collapsed over all runs together. ``alignment`` is the report of align_reads.py on these reads: its
    steps come first, and its complexity is kept where it has collapsed duplicates. Returns what the JSON holds. Raises DataError
    when files disagree in their contigs or with ``alignment``, a file is unreadable, or no read is left, naming the filter.
    """
    streams = open_runs(reads, reference, contigs.mask)
    lengths, kept = streams[0].contigs, streams[0].kept
    names = list(lengths)
    wanted = {name: length for (name, length), keep in zip(lengths.items(), kept, strict=True) if keep}
    blacklisted = blacklist_keys(blacklist, lengths)
    figures = _Figures(umis=rules.umi != "none")
    paths = Path(f"{prefix}.plus.bw"), Path(f"{prefix}.minus.bw")
    with stranded_writers(*paths, wanted) as writers, atomic_path(Path(f"{prefix}.qc.json")) as report:
        for keys, sizes in _ordered_ends(streams, rules):
            molecules = len(keys) if figures.umis else int(sizes.sum())
            outside = ~inside(keys, *blacklisted)
            figures.see(sizes, molecules)
            if figures.umis:
                keys, counts = np.unique(keys[outside], return_counts=True)
            else:
                keys, counts = keys[outside], sizes[outside]
            figures.count(keys, counts)
            _write_keys(keys, counts, names, writers)
        tally = np.sum([stream.tally for stream in streams], axis=0)
        qc = figures.summary(tally, rules, blacklist is not None)
        if alignment is not None:
            qc |= _after_alignment(alignment, qc, reads[0])
        if not figures.counted:
            raise DataError(f"{', '.join(map(str, reads))}: no read is left; {_emptied_by(qc['steps'])}")
        qc = {
            "library": library,
            "library_type": library_type,
            "inputs": [path.name for path in reads],
            **qc,
            "contigs": {"kept": int(kept.sum()), "excluded": int((~kept).sum())},
        }
        report.write_text(json.dumps(qc, indent=1) + "\n")
    log.info("%s: %d of %d alignments counted", prefix, figures.counted, tally[0])
    return qc


def read_alignment_report(path: Path) -> dict[str, Any]:
    """The report that align_reads.py writes with a BAM; raises DataError when it is missing or something else."""
    return read_document(path, ["steps", "dropped", "deduplicated", "complexity"], "align_reads.py")


def _after_alignment(alignment: Mapping[str, Any], qc: Mapping[str, Any], reads: Path) -> dict[str, Any]:
    """The steps and losses from FASTQ to counts, and the complexity before duplicates were collapsed."""
    own = qc["steps"]
    first = next(number for number, step in enumerate(own) if step["step"] == _KEPT_CONTIGS)
    aligned = alignment["steps"][-1]["reads"]
    if own[first - 1]["reads"] != aligned:
        raise DataError(
            f"{reads}: {own[first - 1]['reads']} reads are aligned, but its alignment report says {aligned}; "
            "give the report that was written with this BAM"
        )
    complexity = alignment["complexity"] or qc["complexity"]
    later = {reason: reads for reason, reads in qc["dropped"].items() if reason not in _UNALIGNED}
    return {
        "steps": [*alignment["steps"], *own[first:]],
        "dropped": {**later, **alignment["dropped"]},
        "complexity": complexity,
    }


def complexity_of_reads(path: Path, rules: ReadRules) -> dict[str, Any]:
    """Duplication and complexity curve of all reads of one BAM that pass ``rules`` (see :func:`complexity`)."""
    stream, figures = AlignmentStream(path), _Figures(umis=rules.umi != "none")
    for keys, sizes in _ordered_ends([stream], rules):
        figures.see(sizes, len(keys))
    return complexity(figures.histogram, figures.unit)


def _emptied_by(steps: Sequence[Mapping[str, Any]]) -> str:
    """Which step left nothing."""
    for before, after in pairwise(steps):
        if before["reads"] and not after["reads"]:
            return f"the step '{after['step']}' dropped all {before['reads']} that reached it"
    return "the input has no alignments"


@dataclass
class _Figures:
    """What is counted on the way: strands, duplication histogram, positions."""

    umis: bool
    histogram: dict[int, int] = field(default_factory=dict)
    reads: int = 0
    molecules: int = 0
    strands: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, np.int64))
    positions: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2, np.int64))

    @property
    def unit(self) -> str:
        """What duplicates are told by."""
        return "molecules" if self.umis else "5' positions"

    @property
    def counted(self) -> int:
        """Read ends in the coverage, both strands."""
        return int(self.strands.sum())

    def see(self, sizes: NDArray[np.int64], molecules: int) -> None:
        """Take in the reads of each molecule (of each position without UMIs), before the blacklist."""
        self.reads += int(sizes.sum())
        self.molecules += molecules
        times, how_often = np.unique(sizes, return_counts=True)
        for size, number in zip(times.tolist(), how_often.tolist(), strict=True):
            self.histogram[size] = self.histogram.get(size, 0) + number

    def count(self, keys: NDArray[np.uint64], counts: NDArray[np.int64]) -> None:
        """Take in what is written."""
        minus = (keys & np.uint64(1)).astype(bool)
        self.strands += np.array([counts[~minus].sum(), counts[minus].sum()])
        self.positions += np.array([(~minus).sum(), minus.sum()])

    def summary(self, tally: NDArray[np.int64], rules: ReadRules, blacklisted: bool) -> dict[str, Any]:
        """The figures as the JSON has them."""
        seen = dict(zip(TALLIES, tally.tolist(), strict=True))
        steps = [{"step": "alignments", "reads": seen["alignments"]}]

        def step(name: str, *reasons: str) -> None:
            steps.append({"step": name, "reads": steps[-1]["reads"] - sum(seen[reason] for reason in reasons)})

        step("primary and mapped", "unmapped", "secondary", "supplementary", "failed quality control")
        if seen["other mate"]:
            step(f"mate {rules.mate}", "other mate")
        step(_KEPT_CONTIGS, "excluded contig")
        step(f"MAPQ at least {rules.min_mapq}", "low MAPQ")
        if rules.drop_flagged_duplicates:
            step("not flagged duplicate", "flagged duplicate")
        if rules.max_clip is not None:
            step(f"at most {rules.max_clip} bases clipped", "long 5' clip")
        if self.umis:
            steps.append({"step": "distinct molecules (position and UMI)", "reads": self.molecules})
        if blacklisted:
            steps.append({"step": "outside the blacklist", "reads": self.counted})
        dropped = {reason: seen[reason] for reason in TALLIES[1:10]}
        dropped["duplicate UMI"] = self.reads - self.molecules
        dropped["blacklist"] = self.molecules - self.counted
        plus, minus = self.strands.tolist()
        return {
            "steps": steps,
            "dropped": dropped,
            "flagged_duplicates": seen["flagged duplicates seen"],
            "five_prime": {
                "soft_clipped_one_g": seen["5' soft clip of one G"],
                "soft_clipped_other": seen["5' soft clip of other bases"],
                "mismatched_g_moved": seen["mismatched 5' G moved"],
            },
            "strands": {"plus": plus, "minus": minus},
            "positions": {"plus": int(self.positions[0]), "minus": int(self.positions[1])},
            "complexity": complexity(self.histogram, self.unit),
        }


def complexity(histogram: Mapping[int, int], unit: str) -> dict[str, Any]:
    """Duplication and the complexity curve from how many ``unit`` were read once, twice, … (exact expectations).

    ``distinct`` of the curve is the expected number of units among a random share of the reads; ``estimated_total`` is
    Chao's (1984) lower bound of the number of units in the library, from those read once and twice.
    """
    times = np.array(sorted(histogram), np.float64)
    units = np.array([histogram[int(size)] for size in times], np.float64)
    reads, distinct = int((times * units).sum()), int(units.sum())
    shares = np.arange(1, _CURVE_POINTS + 1) / _CURVE_POINTS
    curve = [(units * -np.expm1(times * np.log1p(-share))).sum() if share < 1 else distinct for share in shares]
    once, twice = histogram.get(1, 0), histogram.get(2, 0)
    return {
        "unit": unit,
        "reads": reads,
        "distinct": distinct,
        "duplication": 1 - distinct / reads if reads else 0.0,
        "estimated_total": distinct + once * (once - 1) / (2 * (twice + 1)),
        "curve": [[round(share * reads), round(float(value))] for share, value in zip(shares, curve, strict=True)],
        "histogram": [[size, histogram[size]] for size in sorted(histogram)],
    }


# ---------------------------------------------------------------------------------------------- from signal files


def coverage_of_signal(
    pairs: Sequence[tuple[Path, Path]],
    prefix: Path,
    *,
    library: str,
    library_type: str,
    flip: bool,
    contigs: ContigFilter,
    blacklist: Path | None = None,
) -> dict[str, Any]:
    """Like :func:`coverage_of_reads` from bigWig or bedGraph strand pairs of raw counts (runs are summed).

    Strands become non-negative, contigs and blacklist are filtered; what happened to the reads before is not known here.
    """
    signal = StrandedSignal(*((minus, plus) if flip else (plus, minus) for plus, minus in pairs), counted=contigs.keeps)
    lengths = signal.contigs
    kept = contigs.mask(lengths, pairs[0][0])
    wanted = {name: length for (name, length), keep in zip(lengths.items(), kept, strict=True) if keep}
    blacklisted = blacklist_keys(blacklist, lengths)
    strands, positions = np.zeros(2, np.int64), np.zeros(2, np.int64)
    total = excluded = in_blacklist = 0
    paths = Path(f"{prefix}.plus.bw"), Path(f"{prefix}.minus.bw")
    with stranded_writers(*paths, wanted) as writers, atomic_path(Path(f"{prefix}.qc.json")) as report:
        for number, name in enumerate(lengths):
            for strand, writer in enumerate(writers):
                counts = signal.strand(strand, name)
                total += int(counts.counts.sum())
                if not kept[number]:
                    excluded += int(counts.counts.sum())
                    continue
                keys = (counts.positions << 1 | number << CONTIG_SHIFT).astype(np.uint64)
                outside = ~inside(keys, *blacklisted)
                in_blacklist += int(counts.counts[~outside].sum())
                strands[strand] += int(counts.counts[outside].sum())
                positions[strand] += int(outside.sum())
                writer.add(name, counts.positions[outside], counts.counts[outside])
        steps = [{"step": "5' ends given", "reads": total}, {"step": _KEPT_CONTIGS, "reads": total - excluded}]
        if blacklist is not None:
            steps.append({"step": "outside the blacklist", "reads": int(strands.sum())})
        if not strands.sum():
            raise DataError(f"{pairs[0][0]}, {pairs[0][1]}: no read is left; {_emptied_by(steps)}")
        qc = {
            "library": library,
            "library_type": library_type,
            "inputs": [path.name for pair in pairs for path in pair],
            "steps": steps,
            "dropped": {"excluded contig": excluded, "blacklist": in_blacklist},
            "strands": {"plus": int(strands[0]), "minus": int(strands[1])},
            "positions": {"plus": int(positions[0]), "minus": int(positions[1])},
            "contigs": {"kept": int(kept.sum()), "excluded": int((~kept).sum())},
        }
        report.write_text(json.dumps(qc, indent=1) + "\n")
    log.info("%s: %d of %d 5' ends kept", prefix, strands.sum(), total)
    return qc
