"""Copies of each allele by donor, and the alleles that are common near a window's centre."""

import random
from pathlib import Path

import pytest

from allelegro.errors import DataError
from allelegro.genotype.store import HaplotypeStore
from helpers.slow_haplotypes import Cohort, Record, extract, random_dna

DONORS = ["a", "b", "c", "d", "e"]
# Window 100-300, centre 200: (position, genotypes)
CALLS = {
    120: ["0|1", "1|0", "0|0", "1|1", "0|0"],  # common, far from the centre
    190: ["1|1", "1|1", "1|1", "1|1", "1|0"],  # one donor alone has another allele
    195: ["0|1", "1|1", "0|0", "0|0", "0|0"],  # common and near
    205: ["0|0", "0|0", "0|0", "0|1", "0|0"],  # one carrier
}


@pytest.fixture
def store(tmp_path: Path) -> HaplotypeStore:
    sequence = random_dna(random.Random(1), 600)
    swap = dict(zip("ACGT", "CGTA", strict=True))
    records = [Record(pos, sequence[pos - 1], swap[sequence[pos - 1]], calls) for pos, calls in CALLS.items()]
    return extract(Cohort({"chr1": sequence}, records, DONORS, [("chr1", 100, 300), ("chr1", 350, 550)]), tmp_path)


def test_copies_are_those_of_the_vcf(store: HaplotypeStore) -> None:
    found, copies = store.copies(0)
    positions = store.variants["pos"].to_numpy()[found]
    assert positions.tolist() == list(CALLS)
    for position, row in zip(positions, copies, strict=True):
        assert row.tolist() == [call.count("1") for call in CALLS[position]]
    nobody, none = store.copies(1)
    assert (nobody.size, none.shape) == (0, (0, 5))


def test_common_alleles_are_near_the_centre_and_divide_the_donors(store: HaplotypeStore) -> None:
    positions = store.variants["pos"].to_numpy()
    assert positions[store.common_alleles(0, 60)].tolist() == [195]
    assert positions[store.common_alleles(0, 200)].tolist() == [120, 195]
    assert store.common_alleles(1, 200) == []


def test_other_windows_are_refused(store: HaplotypeStore) -> None:
    store.check_windows(store.windows)
    with pytest.raises(DataError, match="made of other windows"):
        store.check_windows(store.windows.iloc[:1])
