"""Whole cohorts, every donor and window, against the slow implementation and bcftools consensus."""

import os
import subprocess
import sys
from pathlib import Path

import pysam
import pytest

from allelegro.genotype.extract import extract_haplotypes
from allelegro.genotype.store import HaplotypeStore
from helpers.slow_haplotypes import PAD, count_consensus_differences, count_slow_differences, write_windows

REPOSITORY = Path(__file__).parents[2]
REAL = REPOSITORY.parent / "shared" / "data" / "chr22_hg19"
WIDTH = 1000


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[HaplotypeStore, Path, Path]:
    """Six simulated donors, three variants in ten indels, a window every 2 kb of both chromosomes."""
    folder = tmp_path_factory.mktemp("simulated")
    command = [sys.executable, REPOSITORY / "bin" / "simulate_cohort.py", "--preset", "tiny", "--indel-share", "0.3"]
    subprocess.run([*command, "--out", folder / "cohort"], check=True, env=os.environ, capture_output=True)
    vcf, fasta = folder / "cohort" / "variants.vcf.gz", folder / "cohort" / "genome.fa"
    with pysam.FastaFile(str(fasta)) as genome:
        lengths = dict(zip(genome.references, genome.lengths, strict=True))
    windows = [
        (chrom, start, start + WIDTH)
        for chrom, length in lengths.items()
        for start in range(PAD, length - WIDTH - PAD, 2 * WIDTH)
    ]
    write_windows(folder / "windows.bed", windows)
    extract_haplotypes([vcf], fasta, folder / "windows.bed", folder / "store")
    return HaplotypeStore(folder / "store"), vcf, fasta


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[HaplotypeStore, Path, Path]:
    """60 people on 1 Mb of chromosome 22, windows side by side."""
    if not REAL.is_dir():
        pytest.skip("the real chr22 data are not here")
    folder, vcf, fasta = tmp_path_factory.mktemp("chr22"), REAL / "yri60.phased.vcf.gz", REAL / "genome.fa.gz"
    starts = range(20_000_000 + PAD, 21_000_000 - WIDTH - PAD, WIDTH)
    write_windows(folder / "windows.bed", [("chr22", start, start + WIDTH) for start in starts])
    extract_haplotypes([vcf], fasta, folder / "windows.bed", folder / "store")
    return HaplotypeStore(folder / "store"), vcf, fasta


@pytest.mark.parametrize("cohort", ["simulated", "real"])
def test_every_donor_and_window_equals_the_slow_implementation(cohort: str, request: pytest.FixtureRequest) -> None:
    assert count_slow_differences(*request.getfixturevalue(cohort)) == 0


def test_simulated_cohort_equals_bcftools_consensus(simulated, tmp_path: Path) -> None:
    store, vcf, fasta = simulated
    assert count_consensus_differences(store, vcf, fasta, tmp_path, store.donors) == 0


@pytest.mark.parametrize("every", [pytest.param(12, id="some"), pytest.param(1, id="all", marks=pytest.mark.slow)])
def test_real_donors_equal_bcftools_consensus(real, tmp_path: Path, every: int) -> None:
    store, vcf, fasta = real
    assert count_consensus_differences(store, vcf, fasta, tmp_path, store.donors[::every]) == 0
