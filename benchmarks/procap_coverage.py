#!/usr/bin/env python3
"""BAM to stranded 5'-end bigWigs: procap_coverage.py against bedtools and against a plain pysam loop, on one BAM, in one run.

    benchmarks/procap_coverage.py --bam reads.bam          # your BAM (single-end, sorted)
    benchmarks/procap_coverage.py --reads 5000000                                    # 20 Mb of simulated reads
    benchmarks/procap_coverage.py --reads 2000000 --contigs 1 --length 250000000     # memory on the longest contig

Every command is a process of its own, single-threaded; figures are medians over --repeats. All three tracks must be equal.
Needs bedtools, pysam, pyBigWig and pybigtools.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

BIN = Path(__file__).parents[1] / "bin"

PYSAM_LOOP = """
import sys, numpy, pysam, pyBigWig
bam = pysam.AlignmentFile(sys.argv[1])
sizes = dict(zip(bam.references, bam.lengths))
outs = [pyBigWig.open(sys.argv[2] + name, "w") for name in (".plus.bw", ".minus.bw")]
for out in outs:
    out.addHeader(list(sizes.items()))
for contig, size in sizes.items():
    plus, minus = [], []
    for read in bam.fetch(contig):
        if read.is_unmapped or read.is_secondary or read.is_supplementary:
            continue
        if read.is_reverse:
            minus.append(read.reference_end - 1)
        else:
            plus.append(read.reference_start)
    for out, ends in zip(outs, (plus, minus)):
        track = numpy.bincount(ends, minlength=size)
        at = numpy.flatnonzero(track)
        if len(at):
            out.addEntries(contig, at, values=track[at].astype(float), span=1)
for out in outs:
    out.close()
"""

CONVERT = """
import sys, pybigtools
sizes = dict((name, int(size)) for name, size in (line.split() for line in open(sys.argv[3])))
def rows():
    for line in open(sys.argv[1]):
        contig, start, end, value = line.split("\\t")
        yield contig, int(start), int(end), float(value)
pybigtools.open(sys.argv[2], "w").write(sizes, rows())
"""


# A started process counts the largest memory of the one that starts it as its own: a small one stands between.
_STARTER = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run(["bash", "-c", "set -eo pipefail; " + sys.argv[1]], stderr=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
wall = time.perf_counter() - start
print(json.dumps([code, wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


def measure(command: str, repeats: int) -> tuple[float, float, float]:
    """Median wall seconds, median CPU seconds and largest resident set (MiB) of a shell command and its children."""
    rows = []
    for _ in range(repeats):
        done = subprocess.run([sys.executable, "-c", _STARTER, command], check=True, capture_output=True, text=True)
        code, *figures = json.loads(done.stdout.splitlines()[-1])
        if code:
            sys.exit(f"failed: {command}")
        rows.append(figures)
    walls, cpus, peaks = zip(*rows, strict=True)
    return median(walls), median(cpus), max(peaks)


def simulate(path: Path, reads: int, number: int, length: int) -> None:
    """Write a BAM of 50-bp reads over contigs of ``length`` bp: two thirds in sharp peaks, the rest everywhere."""
    rng = np.random.default_rng(5)
    centres = rng.integers(1000, length - 1000, 2000)
    weights = rng.lognormal(0, 1.6, 2000)
    in_peaks = centres[rng.choice(2000, reads * 2 // 3, p=weights / weights.sum())]
    positions = np.concatenate([in_peaks + np.round(rng.laplace(0, 6, len(in_peaks))).astype(int),
                                rng.integers(100, length - 100, reads - len(in_peaks))])  # fmt: skip
    contigs, strands = rng.integers(0, number, reads), rng.integers(0, 2, reads)
    starts = np.where(strands == 0, positions, positions - 49)
    order = np.lexsort((starts, contigs))
    bases = np.array(list("ACGT"))[rng.integers(0, 4, (4096, 50))]
    sequences = ["".join(row) for row in bases]
    writer = subprocess.Popen(["samtools", "view", "-b", "-o", path, "-"], stdin=subprocess.PIPE, text=True)
    assert writer.stdin is not None
    names = "".join(f"@SQ\tSN:chr{contig}\tLN:{length}\n" for contig in range(1, number + 1))
    writer.stdin.write(f"@HD\tVN:1.6\tSO:coordinate\n{names}")
    for read, at in enumerate(order):
        writer.stdin.write(
            f"r{read}\t{16 * strands[at]}\tchr{contigs[at] + 1}\t{starts[at] + 1}\t60\t50M\t*\t0\t0\t"
            f"{sequences[at % 4096]}\t{'I' * 50}\n"
        )
    writer.stdin.close()
    writer.wait()
    subprocess.run(["samtools", "index", path], check=True)


def same_tracks(prefixes: list[Path]) -> None:
    """Stop unless all tracks hold the same counts."""
    sys.path.insert(0, str(BIN))
    from allelegro.io.signal import StrandedSignal

    pairs = [StrandedSignal((Path(f"{prefix}.plus.bw"), Path(f"{prefix}.minus.bw"))) for prefix in prefixes]
    for contig in pairs[0].contigs:
        for strand in (0, 1):
            first, *others = [pair.counts(contig)[strand] for pair in pairs]
            for other in others:
                assert np.array_equal(first.positions, other.positions) and np.array_equal(first.counts, other.counts)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bam", type=Path, help="BAM, sorted and indexed")
    parser.add_argument("--reads", type=int, default=5_000_000, help="reads to simulate without --bam")
    parser.add_argument("--contigs", type=int, default=2, help="contigs of the simulated genome")
    parser.add_argument("--length", type=int, default=10_000_000, help="bp of each")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    for name in ("OMP", "OPENBLAS", "NUMBA"):
        os.environ[f"{name}_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bam = options.bam or folder / "reads.bam"
        if not options.bam:
            simulate(bam, options.reads, options.contigs, options.length)
        sizes = folder / "sizes"
        sizes.write_text(subprocess.run(["bash", "-c", f"samtools idxstats {bam} | grep -v '^[*]' | cut -f1,2"],
                                        capture_output=True, text=True, check=True).stdout)  # fmt: skip
        (folder / "loop.py").write_text(PYSAM_LOOP)
        (folder / "convert.py").write_text(CONVERT)
        python = sys.executable
        bedtools = "; ".join(
            f"bedtools genomecov -ibam {bam} -5 -strand {sign} -bg > {folder}/{strand}.bg; "
            f"{python} {folder}/convert.py {folder}/{strand}.bg {folder}/bedtools.{strand}.bw {sizes}"
            for sign, strand in (("+", "plus"), ("-", "minus"))
        )
        commands = {
            "procap_coverage.py": f"{python} {BIN}/procap_coverage.py --reads {bam} --out-prefix {folder}/ours --min-mapq 0 "
            "--exclude-contigs '' --threads 1",
            "bedtools x 2 + pybigtools": bedtools,
            "pysam loop + pyBigWig": f"{python} {folder}/loop.py {bam} {folder}/loop",
        }
        subprocess.run(
            commands["procap_coverage.py"], shell=True, check=True, capture_output=True
        )  # compiled kernels are kept
        figures = {tool: measure(command, options.repeats) for tool, command in commands.items()}
        same_tracks([folder / "ours", folder / "bedtools", folder / "loop"])
    load = os.getloadavg()[0]
    best = [min(figure[place] for tool, figure in figures.items() if tool != "procap_coverage.py") for place in (0, 1)]
    print(f"1 thread, median of {options.repeats}, load average {load:.1f}; tracks equal")
    for tool, (wall, cpu, peak) in figures.items():
        print(f"{tool:28s} wall {wall:6.2f} s   cpu {cpu:6.2f} s   peak {peak:5.0f} MiB")
    wall, cpu, _ = figures["procap_coverage.py"]
    print(f"best peer / ours: wall {best[0] / wall:.2f}, cpu {best[1] / cpu:.2f}")


if __name__ == "__main__":
    main()
