#!/usr/bin/env python3
"""Reads of both alleles at heterozygous SNVs: count_alleles.py against bcftools mpileup and a pysam loop, in one run.

    benchmarks/allele_counting.py                                    # 5 million reads, 100,000 sites
    benchmarks/allele_counting.py --reads 500000 --sites 10000

Every command is a process of its own, single-threaded; figures are medians over --repeats. All three tables of reference
and alternative reads must be equal. Needs samtools, bcftools and pysam.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pysam

from procap_coverage import measure

BIN = Path(__file__).parents[1] / "bin"

# Reads without a site are passed over by bisection, before their bases are looked at.
PYSAM_LOOP = """
import bisect, sys, pysam
sites, alleles, counts = {}, {}, {}
for record in pysam.VariantFile(sys.argv[2]):
    if len(set(record.samples[0]["GT"])) > 1:
        sites.setdefault(record.chrom, []).append(record.pos - 1)
        alleles[record.chrom, record.pos - 1] = record.ref, record.alts[0]
        counts[record.chrom, record.pos - 1] = [0, 0]
bam = pysam.AlignmentFile(sys.argv[1])
for contig, places in sites.items():
    for read in bam.fetch(contig):
        if read.mapping_quality < 30 or read.flag & 0xB04:
            continue
        start = read.reference_start
        first = bisect.bisect_left(places, start)
        if first == len(places) or places[first] >= read.reference_end:
            continue
        bases, qualities = read.query_sequence, read.query_qualities
        inside = set(places[first : bisect.bisect_left(places, read.reference_end)])
        for query, position in read.get_aligned_pairs(matches_only=True):
            if position in inside and qualities[query] >= 20:
                ref, alt = alleles[contig, position]
                if bases[query] == ref:
                    counts[contig, position][0] += 1
                elif bases[query] == alt:
                    counts[contig, position][1] += 1
with open(sys.argv[3], "w") as out:
    for (contig, position), (ref, alt) in counts.items():
        if ref + alt:
            out.write(f"{contig}\\t{position + 1}\\t{ref}\\t{alt}\\n")
"""


def simulate(folder: Path, reads: int, sites: int, contigs: int, length: int) -> None:
    """Genome, phased heterozygous SNVs, and 50-bp reads of both haplotypes, two thirds of them in sharp peaks."""
    rng = np.random.default_rng(5)
    genome = rng.integers(0, 4, (contigs, length), dtype=np.uint8)
    letters = np.frombuffer(b"ACGT", np.uint8)
    with (folder / "genome.fa").open("wb") as fasta:
        for contig in range(contigs):
            fasta.write(f">chr{contig + 1}\n".encode() + letters[genome[contig]].tobytes() + b"\n")
    pysam.faidx(str(folder / "genome.fa"))
    carried = np.repeat(genome[:, None], 2, axis=1)
    lines = ["##fileformat=VCFv4.2", *(f"##contig=<ID=chr{c + 1},length={length}>" for c in range(contigs))]
    lines += ['##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">']
    lines += ["#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tD"]
    for contig in range(contigs):
        places = np.sort(rng.choice(np.arange(100, length - 100), sites // contigs, replace=False))
        alt = (genome[contig, places] + rng.integers(1, 4, len(places))) % 4
        side = rng.integers(0, 2, len(places))
        carried[contig, side, places] = alt
        lines += [
            f"chr{contig + 1}\t{place + 1}\t.\t{'ACGT'[genome[contig, place]]}\t{'ACGT'[other]}\t.\tPASS\t.\tGT\t{'0|1' if one else '1|0'}"
            for place, other, one in zip(places.tolist(), alt.tolist(), side.tolist(), strict=True)
        ]
    (folder / "d.vcf").write_text("\n".join(lines) + "\n")
    pysam.tabix_index(str(folder / "d.vcf"), preset="vcf", force=True)
    centres = rng.integers(2000, length - 2000, 2000)
    weights = rng.lognormal(0, 1.6, 2000)
    peaks = centres[rng.choice(2000, reads * 2 // 3, p=weights / weights.sum())]
    positions = np.concatenate([peaks + np.round(rng.laplace(0, 6, len(peaks))).astype(int),
                                rng.integers(200, length - 200, reads - len(peaks))])  # fmt: skip
    on, strands, haplotype = (rng.integers(0, most, reads) for most in (contigs, 2, 2))
    starts = np.where(strands == 0, positions, positions - 49)
    writer = subprocess.Popen(
        ["samtools", "view", "-b", "-o", folder / "reads.bam", "-"], stdin=subprocess.PIPE, text=True
    )
    assert writer.stdin is not None
    names = "".join(f"@SQ\tSN:chr{contig + 1}\tLN:{length}\n" for contig in range(contigs))
    writer.stdin.write(f"@HD\tVN:1.6\tSO:coordinate\n{names}")
    for read, at in enumerate(np.lexsort((starts, on)).tolist()):
        bases = letters[carried[on[at], haplotype[at], starts[at] : starts[at] + 50]].tobytes().decode()
        writer.stdin.write(
            f"r{read}\t{16 * strands[at]}\tchr{on[at] + 1}\t{starts[at] + 1}\t60\t50M\t*\t0\t0\t{bases}\t{'I' * 50}\n"
        )
    writer.stdin.close()
    writer.wait()
    subprocess.run(["samtools", "index", folder / "reads.bam"], check=True)
    windows = pd.DataFrame({"#chrom": "chr1", "start": np.arange(500, length - 2000, 2000)})
    windows = pd.concat([windows.assign(**{"#chrom": f"chr{contig + 1}"}) for contig in range(contigs)])
    windows = windows.assign(end=windows["start"] + 1000)
    windows.to_csv(folder / "windows.bed", sep="\t", index=False)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--reads", type=int, default=5_000_000)
    parser.add_argument("--sites", type=int, default=100_000)
    parser.add_argument("--contigs", type=int, default=2, help="contigs of the simulated genome")
    parser.add_argument("--length", type=int, default=20_000_000, help="bp of each")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    for name in ("OMP", "OPENBLAS", "NUMBA"):
        os.environ[f"{name}_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate(folder, options.reads, options.sites, options.contigs, options.length)
        (folder / "loop.py").write_text(PYSAM_LOOP)
        bam, vcf, python = folder / "reads.bam", folder / "d.vcf.gz", sys.executable
        commands = {
            "count_alleles.py": f"{python} {BIN}/count_alleles.py --reads {bam} --vcf {vcf} --windows {folder}/windows.bed "
            f"--library L --donor D --out-prefix {folder}/ours --threads 1",
            "bcftools mpileup": f"bcftools mpileup -f {folder}/genome.fa -T {vcf} -q 30 -Q 20 -B -d 1000000 -a AD "
            f"--ff 2820 -Ou {bam} | bcftools query -f '%CHROM\\t%POS\\t%REF\\t%ALT\\t[%AD]\\n' > {folder}/pileup.tsv",
            "pysam loop": f"{python} {folder}/loop.py {bam} {vcf} {folder}/loop.tsv",
        }
        subprocess.run(commands["count_alleles.py"], shell=True, check=True, capture_output=True)  # kernels are kept
        figures = {tool: measure(command, options.repeats) for tool, command in commands.items()}
        same_counts(folder)
    load = os.getloadavg()[0]
    print(f"1 thread, median of {options.repeats}, load average {load:.1f}; counts equal")
    for tool, (wall, cpu, peak) in figures.items():
        print(f"{tool:20s} wall {wall:6.2f} s   cpu {cpu:6.2f} s   peak {peak:5.0f} MiB")
    best = [min(figure[place] for tool, figure in figures.items() if tool != "count_alleles.py") for place in (0, 1)]
    wall, cpu, _ = figures["count_alleles.py"]
    print(f"fastest peer / ours: wall {best[0] / wall:.2f}, cpu {best[1] / cpu:.2f}")


def same_counts(folder: Path) -> None:
    """Stop unless all three tools counted the same reads of both alleles."""
    ours = pd.read_csv(folder / "ours.snvs.tsv.gz", sep="\t")
    ours = ours[ours["ref_count"] + ours["alt_count"] > 0]
    mine = {(row.chrom, row.pos): (row.ref_count, row.alt_count) for row in ours.itertuples()}
    loop = pd.read_csv(folder / "loop.tsv", sep="\t", header=None)
    assert mine == {(row[0], row[1]): (row[2], row[3]) for row in loop.itertuples(index=False)}
    alleles = {(row.chrom, row.pos): row.alt for row in ours.itertuples()}
    pileup = pd.read_csv(folder / "pileup.tsv", sep="\t", header=None, names=["chrom", "pos", "ref", "alts", "depth"])
    found = {}
    for row in pileup.itertuples():
        depth = dict(zip([row.ref, *str(row.alts).split(",")], map(int, str(row.depth).split(",")), strict=True))
        if (row.chrom, row.pos) in alleles:
            found[row.chrom, row.pos] = depth[row.ref], depth.get(alleles[row.chrom, row.pos], 0)
    assert mine == found, "bcftools counts differ"


if __name__ == "__main__":
    main()
