"""A genome, a phased cohort with realistic linkage and evenly spread windows, as input of the haplotype benchmarks.

msprime, constant population of 10,000, recombination 1e-8, mutation 2.84e-8 a base and generation; 90 % SNVs, 5 %
deletions, 5 % insertions of geometric length; biallelic records in position order, windows of 1 kb.
"""

from pathlib import Path

import msprime
import numpy as np
import pysam

WIDTH = 1000
BASES = np.frombuffer(b"ACGT", np.uint8)


def make_cohort(folder: Path, donors: int, megabases: float, windows: int) -> dict[str, Path]:
    """Write ``genome.fa``, ``variants.vcf.gz`` and ``windows.bed`` with their indices; files that exist are kept."""
    paths = {
        name: folder / file
        for name, file in (("fasta", "genome.fa"), ("vcf", "variants.vcf.gz"), ("windows", "windows.bed"))
    }
    if paths["windows"].exists():
        return paths
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    length = int(megabases * 1e6 / 2)
    genome = {name: BASES[rng.choice(4, length, p=[0.295, 0.205, 0.205, 0.295])] for name in ("chr1", "chr2")}
    with paths["fasta"].open("wb") as handle:
        for name, sequence in genome.items():
            handle.write(f">{name}\n".encode())
            handle.writelines(sequence[i : i + 60].tobytes() + b"\n" for i in range(0, length, 60))
    pysam.faidx(str(paths["fasta"]))
    with pysam.BGZFile(str(paths["vcf"]), "w") as handle:
        handle.write(_header(genome, donors).encode())
        for number, (name, sequence) in enumerate(genome.items()):
            for line in _records(name, sequence, donors, number, rng):
                handle.write(line)
    pysam.tabix_index(str(paths["vcf"]), preset="vcf", force=True)
    per_contig = windows // 2
    step = (length - 4000) // per_contig
    with paths["windows"].open("w") as table:
        table.write("#chrom\tstart\tend\tname\tscore\tstrand\tfold\n")
        for name in genome:
            for i in range(per_contig):
                start = 2000 + i * step + int(rng.integers(0, max(1, step - WIDTH - 100)))
                table.write(f"{name}\t{start}\t{start + WIDTH}\t{name}_{i}\t0\t.\t{i % 5}\n")
    return paths


def _header(genome: dict[str, np.ndarray], donors: int) -> str:
    contigs = "".join(f"##contig=<ID={name},length={len(sequence)}>\n" for name, sequence in genome.items())
    columns = [
        "#CHROM",
        "POS",
        "ID",
        "REF",
        "ALT",
        "QUAL",
        "FILTER",
        "INFO",
        "FORMAT",
        *(f"S{i:04d}" for i in range(donors)),
    ]
    gt = '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n'
    passed = '##FILTER=<ID=PASS,Description="All filters passed">\n'
    return f"##fileformat=VCFv4.2\n{passed}{contigs}{gt}" + "\t".join(columns) + "\n"


def _records(name, sequence, donors, number, rng):
    length = len(sequence)
    trees = msprime.sim_ancestry(
        donors, sequence_length=length, recombination_rate=1e-8, population_size=1e4, random_seed=11 + number
    )
    trees = msprime.sim_mutations(trees, rate=2.84e-8, random_seed=21 + number, model=msprime.BinaryMutationModel())
    calls = np.frombuffer(b"0|0\t" * donors, np.uint8).reshape(donors, 4).copy()
    last = 0
    for variant in trees.variants():
        position = int(variant.site.position)
        carried = (variant.genotypes > 0).astype(np.uint8)
        if position <= last or not 100 <= position <= length - 100 or carried.sum() in (0, 2 * donors):
            continue
        last = position
        ref, kind = chr(sequence[position]), rng.random()
        size = min(int(rng.geometric(0.3)), 50)
        if kind < 0.90:
            alt = rng.choice([base for base in "ACGT" if base != ref])
        elif kind < 0.95:
            ref = sequence[position : position + size + 1].tobytes().decode()
            alt = ref[0]
        else:
            alt = ref + "".join(rng.choice(list("ACGT"), size))
        calls[:, [0, 2]] = 48 + carried.reshape(-1, 2)
        yield f"{name}\t{position + 1}\t.\t{ref}\t{alt}\t.\tPASS\t.\tGT\t".encode() + calls.tobytes()[:-1] + b"\n"
