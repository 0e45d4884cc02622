"""The store holds, for every donor and window, the right two sequences."""

import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from allelegro.genotype.store import HaplotypeStore
from allelegro.io.dna import decode
from helpers.slow_haplotypes import Cohort, Record, cohorts, expected, extract, random_dna


def assert_right(store: HaplotypeStore, cohort: Cohort, *, indels: bool = True) -> None:
    assert (store.sequences[store.offsets[:-1]] == reference_rows(cohort)).all()
    for window in range(len(cohort.windows)):
        sequences = [decode(row) for row in store.distinct(window)]
        assert len(set(sequences)) == len(sequences), "a sequence is stored twice"
        for place, donor in enumerate(store.donors):
            for copy in range(2):
                right = expected(cohort, window, donor, copy, indels=indels)
                assert sequences[store.index[window, place, copy]] == right, (window, donor, copy)


def reference_rows(cohort: Cohort) -> np.ndarray:
    from allelegro.io.dna import encode

    return np.stack([encode(cohort.genome[c][s:e]) for c, s, e in cohort.windows])


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(cohorts(), st.booleans(), st.sampled_from([(64, 16_384, 10**6), (1, 1, 10**6), (2, 3, 4), (1, 20, 300)]))
def test_random_variants_equal_the_slow_implementation(
    cohort: Cohort, indels: bool, limits: tuple[int, int, int]
) -> None:
    """Also when windows are read apart, in several shards, and the padding must grow."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("allelegro.genotype.shard.FIRST_PAD", limits[0])
        patch.setattr("allelegro.genotype.shard.FETCH_GAP", limits[1])
        patch.setattr(
            "allelegro.genotype.shard.TEXT_BUDGET" if limits[2] == 300 else "allelegro.genotype.extract.INDEX_BUDGET",
            limits[2],
        )
        store = extract(cohort, Path(folder), indels="keep" if indels else "skip")
        assert_right(store, cohort, indels=indels)


def test_a_deletion_longer_than_the_padding(tmp_path: Path) -> None:
    """Windows on both sides of 5 kb that some donors lack are refilled from beyond, with the donor's own alleles."""
    rng = random.Random(4)
    sequence = random_dna(rng, 8_000)
    calls = ["0|1", "1|0", "0|0", "1|1"]
    records = [Record(1_000, sequence[999], "<DEL>", calls, info="END=6000")]
    for pos in range(300, 7_500, 23):
        ref = sequence[pos - 1]
        alt = rng.choice([base for base in "ACGT" if base != ref])
        records.append(Record(pos, ref, alt, [rng.choice(["0|1", "1|0", "0|0", "1|1"]) for _ in calls]))
    records.sort(key=lambda record: record.pos)
    windows = [("chr1", start, start + 500) for start in (400, 700, 900, 3_000, 5_600, 5_990, 6_200)]
    cohort = Cohort({"chr1": sequence}, records, ["a", "b", "c", "d"], windows)
    store = extract(cohort, tmp_path)
    assert_right(store, cohort)
