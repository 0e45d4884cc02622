"""Memory where inputs are as large as they come."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pysam

from allelegro.genotype.store import DONOR_COUNTS, StoreWriter
from allelegro.io.windows import write_windows
from helpers.attacks import Tally, faults_of, run_forked
from helpers.tools import Done, run
from helpers.toy_stores import toy_windows

MOST = 2 * 1024.0  # MiB


def _measured(folder: Path, tool: str, arguments: list[str]) -> tuple[Done, float]:
    """Run a tool in a process of its own; how it ended, and its largest memory in MiB."""
    from allelegro.resources import peak_memory

    def work() -> Done:
        done = run(folder, tool, arguments)
        return Done(done.returncode, f"{done.stderr}\n{peak_memory()}")

    done = run_forked(work, longest=3600)
    said, _, peak = done.stderr.rpartition("\n")
    return Done(done.returncode, said), float(peak or "inf")


def _checked(tally: Tally, case: str, done: Done, peak: float) -> Tally:
    found = faults_of(done)
    if done.returncode:
        found.append(("not one line", done.stderr))
    if peak > MOST:
        found.append(("lost", f"{peak:.0f} MiB, more than {MOST:.0f}"))
    print(f"{case}: {peak:.0f} MiB", flush=True)
    tally.note(case, found)
    return tally


@dataclass
class _Piece:
    """One window with two SNVs and their four haplotypes, as extraction hands it to the writer."""

    chrom: str
    sequences: np.ndarray
    index: np.ndarray
    variants: list[tuple[int, str, str, int, int, str]]
    donor_counts: np.ndarray
    row_offsets: np.ndarray = field(default_factory=lambda: np.array([0, 4]))
    allele_offsets: np.ndarray = field(default_factory=lambda: np.array([0, 0, 1, 2, 4]))
    alleles: np.ndarray = field(default_factory=lambda: np.array([0, 1, 0, 1]))
    tally: Counter[str] = field(default_factory=Counter)


def write_store(folder: Path, n: int, loci: int = 2000, width: int = 120) -> None:
    """A whole haplotype store of ``n`` donors who have their haplotypes by chance."""
    rng = np.random.default_rng(1)
    table = toy_windows(loci, width)
    folder.mkdir()
    write_windows(table, folder / "windows.bed")
    writer = StoreWriter(folder, width, [f"D{donor:05d}" for donor in range(n)])
    counts = np.tile(np.array([1] + [0] * (len(DONOR_COUNTS) - 1)), (n, 1))
    for chrom, start in zip(table["chrom"], table["start"], strict=True):
        variants = [(at + 1, "A", "C", at, at + 1, "C") for at in (int(start) + 60, int(start) + 70)]
        index = rng.choice(4, (1, n * 2), p=[0.4, 0.3, 0.2, 0.1]).astype(np.int32)
        writer.add(_Piece(str(chrom), rng.integers(0, 4, (4, width), dtype=np.uint8), index, variants, counts))
    facts = {"dropped": {}, "alleles_read": 2 * loci, "not_left_aligned": 0, "phase_set_changes": 0, "genotypes": {}}
    writer.finish(np.arange(loci), facts | {"contigs": dict.fromkeys(table["chrom"].unique(), 10**8)})


def donors(scratch: Path, share: float) -> Tally:
    """The genotype report of 20,000 donors."""
    n = max(50, int(20_000 * share))
    write_store(scratch / "donors", n)
    done, peak = _measured(
        scratch, "genotype_report", ["--store", str(scratch / "donors"), "--out", str(scratch / "report")]
    )
    return _checked(Tally("memory: genotype report"), f"{n:,} donors", done, peak)


def windows(scratch: Path, share: float) -> Tally:
    """Haplotypes of a million windows that overlap, by all processors."""
    n, width, step = max(1000, int(1_000_000 * share)), 200, 20
    length = n * step + width
    genome = scratch / "genome.fa"
    bases = np.frombuffer(b"ACGT", np.uint8)[np.random.default_rng(1).integers(0, 4, length)]
    genome.write_bytes(b">chr1\n" + bases.tobytes() + b"\n")
    pysam.faidx(str(genome))
    bed = scratch / "windows.bed"
    with bed.open("w") as file:
        file.write("#chrom\tstart\tend\tname\tscore\tstrand\tfold\n")
        file.writelines(f"chr1\t{at * step}\t{at * step + width}\tw{at}\t1\t.\t{at % 5}\n" for at in range(n))
    vcf = scratch / "v.vcf"
    with vcf.open("w") as file:
        file.write(f"##fileformat=VCFv4.2\n##contig=<ID=chr1,length={length}>\n")
        file.write('##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n')
        file.write("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tA\tB\n")
        for at in range(50, length - 50, 100):
            ref = chr(bases[at])
            alt = "ACGT"["ACGT".index(ref) - 1]
            file.write(f"chr1\t{at + 1}\t.\t{ref}\t{alt}\t.\t.\t.\tGT\t0|1\t1|0\n")
    pysam.tabix_index(str(vcf), preset="vcf")
    arguments = ["--vcf", f"{vcf}.gz", "--fasta", str(genome), "--windows", str(bed), "--out", str(scratch / "store")]
    done, peak = _measured(scratch, "extract_haplotypes", [*arguments, "--threads", str(os.cpu_count() or 1)])
    return _checked(Tally("memory: overlapping windows"), f"{n:,} windows", done, peak)
