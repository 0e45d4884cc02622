"""Covariates and components: read with one line for each fault, and taken from what donors differ in at a locus."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from allelegro.errors import DataError
from allelegro.inputs.check import check_inputs
from allelegro.io.covariates import of_donors, read_covariates
from allelegro.models.checkpoint import load_model
from allelegro.training.cohort import load_cohort
from allelegro.training.factors import between_donors, count_components, hidden_factors
from allelegro.training.finetune import finetune
from allelegro.training.losses import CountLoss
from allelegro.training.settings import FinetuneSettings
from helpers.toy_stores import Toy, make_toy

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make_toy(tmp_path_factory.mktemp("toy"), loci=80, donors=20)


def sheet(folder: Path, text: str) -> Path:
    path = folder / "covariates.tsv"
    path.write_text(text)
    return path


def test_numbers_and_groups(tmp_path: Path) -> None:
    path = sheet(tmp_path, "donor\tbatch\tsex\tage\n007\t1\tF\t30.5\nNA\t2\tM\t41\n1e5\t1\tF\t28\n")
    table = of_donors(read_covariates(path), path, ["1e5", "007"])
    assert table.index.tolist() == ["1e5", "007"]
    assert table["batch"].tolist() == ["1", "1"] and table["age"].tolist() == [28, 30.5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("donor\nA\nB\n", "no column besides donor"),
        ("person\tage\nA\t1\n", "donor"),
        ("donor\tage\nA\t1\nA\t2\n", "row 2: donor 'A' occurs twice"),
        ("donor\tage\nA\t1\nB\t\n", "row 2, column age: empty for donor 'B'"),
        ("donor\tage\nA\t1\nB\tinf\n", "row 2, column age: 'inf' is no finite number"),
        ("donor\tsex\nA\tF\nB\tF\n", "column sex: 'F' for every donor"),
        ("donor\tbatch\nA\t1\nB\t2\nC\t3\n", "column batch: every donor is a group of its own"),
        ("donor\tage\nB\t1\nC\t2\n", "no row for 1 of 2 donors with libraries (A); add them"),
    ],
)
def test_each_fault_is_one_line_of_the_input_check(tmp_path: Path, text: str, message: str) -> None:
    path = sheet(tmp_path, text)
    (tmp_path / "a.bw").write_text("x")
    (tmp_path / "b.bw").write_text("x")
    libraries = tmp_path / "libraries.tsv"
    libraries.write_text("library\tdonor\tplus\tminus\nL1\tA\ta.bw\tb.bw\nL2\tB\tc.bw\td.bw\n")
    found = check_inputs(
        libraries=libraries, mpra=None, variant_sets=None, comparators=None, genome=None, variants=[], covariates=path,
        rows_only=True,
    )  # fmt: skip
    assert [message in problem for problem in found.problems] == [True]
    assert str(path) in found.problems[0] and "\n" not in found.problems[0]


def with_batch(toy: Toy, strength: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RPM with a batch that acts on every second locus, the batch of each donor, and its effect ``[locus, donor]``."""
    cohort = load_cohort(toy.counts, toy.haplotypes, 100, 120)
    rng = np.random.default_rng(4)
    batch = np.arange(20) % 2
    effect = strength * rng.normal(size=80) * (np.arange(80) % 2)
    effect = effect[:, None] * (batch - batch.mean())
    return cohort.rpm * np.exp(effect), batch, effect


def test_offsets_are_what_factors_explain_and_nothing_where_they_do_not_act(toy: Toy) -> None:
    rpm, batch, effect = with_batch(toy, 1.0)
    design = pd.DataFrame({"batch": (batch - 0.5) / 0.5})
    offsets = between_donors(rpm, design)
    np.testing.assert_allclose(offsets.mean(axis=1), 0, atol=1e-12)
    assert np.corrcoef(offsets.ravel(), effect.ravel())[0, 1] > 0.9
    assert offsets[::2].std() < 0.25 * offsets[1::2].std()
    untouched = between_donors(rpm, pd.DataFrame({"noise": np.random.default_rng(0).normal(size=20)}))
    assert untouched.std() < 0.3 * offsets.std()


def test_components_of_counts_find_a_batch_that_nobody_recorded(toy: Toy) -> None:
    rpm, batch, _ = with_batch(toy, 2.0)
    scores = count_components(rpm, 2)
    assert abs(np.corrcoef(scores[:, 0], batch)[0, 1]) > 0.95
    with pytest.raises(DataError, match="--count-components 20: 20 training donors have fewer"):
        count_components(rpm, 20)


def test_factors_of_settings_are_standardised_and_bounded(toy: Toy, tmp_path: Path) -> None:
    cohort = load_cohort(toy.counts, toy.haplotypes, 100, 120)
    rows = "".join(f"{name}\t{place % 3}\t{place}\n" for place, name in enumerate(cohort.donors))
    settings = FinetuneSettings(covariates=sheet(tmp_path, f"donor\tbatch\tage\n{rows}"), count_components=2)
    factors = hidden_factors(settings, cohort, toy.haplotypes, np.arange(40))
    assert sorted(factors.columns) == ["age", "batch_1", "batch_2", "counts_PC1", "counts_PC2"]
    np.testing.assert_allclose(factors.mean(), 0, atol=1e-12)
    np.testing.assert_allclose(factors.std(ddof=0), 1)
    assert hidden_factors(FinetuneSettings(), cohort, toy.haplotypes, np.arange(40)).empty
    with pytest.raises(DataError, match="19 covariates and components for 20 training donors"):
        hidden_factors(replace(settings, count_components=16), cohort, toy.haplotypes, np.arange(40))


@pytest.mark.parametrize("kind", CountLoss.KINDS)
def test_an_offset_is_part_of_the_expected_count(kind: str) -> None:
    """With sizes that hold the batch, the true rates are better than rates that had to imitate it."""
    rng = np.random.default_rng(2)
    log_rate, offset = rng.normal(3, 1, (50, 1)) + rng.normal(0, 0.3, (50, 8)), rng.normal(0, 0.5, (50, 8))
    counts = torch.tensor(np.exp(log_rate + offset) * 100)
    loss, rates = CountLoss(kind, 1.0), torch.tensor(log_rate)
    sizes = torch.tensor(100 * np.exp(offset))
    assert float(loss(rates, counts, sizes)) < float(loss(rates, counts, torch.full((8,), 100.0)))
    best = float(loss(rates, counts, sizes))
    assert all(float(loss(rates + torch.tensor(rng.normal(0, 0.1, (50, 8))), counts, sizes)) > best for _ in range(3))


def test_fine_tuning_records_its_factors_and_clipnet_takes_none(toy: Toy, tmp_path: Path) -> None:
    rows = "".join(f"D{place:02d}\t{'ab'[place % 2]}\n" for place in range(20))
    path = sheet(tmp_path, f"donor\tbatch\n{rows}")
    options = FinetuneSettings(preset="tiny", input_width=80, target_width=60, epochs=1, covariates=path)
    finetune(toy.counts, toy.haplotypes, tmp_path / "legnet", replace(options, count_components=1), "cpu", None)
    training = load_model(tmp_path / "legnet").config["training"]
    assert training["factors"] == ["batch_b", "counts_PC1"] and "covariates" not in training
    clipnet = replace(options, model="clipnet", clipnet_epochs=1, clipnet_steps=1)
    finetune(toy.counts, toy.haplotypes, tmp_path / "clipnet", clipnet, "cpu", None)
    assert load_model(tmp_path / "clipnet").config["training"]["factors"] == []
    short = sheet(tmp_path, f"donor\tbatch\n{rows.splitlines(keepends=True)[0]}D01\tb\n")
    with pytest.raises(DataError, match="no row for 14 of 16 donors"):
        finetune(toy.counts, toy.haplotypes, tmp_path / "x", replace(options, covariates=short), "cpu", None)
