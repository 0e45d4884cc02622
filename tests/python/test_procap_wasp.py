"""Reference bias of alignments: reads that an allele swap moves are marked, and what is left prefers no allele."""

import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest

from allelegro.errors import DataError
from allelegro.procap.align import AlignmentPlan, align_reads
from allelegro.procap.alleles import MOVED, count_alleles
from allelegro.procap.bam import ReadRules
from allelegro.procap.wasp import OUTCOMES, Alignment

needs_tools = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("cutadapt", "bowtie2", "samtools")),
    reason="needs cutadapt, bowtie2, samtools",
)
SITES, LENGTH, READS = 60, 36, 4000


def reverse_complement(bases: str) -> str:
    return bases[::-1].translate(str.maketrans("ACGT", "TGCA"))


def write_cohort(folder: Path, *, paired: bool) -> list[tuple[Path, Path | None]]:
    """Null sites in a random genome; reads of both haplotypes alike. At a tenth of sites a copy elsewhere has the other allele."""
    rng = random.Random(7)
    bases = rng.choices("ACGT", k=400 * SITES + 20_000)
    places = [400 * (n + 1) for n in range(SITES)]
    alts = [rng.choice([base for base in "ACGT" if base != bases[place]]) for place in places]
    haplotypes = [bases.copy(), bases.copy()]
    for number, (place, alt) in enumerate(zip(places, alts, strict=True)):
        haplotypes[rng.randrange(2)][place] = alt
        if number % 10 == 0:
            copy = 400 * SITES + 2000 + 100 * number
            bases[copy - 30 : copy + 31] = [*bases[place - 30 : place], alt, *bases[place + 1 : place + 31]]
    (folder / "genome.fa").write_text(f">chr1\n{''.join(bases)}\n")
    lines = ["##fileformat=VCFv4.2", f"##contig=<ID=chr1,length={len(bases)}>"]
    lines += ['##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">']
    lines += ["#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tD"]
    lines += [
        f"chr1\t{place + 1}\t.\t{bases[place]}\t{alt}\t.\tPASS\t.\tGT\t{'0|1' if haplotypes[1][place] == alt else '1|0'}"
        for place, alt in zip(places, alts, strict=True)
    ]
    (folder / "d.vcf").write_text("\n".join(lines) + "\n")
    pysam.tabix_index(str(folder / "d.vcf"), preset="vcf", force=True)
    first, second = [], []
    for n in range(READS):
        place, haplotype = rng.choice(places), "".join(haplotypes[rng.randrange(2)])
        start = place - rng.randrange(LENGTH)
        read = haplotype[start : start + LENGTH]
        mate = reverse_complement(haplotype[start + 60 : start + 60 + LENGTH])
        if rng.random() < 0.5:
            read, mate = (mate, read) if paired else (reverse_complement(read), mate)
        first.append(f"@q{n}\n{read}\n+\n{'I' * LENGTH}\n")
        second.append(f"@q{n}\n{mate}\n+\n{'I' * LENGTH}\n")
    (folder / "1.fq").write_text("".join(first))
    (folder / "2.fq").write_text("".join(second))
    pd.DataFrame({"#chrom": ["chr1"], "start": [0], "end": [len(bases)], "name": ["w"]}).to_csv(
        folder / "windows.bed", sep="\t", index=False
    )
    return [(folder / "1.fq", folder / "2.fq" if paired else None)]


def log_ratio(folder: Path, bam: Path) -> tuple[float, float, dict[str, int]]:
    """Mean log2 of alternative over reference reads of all sites, its standard error, and reads by outcome."""
    summary = count_alleles(
        [bam], [folder / "d.vcf.gz"], folder / "windows.bed", folder / bam.stem, library="L", donor="D",
        read_rules=ReadRules(min_mapq=30),
    )  # fmt: skip
    table = pd.read_csv(folder / f"{bam.stem}.snvs.tsv.gz", sep="\t")
    ratio = np.log2((table["alt_count"] + 0.5) / (table["ref_count"] + 0.5))
    return float(ratio.mean()), float(ratio.std() / np.sqrt(len(ratio))), summary["reads"]


@needs_tools
@pytest.mark.parametrize("paired", [False, True])
def test_the_filter_takes_reference_bias_off_null_sites(tmp_path: Path, paired: bool) -> None:
    runs = write_cohort(tmp_path, paired=paired)
    plain = AlignmentPlan(tmp_path / "genome.fa", adapter=None)
    filtered = AlignmentPlan(tmp_path / "genome.fa", adapter=None, vcfs=[tmp_path / "d.vcf.gz"], donor="D")
    without = align_reads("L", runs, tmp_path / "plain.bam", plain)
    document = align_reads("L", runs, tmp_path / "filtered.bam", filtered)
    assert without["allele_swap"] is None
    swapped = document["allele_swap"]
    assert set(swapped) == set(OUTCOMES.values()) and swapped["back in place"] > 1000
    with pysam.AlignmentFile(str(tmp_path / "filtered.bam")) as file:
        tags = {(read.query_name, read.is_read1): dict(read.get_tags()).get("vW") for read in file}
    with pysam.AlignmentFile(str(tmp_path / "plain.bam")) as file:
        assert {(read.query_name, read.is_read1) for read in file} == set(tags)
    assert sum(tag == 1 for tag in tags.values()) == (1 + paired) * swapped["back in place"]
    assert sum((tag or 0) > 1 for tag in tags.values()) == (1 + paired) * (
        sum(swapped.values()) - swapped["back in place"]
    )
    biased, error, _ = log_ratio(tmp_path, tmp_path / "plain.bam")
    assert biased < -3 * error
    left, error, reads = log_ratio(tmp_path, tmp_path / "filtered.bam")
    assert abs(left) < error and reads[MOVED] > 50
    assert subprocess.run(["samtools", "quickcheck", tmp_path / "filtered.bam"], check=True).returncode == 0


def test_alleles_are_swapped_where_the_cigar_says() -> None:
    sites = {"chr1": (np.array([102, 106, 110, 120]), np.array([[0, 1], [2, 3], [0, 3], [0, 1]], np.uint8))}
    # 2 bases clipped, 4 aligned from 100, 1 inserted, 2 deleted (104, 105), 6 aligned from 106: sites at 102, 106 and 110.
    line = "\t".join(
        ["r", "16", "chr1", "101", "42", "2S4M1I2D6M", "*", "0", "0", "GGTTATCTTTTGT", "IIIIIIIIIIIII", "XX:Z:a"]
    )
    read = Alignment.of(line)
    assert read.place == ("chr1", 100, 16, "2S4M1I2D6M") and read.mate == 0
    assert read.swapped(sites) == "GGTTCTCGTTTGT"
    assert read.fastq("AACGT").startswith("@r\nACGTT\n")
    assert read.swapped({}) == read.bases


@needs_tools
def test_a_donor_without_genotypes_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    runs = write_cohort(tmp_path, paired=False)
    plan = AlignmentPlan(tmp_path / "genome.fa", adapter=None, vcfs=[tmp_path / "d.vcf.gz"], donor="E")
    with pytest.raises(DataError, match="E"):
        align_reads("L", runs, tmp_path / "a.bam", plan)
    assert not (tmp_path / "a.bam").exists()
    skipping = AlignmentPlan(
        tmp_path / "genome.fa", adapter=None, vcfs=[tmp_path / "d.vcf.gz"], donor="E", skip_unusable=True
    )
    assert align_reads("L", runs, tmp_path / "a.bam", skipping)["allele_swap"] is None
    assert "not filtered for reference bias" in caplog.text
