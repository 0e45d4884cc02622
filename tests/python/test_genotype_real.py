"""Real genotypes: 60 donors on 1 Mb of chromosome 22, against the slow implementation and bcftools consensus."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pysam
import pytest
from genotype_truth import Record, edits_of, haplotype, write_windows

from allelegro.genotype.extract import extract_haplotypes
from allelegro.genotype.store import HaplotypeStore
from allelegro.io.dna import decode

DATA = Path(__file__).parents[3] / "shared" / "data" / "chr22_hg19"
VCF, FASTA = DATA / "yri60.phased.vcf.gz", DATA / "genome.fa.gz"
START, END, WIDTH, PAD = 20_000_000, 21_000_000, 1000, 200

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real chr22 data are not here")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> HaplotypeStore:
    folder = tmp_path_factory.mktemp("chr22")
    starts = range(START + PAD, END - WIDTH - PAD, WIDTH)
    write_windows(folder / "windows.bed", [("chr22", start, start + WIDTH) for start in starts])
    extract_haplotypes([VCF], FASTA, folder / "windows.bed", folder / "store")
    return HaplotypeStore.open(folder / "store")


def records() -> list[Record]:
    found = []
    with pysam.VariantFile(str(VCF)) as file:
        for line in map(str, file):
            chrom, pos, _, ref, alt, _, _, info, form, *calls = line.rstrip("\n").split("\t")
            found.append(Record(int(pos), ref, alt, calls, info, form, chrom))
    return found


def test_every_donor_and_window_equals_the_slow_implementation(store: HaplotypeStore) -> None:
    with pysam.FastaFile(str(FASTA)) as file:
        genome = file.fetch("chr22", START, END)
    all_edits = [
        [edits_of(records_, "chr22", donor, copy, indels=True) for copy in range(2)]
        for records_ in [records()]
        for donor in range(len(store.donors))
    ]

    @cache
    def spelled(start: int, edits: tuple[tuple[int, int, str], ...]) -> str:
        low = start - PAD
        local = [(a - low, b - low, bases) for a, b, bases in edits]
        return haplotype(genome[low - START : low - START + WIDTH + 2 * PAD], local, PAD, PAD + WIDTH)

    rows = store.rows(np.arange(len(store)), slice(None))
    starts = store.windows["start"].tolist()
    for donor in range(len(store.donors)):
        for copy in range(2):
            edits = all_edits[donor][copy]
            first = [a for a, _, _ in edits]
            for window, start in enumerate(starts):
                low, high = np.searchsorted(first, [start - PAD, start + WIDTH + PAD])
                near = tuple(edit for edit in edits[low:high] if edit[1] < start + WIDTH + PAD)
                assert decode(store.sequences[rows[window, donor, copy]]) == spelled(start, near)


def consensus(donor: str, copy: int, folder: Path) -> dict[str, tuple[str, list[tuple[int, int, int]]]]:
    """Personal sequence and chain blocks (size, reference gap, personal gap) of each padded region."""
    out, chain = folder / "out.fa", folder / "out.chain"
    command = ["bcftools", "consensus", "-s", donor, "-H", f"{copy + 1}pIu", "-f", folder / "padded.fa", "-c", chain]
    subprocess.run([*command, "-o", out, VCF], check=True, capture_output=True)
    blocks: dict[str, list[tuple[int, int, int]]] = {}
    name, sequences = "", {}
    for line in chain.read_text().splitlines():
        fields = line.split()
        if line.startswith("chain"):
            name = f"{fields[2]}:{int(fields[5]) + 1}-{fields[6]}"
            blocks[name] = []
        elif fields:
            sizes = [int(value) for value in fields]
            blocks[name].append((sizes[0], sizes[1] if len(sizes) > 1 else 0, sizes[2] if len(sizes) > 1 else 0))
    for entry in out.read_text().split(">")[1:]:
        name, *lines = entry.split("\n")
        sequences[name] = "".join(lines).upper()
    return {name: (sequence, blocks.get(name, [])) for name, sequence in sequences.items()}


def cut(sequence: str, blocks: list[tuple[int, int, int]]) -> str:
    """The window around the reference base that stands at its centre, found by way of the chain."""
    centre, reference, personal, at = PAD + WIDTH // 2, 0, 0, None
    for size, gap_reference, gap_personal in blocks or [(len(sequence), 0, 0)]:
        if centre < reference + size:
            at = personal + centre - reference
            break
        reference, personal = reference + size, personal + size
        if centre < reference + gap_reference:
            at = personal + gap_personal
            break
        reference, personal = reference + gap_reference, personal + gap_personal
    assert at is not None
    return sequence[at - WIDTH // 2 : at + WIDTH - WIDTH // 2]


@pytest.mark.skipif(shutil.which("bcftools") is None, reason="bcftools is not here")
@pytest.mark.parametrize("every", [pytest.param(12, id="5 donors"), pytest.param(1, id="all", marks=pytest.mark.slow)])
def test_windows_equal_bcftools_consensus(store: HaplotypeStore, tmp_path: Path, every: int) -> None:
    with pysam.FastaFile(str(FASTA)) as file, (tmp_path / "padded.fa").open("w") as padded:
        for start in store.windows["start"].tolist():
            low, high = start - PAD, start + WIDTH + PAD
            padded.write(f">chr22:{low + 1}-{high}\n{file.fetch('chr22', low, high)}\n")
    different = 0
    for donor in range(0, len(store.donors), every):
        for copy in range(2):
            personal = consensus(store.donors[donor], copy, tmp_path)
            rows = store.rows(np.arange(len(store)), donor)[:, copy]
            for (sequence, blocks), row in zip(personal.values(), rows.tolist(), strict=True):
                different += cut(sequence, blocks) != decode(store.sequences[row])
    assert different == 0
