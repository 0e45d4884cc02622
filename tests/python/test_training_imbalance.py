"""Allelic imbalance in evaluation: what is observed equals a slow definition, and swapped haplotypes tell nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from allelegro.io.metrics import read_metrics
from allelegro.training.cohort import AllelicReads
from allelegro.training.evaluate import evaluate
from allelegro.training.finetune import finetune
from allelegro.training.imbalance import LEAST_READS, Imbalance, observed_imbalance
from allelegro.training.metrics import imbalance_questions
from allelegro.training.settings import FinetuneSettings
from helpers.toy_stores import make_toy, with_alleles

HARDEST = "unseen_loci/unseen_donors"


def test_observed_imbalance_is_free_of_bias_and_knows_its_noise() -> None:
    """Of 800 windows of 2 libraries each tenth is imbalanced; the others show the bias of their library and nothing else."""
    rng = np.random.default_rng(2)
    loci, bias, concentration = 800, np.array([0.5, -0.3]), 60.0
    reference = rng.choice([-1.0, 0.0, 1.0], (loci, 2))
    effect = np.where(np.arange(loci) % 10 == 0, 2.0, 0.0)[:, None]
    share = 1 / (1 + np.exp(-effect - bias * reference))
    n = rng.integers(0, 80, (loci, 2))
    first = rng.binomial(n, rng.beta(concentration * share, concentration * (1 - share)))
    reads = AllelicReads(
        np.stack([first, n - first], axis=-1).astype(np.float32), reference.astype(np.float32), np.array([0, 0])
    )
    differ = np.ones((loci, 1), bool)
    differ[5] = False
    seen = observed_imbalance(reads, differ)
    assert seen is not None
    total = n.sum(axis=1)
    assert np.array_equal(seen.asked[:, 0], (total >= LEAST_READS) & differ[:, 0])
    null = seen.asked[:, 0] & (effect[:, 0] == 0)
    value, weight = seen.observed[null, 0], seen.information[null, 0]
    # The raw ratio minus what the true biases would do is, up to the fitted biases, what is observed.
    raw = np.log2((first.sum(axis=1) + 0.5) / (n.sum(axis=1) - first.sum(axis=1) + 0.5))[null]
    moved = ((bias * reference * n).sum(axis=1) / np.maximum(total, 1))[null] / np.log(2)
    assert np.abs(value - (raw - moved)).max() < 0.15
    side = np.sign(moved)
    error = value.std() / np.sqrt(np.count_nonzero(side))
    assert abs(np.average(value * side)) < 2 * error < np.average(raw * side) / 2
    assert (weight <= total[null]).all() and weight.max() < concentration
    found = seen.significant[:, 0]
    assert found[(effect[:, 0] > 0) & (total >= 40)].mean() > 0.7 and found[null].mean() < 0.02
    assert observed_imbalance(reads, np.zeros((loci, 1), bool)) is None


def test_right_signs_are_asked_of_significant_events_alone_and_the_slope_is_calibration() -> None:
    rng = np.random.default_rng(3)
    observed = rng.normal(size=(40, 12))
    significant = np.abs(observed) > 1
    observed[0], observed[1, 0] = 2, np.nan
    seen = Imbalance(observed, rng.uniform(1, 9, observed.shape), significant & np.isfinite(observed))
    guess = np.where(significant, observed, -observed) / 2
    r, slope, signs = imbalance_questions(seen, {"half": guess, "nothing": np.zeros_like(guess)})
    assert [question.metric for question in (r, slope, signs)] == [
        "allelic_imbalance_r", "allelic_imbalance_slope", "allelic_imbalance_right_sign"
    ]  # fmt: skip
    assert signs.estimate("half", 50, 1).value == 1 and signs.estimate("nothing", 50, 1).value == 0.5
    assert signs.estimate("half", 50, 1).n == seen.significant.sum()
    x, y, w = guess[seen.asked], observed[seen.asked], seen.information[seen.asked]
    assert slope.estimate("half", 50, 1).value == pytest.approx(np.polyfit(x, y, 1, w=np.sqrt(w))[0])
    assert np.isnan(r.estimate("nothing", 50, 1).value)
    assert imbalance_questions(seen.of(np.array([1]), np.array([0])), {"half": guess[:1, :1]}) == []


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """One LegNet evaluated on right haplotype labels, on swapped ones, and without allelic reads."""
    folder = tmp_path_factory.mktemp("imbalance")
    tables = {}
    for name in ("without", "right", "swapped"):
        toy = make_toy(folder / name, loci=80, donors=40, second_libraries=12)
        if name != "without":
            with_alleles(toy, swapped=name == "swapped")
        if not tables:
            settings = FinetuneSettings(
                preset="tiny", input_width=80, target_width=120, batch_loci=16, max_shift=2, test_donor_fraction=0.3,
                epochs=12,
            )  # fmt: skip
            finetune(toy.counts, toy.haplotypes, folder / "legnet", settings, "cpu", None)
            small = replace(settings, model="clipnet", input_width=120, target_width=60, clipnet_epochs=1)
            finetune(toy.counts, toy.haplotypes, folder / "clipnet", small, "cpu", None)
        out = folder / f"{name}.tsv"
        models = [("legnet", folder / "legnet"), ("clipnet", folder / "clipnet")]
        evaluate(toy.counts, toy.haplotypes, models, out, folder / "p.parquet", target_width=60, n_boot=60)
        tables[name] = read_metrics([out])
    return tables


def row(metrics: pd.DataFrame, model: str, subset: str, metric: str) -> pd.Series:
    (found,) = metrics[
        (metrics["model"] == model) & (metrics["subset"] == subset) & (metrics["metric"] == metric)
    ].index
    return metrics.loc[found]


def test_imbalance_is_predicted_in_every_cell_and_not_of_swapped_haplotypes(measured: dict[str, pd.DataFrame]) -> None:
    assert not measured["without"]["metric"].str.contains("imbalance").any()
    for subset in [
        f"{loci}/{donors}" for loci in ("seen_loci", "unseen_loci") for donors in ("seen_donors", "unseen_donors")
    ]:
        right = row(measured["right"], "legnet", subset, "allelic_imbalance_r")
        assert right["value"] > 0.5 and right["ci_low"] > 0.2 and right["n"] > 100
        swapped = row(measured["swapped"], "legnet", subset, "allelic_imbalance_r")
        assert swapped["ci_low"] < 0 < swapped["ci_high"] and abs(swapped["value"]) < 0.2
        control = row(measured["right"], "legnet - swapped_haplotypes", subset, "allelic_imbalance_r_difference")
        assert control["value"] == pytest.approx(right["value"], abs=0.2) and control["ci_low"] > 0.2
        row(measured["right"], "legnet - clipnet", subset, "allelic_imbalance_r_difference")
        assert np.isfinite(row(measured["right"], "clipnet", subset, "allelic_imbalance_r")["value"])
        assert row(measured["right"], "legnet", subset, "allelic_imbalance_slope")["value"] > 0.3


def test_the_ceiling_comes_from_replicates(measured: dict[str, pd.DataFrame]) -> None:
    ceiling = row(measured["right"], "replicates", "unseen_loci/replicated_donors", "allelic_imbalance_r")
    reliability = row(
        measured["right"], "replicates", "unseen_loci/replicated_donors", "allelic_imbalance_r_reliability"
    )
    assert ceiling["value"] == pytest.approx(reliability["value"] ** 0.5) and ceiling["value"] > 0.8
    none = row(measured["swapped"], "replicates", "unseen_loci/replicated_donors", "allelic_imbalance_r_reliability")
    assert none["ci_low"] < 0.2
