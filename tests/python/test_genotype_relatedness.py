"""Kinship and ancestry of simulated relatives and populations."""

import random
from pathlib import Path

import numpy as np
import pytest

from allelegro.genotype.relatedness import degree, families, king_robust, principal_components
from helpers.slow_haplotypes import Cohort, Record, extract, random_dna


def simulate_dosages(rng: np.random.Generator) -> np.ndarray:
    """Two parents, two children, one unrelated donor, and a second sample of the first parent."""
    frequency = rng.uniform(0.05, 0.95, 20_000)
    mother, father, other = (rng.random((2, len(frequency))) < frequency for _ in range(3))

    def child() -> np.ndarray:
        pick = rng.integers(0, 2, (2, len(frequency)))
        sites = np.arange(len(frequency))
        return np.stack([mother[pick[0], sites], father[pick[1], sites]])

    return np.stack([person.sum(axis=0) for person in (mother, father, child(), child(), other, mother)], axis=1)


def test_king_robust_kinship() -> None:
    kinship, error = king_robust(simulate_dosages(np.random.default_rng(3)))
    expected = {(0, 1): 0, (0, 2): 0.25, (1, 3): 0.25, (2, 3): 0.25, (0, 4): 0, (2, 4): 0, (0, 5): 0.5}
    for pair, value in expected.items():
        assert kinship[pair] == pytest.approx(value, abs=0.02), pair
    assert (kinship == kinship.T).all()
    assert error.max() < 0.02
    assert [degree(value) for value in (0.5, 0.25, 0.125, 0.06, 0.01)] == [
        "duplicate",
        "first",
        "second",
        "third",
        "unrelated",
    ]


def test_king_robust_by_its_formula() -> None:
    dosage = np.random.default_rng(1).integers(0, 3, (50, 4))
    kinship, _ = king_robust(dosage)
    for i in range(4):
        for j in range(4):
            a, b = dosage[:, i], dosage[:, j]
            het_i, het_j = sorted([(a == 1).sum(), (b == 1).sum()])
            both, opposite = ((a == 1) & (b == 1)).sum(), (abs(a - b) == 2).sum()
            assert kinship[i, j] == pytest.approx(
                (both - 2 * opposite) / (2 * het_i) + 0.5 - (het_i + het_j) / (4 * het_i)
            )


def test_a_trio_is_one_family_and_few_variants_say_nothing(tmp_path: Path) -> None:
    rng = random.Random(2)
    genome = {"chr1": random_dna(rng, 12_000)}
    names = ["mother", "other", "child", "father", "stranger"]
    records = []
    for pos in range(10, 11_990, 8):
        ref = genome["chr1"][pos - 1]
        frequency = rng.uniform(0.1, 0.9)
        pairs = {name: [int(rng.random() < frequency) for _ in range(2)] for name in names}
        pairs["child"] = [rng.choice(pairs["mother"]), rng.choice(pairs["father"])]
        calls = ["|".join(map(str, pairs[name])) for name in names]
        records.append(Record(pos, ref, rng.choice([base for base in "ACGT" if base != ref]), calls))
    windows = [("chr1", start, start + 200) for start in range(0, 12_000, 200)]
    found = families(extract(Cohort(genome, records, names, windows), tmp_path / "all"))
    assert found["mother"] == found["child"] == found["father"]
    assert len({found[name] for name in ("other", "stranger", "child")}) == 3
    few = families(extract(Cohort(genome, records, names, windows[:3]), tmp_path / "few"))
    assert len(set(few.values())) == 5


def test_kinship_error_is_that_of_repeats() -> None:
    """Blocks of ten identical neighbours imitate linkage."""
    rng = np.random.default_rng(5)
    values, errors = [], []
    for _ in range(60):
        frequency = rng.uniform(0.1, 0.9, 300)
        dosage = np.repeat(rng.binomial(2, frequency[:, None], (300, 4)), 10, axis=0)
        kinship, error = king_robust(dosage)
        values.append(kinship[np.triu_indices(4, 1)])
        errors.append(error[np.triu_indices(4, 1)])
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.2)


def test_principal_components_find_two_populations() -> None:
    rng = np.random.default_rng(2)
    base = rng.uniform(0.2, 0.8, 2000)
    shifted = np.clip(base + rng.normal(0, 0.15, 2000), 0.05, 0.95)
    dosage = np.concatenate([rng.binomial(2, base, (10, 2000)), rng.binomial(2, shifted, (10, 2000))]).T
    dosage = dosage[(dosage.mean(axis=1) > 0) & (dosage.mean(axis=1) < 2)]
    scores, shares = principal_components(dosage, 3)
    assert scores.shape == (20, 3)
    assert (np.sign(scores[:10, 0]) == np.sign(scores[0, 0])).all()
    assert (np.sign(scores[10:, 0]) == -np.sign(scores[0, 0])).all()
    assert shares[0] > 1.4 * shares[1]
