#!/usr/bin/env python3
"""Peak callers side by side on planted elements: recall, precision, summits and time, over each caller's FDR range.

    benchmarks/peak_calling.py [--reads 400000] [--background plain --background pileups …] [--callers allelegro pints macs3]
    benchmarks/peak_calling.py --plus PLUS.bw --minus MINUS.bw        # agreement and time on real counts
    benchmarks/peak_calling.py --plus PLUS.bw --minus MINUS.bw --jitter 500   # the same with its clusters dissolved

PINTS (pints_caller) and MACS3 (macs3) are taken from PATH or --peers FOLDER; one that is absent is skipped, with a word.
The planted signal is that of paired or single Laplace-shaped initiation clusters; a background adds noise to it:
plain    a quarter of the reads uniform, an eighth downstream of the planted sites (gene bodies)
pileups  piles of PCR duplicates: one position, a third leaking onto its neighbours, heights log-normal up to thousands
stacks   rRNA-like stacks: 0.3 to 3 kb in which most positions are occupied, with log-normal heights
bodies   gene bodies of 5 to 60 kb whose density varies by gamma-distributed factors along 100-bp stretches
mixed    all of them at once
patchy   mixed, with about 46 % of the genome unmappable in pieces of 0.2 to 3 kb between the elements
"""

import argparse
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "bin"))

from allelegro.io.bigwig import write_bigwig  # noqa: E402
from allelegro.io.signal import Counts, Signal  # noqa: E402

BACKGROUNDS = ("plain", "pileups", "stacks", "bodies", "mixed", "patchy")
CONTIGS = {"chr1": 10_000_000, "chr2": 10_000_000}
MACS3_OPTIONS = ["--nomodel", "--extsize", "50", "--shift", "0", "--keep-dup", "all"]


@dataclass(frozen=True)
class Planted:
    """Reads as (contig number, strand 0/1, position) columns and the truth."""

    reads: np.ndarray
    truth: pd.DataFrame


def _laplace(rng: np.random.Generator, centre: np.ndarray, scale: np.ndarray, reads: np.ndarray) -> np.ndarray:
    return np.rint(np.repeat(centre, reads) + rng.laplace(0, np.repeat(scale, reads))).astype(np.int64)


def plant_elements(rng: np.random.Generator, reads: int, elements: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Divergent (3/4) and single-strand (1/4) elements at least 1 kb apart, log-normal depths of 6 reads and more."""
    weight = rng.lognormal(0, 1.6, elements)
    depth = np.maximum(6, weight / weight.sum() * reads * 0.62).astype(np.int64)
    divergent = rng.random(elements) < 0.75
    contig = np.sort(rng.integers(0, len(CONTIGS), elements))
    centre = np.empty(elements, np.int64)
    for number, length in enumerate(CONTIGS.values()):
        own = contig == number
        centre[own] = np.sort(rng.choice(np.arange(3000, length - 3000, 1500), own.sum(), replace=False))
    centre += rng.integers(0, 500, elements)
    gap = np.clip(rng.normal(110, 35, elements), 40, 250).astype(np.int64)
    share = np.where(divergent, rng.beta(4, 4, elements), rng.integers(0, 2, elements))
    plus = rng.binomial(depth, share)
    minus = depth - plus
    summit = {"plus": centre + gap // 2, "minus": centre - gap // 2}
    parts = []
    for strand, (name, count) in enumerate((("plus", plus), ("minus", minus))):
        at = _laplace(rng, summit[name], rng.uniform(2, 12, elements), count)
        parts.append(np.stack([np.repeat(contig, count), np.full(count.sum(), strand), at]))
    plus_summit = np.where(plus > 0, summit["plus"], -1)
    minus_summit = np.where(minus > 0, summit["minus"], -1)
    low = np.where(minus > 0, summit["minus"], summit["plus"])
    high = np.where(plus > 0, summit["plus"], summit["minus"])
    truth = pd.DataFrame(
        {
            "chrom": np.array([*CONTIGS])[contig], "start": low - 15, "end": high + 16, "divergent": divergent,
            "plus_reads": plus, "minus_reads": minus, "plus_summit": plus_summit, "minus_summit": minus_summit,
        }
    )  # fmt: skip
    return np.concatenate(parts, axis=1), truth


def downstream_reads(rng: np.random.Generator, truth: pd.DataFrame, reads: int) -> np.ndarray:
    """Reads 0.3 to 8 kb downstream of planted sites."""
    owner = rng.integers(0, len(truth), reads)
    plus = truth["plus_summit"].to_numpy()[owner] >= 0
    origin = np.where(plus, truth["plus_summit"].to_numpy()[owner], truth["minus_summit"].to_numpy()[owner])
    offset = rng.integers(300, 8000, reads)
    contig = truth["chrom"].map({name: number for number, name in enumerate(CONTIGS)}).to_numpy()[owner]
    return np.stack([contig, np.where(plus, 0, 1), origin + np.where(plus, offset, -offset)])


def uniform_reads(rng: np.random.Generator, reads: int) -> np.ndarray:
    """Reads anywhere on either strand."""
    length = min(CONTIGS.values())
    return np.stack([rng.integers(0, len(CONTIGS), reads), rng.integers(0, 2, reads), rng.integers(0, length, reads)])


def pileup_reads(rng: np.random.Generator, reads: int) -> np.ndarray:
    """Piles of PCR duplicates: log-normal heights of median 15 at single positions; a third leak 10 % of it onto the next two bases."""
    height = np.rint(rng.lognormal(np.log(15), 1.3, max(1, reads // 35))).astype(np.int64) + 1
    site = np.repeat(uniform_reads(rng, len(height)), height, axis=1)
    stutters = np.repeat(rng.random(len(height)) < 1 / 3, height)
    site[2] += np.where(stutters & (rng.random(height.sum()) < 0.1), rng.integers(1, 3, height.sum()), 0)
    return site


def stack_reads(rng: np.random.Generator, reads: int) -> np.ndarray:
    """rRNA-like stacks: twelve of 0.3 to 3 kb, 70 % of positions occupied, log-normal heights."""
    parts = []
    for _ in range(12):
        width = int(np.exp(rng.uniform(np.log(300), np.log(3000))))
        origin = uniform_reads(rng, 1)
        position = np.flatnonzero(rng.random(width) < 0.7)
        weight = rng.lognormal(0, 1.2, len(position))
        height = rng.poisson(weight / weight.sum() * reads / 12)
        parts.append(np.repeat(origin + np.stack([position * 0, position * 0, position]), height, axis=1))
    return np.concatenate(parts, axis=1)


def body_reads(rng: np.random.Generator, reads: int) -> np.ndarray:
    """Gene bodies of 5 to 60 kb on one strand; 100-bp stretches differ by gamma factors of shape 2."""
    parts = []
    genes = 60
    for share in rng.dirichlet(np.full(genes, 0.7)):
        length = int(np.exp(rng.uniform(np.log(5000), np.log(60_000))))
        contig, strand, origin = uniform_reads(rng, 1)[:, 0]
        factor = np.repeat(rng.gamma(2, 1, length // 100 + 1), 100)[:length]
        at = origin + rng.choice(length, int(share * reads), p=factor / factor.sum())
        parts.append(np.stack([np.full(len(at), contig), np.full(len(at), strand), at]))
    return np.concatenate(parts, axis=1)


def mappable(rng: np.random.Generator, reads: np.ndarray, truth: pd.DataFrame) -> np.ndarray:
    """Which reads lie outside unmappable pieces, which spare the planted elements."""
    keep = np.ones(reads.shape[1], bool)
    for number, (name, length) in enumerate(CONTIGS.items()):
        gap = np.zeros(length + 1, np.int64)
        start = rng.integers(0, length - 3000, length // 1700)
        np.add.at(gap, start, 1)
        np.add.at(gap, start + np.exp(rng.uniform(np.log(200), np.log(3000), len(start))).astype(np.int64), -1)
        unmappable = np.cumsum(gap) > 0
        for row in truth[truth["chrom"] == name].itertuples():
            unmappable[row.start - 100 : row.end + 100] = False
        own = reads[0] == number
        keep[own] = ~unmappable[reads[2][own]]
    return keep


def simulate(reads: int, elements: int, background: str, seed: int) -> Planted:
    """Planted elements and the reads of one background; ``reads`` is the plain total, other backgrounds add to it."""
    rng = np.random.default_rng(seed)
    signal, truth = plant_elements(rng, reads, elements)
    parts = [signal, downstream_reads(rng, truth, int(0.13 * reads)), uniform_reads(rng, int(0.25 * reads))]
    extra = {"pileups": pileup_reads, "stacks": stack_reads, "bodies": body_reads}
    parts += [make(rng, int(0.2 * reads)) for name, make in extra.items() if background in (name, "mixed", "patchy")]
    all_reads = np.concatenate(parts, axis=1)
    length = np.array([*CONTIGS.values()])[all_reads[0]]
    all_reads = all_reads[:, (all_reads[2] >= 100) & (all_reads[2] < length - 100)]
    if background == "patchy":
        all_reads = all_reads[:, mappable(rng, all_reads, truth)]
    return Planted(all_reads, truth)


def write_inputs(planted: Planted, folder: Path) -> tuple[Path, Path]:
    """Both bigWigs of 5'-end counts (minus strand negative, as public files have it)."""
    paths = []
    for strand, sign in enumerate((1, -1)):
        counts = {}
        for number, name in enumerate(CONTIGS):
            own = planted.reads[2][(planted.reads[0] == number) & (planted.reads[1] == strand)]
            position, count = np.unique(own, return_counts=True)
            counts[name] = Counts(position, sign * count)
        path = folder / ("plus.bw", "minus.bw")[strand]
        write_bigwig(path, CONTIGS, counts)
        paths.append(path)
    return paths[0], paths[1]


@dataclass(frozen=True)
class Calls:
    """One caller's answer: ``calls`` (chrom start end strand summits), ``elements`` (the divergent ones), wall and CPU seconds."""

    calls: pd.DataFrame
    elements: pd.DataFrame
    seconds: float
    cpu: float


def _run(command: list[str | Path], limit: float) -> tuple[float, float]:
    """Wall and CPU seconds of a command and its children; infinite when it does not finish in time."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    child = subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        _, said = child.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        return float("inf"), float("inf")
    if child.returncode:
        sys.exit(f"{command[0]} failed: {said.decode()[-500:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cpu


def _frame(rows: list[tuple[str, int, int, str, list[int]]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["chrom", "start", "end", "strand", "summits"])


def call_allelegro(plus: Path, minus: Path, fdr: float, folder: Path, limit: float, peers: Path | None) -> Calls:
    """This project's caller, as a user runs it."""
    peaks, elements = folder / "peaks.bed", folder / "elements.bed"
    command = [sys.executable, ROOT / "bin" / "call_peaks.py", "--plus", plus, "--minus", minus, "--fdr", fdr]
    seconds, cpu = _run([*command, "--out", peaks, "--out-elements", elements], limit)
    table, pairs = pd.read_csv(peaks, sep="\t"), pd.read_csv(elements, sep="\t")
    rows = [(r[0], r[1], r[2], r[5], [r[8]]) for r in table.itertuples(index=False)]
    return Calls(
        _frame(rows),
        _frame([(r[0], r[1], r[2], ".", [r[9], r[10]]) for r in pairs.itertuples(index=False)]),
        seconds,
        cpu,
    )


def _tool(name: str, peers: Path | None) -> str | None:
    return shutil.which(name, path=str(peers) if peers else None)


def call_pints(plus: Path, minus: Path, fdr: float, folder: Path, limit: float, peers: Path | None) -> Calls | None:
    """PINTS on the same bigWigs; bidirectional and unidirectional calls together."""
    tool = _tool("pints_caller", peers)
    if tool is None:
        return None
    command = [tool, "--bw-pl", plus, "--bw-mn", minus, "--file-prefix", "pints", "--save-to", folder, "--thread", 1]
    seconds, cpu = _run([*command, "--fdr-target", fdr, "--dont-check-updates", "--disable-qc"], limit)
    pairs, single = [], []
    for path in folder.glob("pints*_bidirectional_peaks.bed"):
        for line in path.read_text().splitlines():
            chrom, start, end, _, forward, reverse = line.split("\t")[:6]
            tss = [int(x) for x in f"{forward},{reverse}".split(",") if x.lstrip("-").isdigit()]
            pairs.append((chrom, int(start), int(end), ".", tss))
    for path in folder.glob("pints*_unidirectional_peaks.bed"):
        for line in path.read_text().splitlines():
            f = line.split("\t")
            single.append((f[0], int(f[1]), int(f[2]), f[5], [int(f[7])]))
    return Calls(_frame(pairs + single), _frame(pairs), seconds, cpu)


def call_macs3(plus: Path, minus: Path, fdr: float, folder: Path, limit: float, peers: Path | None) -> Calls | None:
    """MACS3 on each strand's reads as 50-bp tags (no model, duplicates kept): it does not know strands or pairs."""
    tool = _tool("macs3", peers)
    if tool is None:
        return None
    rows, seconds = [], np.zeros(2)
    for path, strand in ((plus, "+"), (minus, "-")):
        tags, track, genome = folder / f"{strand}.bed", Signal(path), 0
        with tags.open("w") as file:
            for contig, length in track.contigs.items():
                genome += length
                positions, counts = track.counts(contig)
                for at, count in zip(positions.tolist(), counts.tolist(), strict=True):
                    low = at if strand == "+" else max(0, at - 49)
                    file.write(f"{contig}\t{low}\t{low + 50}\t.\t0\t{strand}\n" * count)
        command = [tool, "callpeak", "-t", tags, "-f", "BED", "-g", genome, "-n", f"macs{strand}", "--outdir", folder]
        seconds += _run([*command, *MACS3_OPTIONS, "-q", fdr], limit)
        for line in (folder / f"macs{strand}_peaks.narrowPeak").read_text().splitlines():
            f = line.split("\t")
            rows.append((f[0], int(f[1]), int(f[2]), strand, [int(f[1]) + int(f[9])]))
    return Calls(_frame(rows), _frame([]), *seconds.tolist())


CALLERS = {"allelegro": call_allelegro, "pints": call_pints, "macs3": call_macs3}
PRECISE = 0.99
FDR_RANGE = (0.001, 0.003, 0.01, 0.03, 0.05, 0.1)
DEFAULT_FDR = {"allelegro": 0.1, "pints": 0.1, "macs3": 0.05}


def hits(calls: pd.DataFrame, truth: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Whether each planted element overlaps a call, and each call a planted element."""
    found, true = np.zeros(len(truth), bool), np.zeros(len(calls), bool)
    for chrom in CONTIGS:
        t, c = np.flatnonzero(truth["chrom"] == chrom), np.flatnonzero(calls["chrom"] == chrom)
        overlap = (calls["start"].to_numpy()[c, None] < truth["end"].to_numpy()[t]) & (
            calls["end"].to_numpy()[c, None] > truth["start"].to_numpy()[t]
        )
        found[t], true[c] = overlap.any(0), overlap.any(1)
    return found, true


def summit_distances(calls: pd.DataFrame, truth: pd.DataFrame) -> np.ndarray:
    """Distance from each planted summit of a found element to the nearest summit of the calls that overlap it."""
    distance = []
    for chrom in CONTIGS:
        own = calls[calls["chrom"] == chrom].sort_values("start")
        start, end = own["start"].to_numpy(), own["end"].to_numpy()
        for row in truth[truth["chrom"] == chrom].itertuples():
            over = np.flatnonzero((start < row.end) & (end > row.start))
            for name, symbol in (("plus", "+"), ("minus", "-")):
                if getattr(row, f"{name}_reads") >= 3:
                    near = [
                        abs(summit - getattr(row, f"{name}_summit"))
                        for call in over
                        if own["strand"].iloc[call] in (symbol, ".")
                        for summit in own["summits"].iloc[call]
                    ]
                    distance += [min(near)] if near else []
    return np.array(distance)


def assess(calls: Calls, truth: pd.DataFrame) -> dict[str, float]:
    """Recall of elements (any call), of single-strand and of divergent ones (by a pair), false shares, summits."""
    found, true = hits(calls.calls, truth)
    both = (truth["plus_reads"] >= 3) & (truth["minus_reads"] >= 3)
    paired, true_pair = hits(calls.elements, truth[both].reset_index(drop=True))
    distance = summit_distances(calls.calls, truth)
    return {
        "calls": len(true),
        "recall": float(found.mean()),
        "recall_single": float(found[~truth["divergent"].to_numpy()].mean()),
        "precision": float(true.mean()) if len(true) else float("nan"),
        "pairs": len(true_pair),
        "recall_pairs": float(paired.mean()),
        "precision_pairs": float(true_pair.mean()) if len(true_pair) else float("nan"),
        "summit_bp": float(np.median(distance)) if len(distance) else float("nan"),
        "within_5bp": float((distance <= 5).mean()) if len(distance) else float("nan"),
        "seconds": calls.seconds,
        "cpu_seconds": calls.cpu,
    }


def run_planted(arguments: argparse.Namespace) -> pd.DataFrame:
    """Every caller on every background, at each FDR."""
    rows, levels = [], FDR_RANGE if arguments.range else arguments.fdr
    for background in arguments.background:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            planted = simulate(arguments.reads, arguments.elements, background, arguments.seed)
            plus, minus = write_inputs(planted, folder)
            for caller in arguments.callers:
                for fdr in levels or [DEFAULT_FDR[caller]]:
                    work = folder / f"{caller}_{fdr}"
                    work.mkdir()
                    calls = CALLERS[caller](plus, minus, fdr, work, arguments.limit, arguments.peers)
                    if calls is None:
                        print(f"{caller} is not installed: skipped", file=sys.stderr)
                        break
                    row = {"background": background, "reads": planted.reads.shape[1], "caller": caller, "fdr": fdr}
                    rows.append(row | assess(calls, planted.truth))
                    print(
                        "\t".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in rows[-1].values()), flush=True
                    )
    return pd.DataFrame(rows)


def best_recall(rows: pd.DataFrame) -> str:
    """The highest recall at precision ``PRECISE`` and more among one caller's FDR levels, or its highest precision."""
    precise = rows[rows["precision"] >= PRECISE]
    if precise.empty:
        top = rows.loc[rows["precision"].idxmax()] if rows["precision"].notna().any() else rows.iloc[0]
        return f"precision at most {top['precision']:.3f} (recall {top['recall']:.3f}, FDR {top['fdr']:g})"
    best = precise.loc[precise["recall"].idxmax()]
    return f"recall {best['recall']:.3f} at precision {best['precision']:.3f} (FDR {best['fdr']:g})"


def jitter(path: Path, reach: int, rng: np.random.Generator, out: Path) -> Path:
    """Counts moved at random by up to ``reach`` bp: densities and pile-ups (10 reads and more at a base) stay, clusters go."""
    track, moved = Signal(path), {}
    for contig, length in track.contigs.items():
        positions, counts = track.counts(contig)
        apart = np.where(counts < 10, counts, 1)
        at = np.repeat(positions, apart)
        at = np.clip(at + rng.integers(-reach, reach + 1, len(at)), 0, length - 1)
        unique, which = np.unique(at, return_inverse=True)
        heights = np.bincount(which, np.repeat(np.where(counts < 10, 1, counts), apart)).astype(np.int64)
        moved[contig] = Counts(unique, heights)
    write_bigwig(out, track.contigs, moved)
    return out


def run_real(arguments: argparse.Namespace) -> None:
    """Time and agreement on real counts: the share of each caller's calls that overlap the other's."""
    if arguments.jitter:
        folder, rng = Path(tempfile.mkdtemp()), np.random.default_rng(arguments.seed)
        arguments.plus = jitter(arguments.plus, arguments.jitter, rng, folder / "plus.bw")
        arguments.minus = jitter(arguments.minus, arguments.jitter, rng, folder / "minus.bw")
    results: dict[str, Calls] = {}
    for caller in arguments.callers:
        seconds, cpu = [], []
        for _ in range(arguments.repeats):
            with tempfile.TemporaryDirectory() as name:
                fdr = arguments.fdr[0] if arguments.fdr else DEFAULT_FDR[caller]
                calls = CALLERS[caller](
                    arguments.plus, arguments.minus, fdr, Path(name), arguments.limit, arguments.peers
                )
            if calls is None:
                print(f"{caller} is not installed: skipped", file=sys.stderr)
                break
            results[caller] = calls
            seconds.append(calls.seconds)
            cpu.append(calls.cpu)
        else:
            print(
                f"{caller}: {len(calls.calls)} calls, {len(calls.elements)} pairs, median of {len(seconds)} runs "
                f"{statistics.median(seconds):.2f} s, CPU {statistics.median(cpu):.2f} s"
            )
            results[caller] = Calls(calls.calls, calls.elements, statistics.median(seconds), statistics.median(cpu))
    for first in results:
        for second in results:
            if first != second:
                print(
                    f"{first} in {second}: calls {_shared(results[first].calls, results[second].calls):.3f}, "
                    f"pairs {_shared(results[first].elements, results[second].calls):.3f}; "
                    f"time {second}/{first} {results[second].seconds / results[first].seconds:.1f}"
                )


def _shared(calls: pd.DataFrame, others: pd.DataFrame) -> float:
    if calls.empty:
        return float("nan")
    shared = 0
    for chrom, own in calls.groupby("chrom"):
        other = others[others["chrom"] == chrom]
        overlap = (own["start"].to_numpy()[:, None] < other["end"].to_numpy()) & (
            own["end"].to_numpy()[:, None] > other["start"].to_numpy()
        )
        strand = (own["strand"].to_numpy()[:, None] == other["strand"].to_numpy()) | (other["strand"].to_numpy() == ".")
        shared += int((overlap & (strand | (own["strand"].to_numpy()[:, None] == "."))).any(1).sum())
    return shared / len(calls)


def main() -> None:
    """Parse options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reads", type=int, default=400_000)
    parser.add_argument("--elements", type=int, default=600)
    parser.add_argument("--background", action="append", choices=BACKGROUNDS)
    parser.add_argument("--callers", nargs="+", choices=[*CALLERS], default=[*CALLERS])
    parser.add_argument("--fdr", type=float, nargs="+", help="default: each caller's own")
    parser.add_argument("--range", action="store_true", help=f"every FDR of {FDR_RANGE}")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--limit", type=float, default=900, help="seconds after which a caller is stopped")
    parser.add_argument("--peers", type=Path, help="folder with pints_caller and macs3, when not on PATH")
    parser.add_argument("--plus", type=Path)
    parser.add_argument("--minus", type=Path)
    parser.add_argument(
        "--jitter", type=int, default=0, help="move real counts by up to so many bp: calls are then false"
    )
    parser.add_argument("--repeats", type=int, default=3, help="runs on real counts")
    parser.add_argument("--out", type=Path, help="also write the table here (TSV)")
    arguments = parser.parse_args()
    arguments.background = arguments.background or [*BACKGROUNDS]
    if arguments.plus:
        run_real(arguments)
        return
    table = run_planted(arguments)
    for background, own in table.groupby("background", sort=False):
        ours = own[own["caller"] == "allelegro"]["seconds"].median()
        for caller, rows in own.groupby("caller", sort=False):
            print(
                f"{background} {caller}: {best_recall(rows)}; time / allelegro's {rows['seconds'].median() / ours:.1f}"
            )
    if arguments.out:
        table.to_csv(arguments.out, sep="\t", index=False)


if __name__ == "__main__":
    main()
