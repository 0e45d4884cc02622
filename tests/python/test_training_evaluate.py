"""Metrics and baselines against slow definitions, and the whole evaluation on a toy cohort of known truth."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from training_cohort import make_toy

from allelegro.cli.evaluate_procap import app
from allelegro.errors import DataError
from allelegro.genotype.store import HaplotypeStore
from allelegro.io.metrics import METRIC_COLUMNS
from allelegro.io.tables import read_table
from allelegro.models.checkpoint import load_model
from allelegro.training.baselines import (
    genotype_kernel,
    haplotype_alleles,
    kernel_ridge,
    linear_genotypes,
    locus_mean,
    replicate_pairs,
)
from allelegro.training.cohort import LN2, load_cohort, make_split
from allelegro.training.evaluate import evaluate, log_rpm
from allelegro.training.finetune import finetune
from allelegro.training.metrics import donor_questions, main_dosage, rowwise_r, share_right, slopes
from allelegro.training.objectives import Options

torch.set_num_threads(1)
OPTIONS = Options(preset="tiny", input_width=80, target_width=120, batch_loci=16, max_shift=2, test_donor_fraction=0.3)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return make_toy(tmp_path_factory.mktemp("toy"), loci=80, donors=14, second_libraries=5)


@pytest.fixture(scope="module")
def checkpoints(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    finetune(toy.counts, toy.haplotypes, folder / "legnet", replace(OPTIONS, epochs=12), "cpu", None)
    finetune(
        toy.counts,
        toy.haplotypes,
        folder / "clipnet",
        replace(OPTIONS, model="clipnet", input_width=120, target_width=60, epochs=1),
        "cpu",
        None,
    )
    return folder


@pytest.fixture(scope="module")
def evaluated(toy, checkpoints, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluation")
    effects = true_effects(toy)
    effects.to_csv(out / "effects.tsv", sep="\t", index=False)
    app(
        [
            *("--counts", str(toy.counts), "--haplotypes", str(toy.haplotypes)),
            *("--model", f"legnet={checkpoints / 'legnet'}", "--model", f"clipnet={checkpoints / 'clipnet'}"),
            *("--out-metrics", str(out / "metrics.tsv"), "--out-predictions", str(out / "predictions.parquet")),
            *("--effects", str(out / "effects.tsv"), "--target-width", "60", "--bootstraps", "200", "--device", "cpu"),
        ],
        standalone_mode=False,
    )
    return read_table(out / "metrics.tsv", METRIC_COLUMNS), pd.read_parquet(out / "predictions.parquet")


def true_effects(toy) -> pd.DataFrame:
    """The SNVs of the toy cohort, 1-based, with log2 effects."""
    windows = load_cohort(toy.counts, toy.haplotypes, 80, 120).windows
    rows = []
    for haplotype, base in ((1, 63), (2, 70)):
        ref, alt = toy.sequences[:, 0, base], toy.sequences[:, haplotype, base]
        effect = (toy.log_rate[:, haplotype] - toy.log_rate[:, 0]) / LN2
        position = windows["start"] + base + 1
        letters = np.array(list("ACGT"))
        columns = {"chrom": windows["chrom"], "pos": position, "ref": letters[ref], "alt": letters[alt]}
        rows.append(pd.DataFrame({**columns, "effect": effect}))
    return pd.concat(rows, ignore_index=True)


def value(metrics, model, subset, metric):
    row = metrics[(metrics.model == model) & (metrics.subset == subset) & (metrics.metric == metric)]
    assert len(row) == 1, (model, subset, metric)
    return row.iloc[0]


# ---------------------------------------------------------------------------------------------------------- metrics


def test_rowwise_r_equals_scipy_and_says_when_a_model_says_nothing():
    rng = np.random.default_rng(0)
    observed, predicted = rng.normal(size=(2, 20, 9))
    expected = [stats.pearsonr(a, b).statistic for a, b in zip(observed, predicted, strict=True)]
    np.testing.assert_allclose(rowwise_r(observed, predicted), expected)
    constant = np.full((1, 9), 3.1)
    assert rowwise_r(observed[:1], constant)[0] == 0
    assert rowwise_r(observed[:1], constant + 1e-8 * predicted[:1])[0] == 0  # rounding is not a prediction
    assert np.isnan(rowwise_r(constant, predicted[:1])[0])
    assert share_right(np.array([0.2, -0.1, 0.0])).tolist() == [1, 0, 0.5]


def test_slopes_are_least_squares():
    rng = np.random.default_rng(0)
    values, dosage = rng.normal(size=(5, 9)), rng.integers(0, 3, (5, 9)).astype(float)
    expected = [stats.linregress(x, y).slope for x, y in zip(dosage, values, strict=True)]
    np.testing.assert_allclose(slopes(values, dosage), expected)


def test_main_dosage_counts_the_commonest_haplotype():
    index = np.array([[[0, 2], [2, 2], [1, 0]], [[0, 0], [0, 0], [0, 0]], [[1, 3], [3, 0], [1, 1]]])
    assert main_dosage(index).tolist() == [[1, 2, 0], [0, 0, 0], [1, 0, 2]]


def test_locus_level_never_enters_between_donor_metrics():
    rng = np.random.default_rng(0)
    level = rng.normal(5, 2, (2000, 1))
    observed = np.exp(level + rng.normal(0, 0.2, (2000, 10)))
    knows_levels_only = np.exp(level + rng.normal(0, 0.01, (2000, 10)))
    for question in donor_questions(observed, {"levels": knows_levels_only}):
        estimate = question.estimate("levels", 200, 0)
        nothing = 0.5 if question.metric == "within_locus_right_sign" else 0.0
        assert abs(estimate.value - nothing) < 0.04, question.metric


# -------------------------------------------------------------------------------------------------------- baselines


def test_haplotype_alleles_are_those_of_the_store(toy):
    store = HaplotypeStore.open(toy.haplotypes)
    carried = haplotype_alleles(store, np.array([5, 3]))
    assert carried.tolist() == [[[0, 0], [1, 0], [0, 1], [1, 1]]] * 2


def test_linear_model_equals_ridge_on_dosages(toy):
    store = HaplotypeStore.open(toy.haplotypes)
    cohort = load_cohort(toy.counts, toy.haplotypes, 120, 120)
    train = np.array([0, 2, 3, 5, 6, 7, 9, 10, 12])
    locus, values = 7, np.log1p(cohort.rpm[7])
    kernel = genotype_kernel(store, np.array([locus]), np.arange(14), train)
    predicted = kernel_ridge(kernel, values[None], train)[0]
    dosage = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])[toy.index[locus]].sum(axis=1).astype(float)
    x = dosage - dosage[train].mean(axis=0)
    x /= np.sqrt((x[train] ** 2).sum(axis=1).mean())
    candidates = {}
    for penalty in [*np.logspace(-2, 3, 11), 1e6]:
        weights = np.linalg.solve(x[train].T @ x[train] + penalty * np.eye(2), x[train].T @ values[train])
        fitted = values[train].mean() + x @ weights
        hat = x[train] @ np.linalg.solve(x[train].T @ x[train] + penalty * np.eye(2), x[train].T)
        residual = values[train] - values[train].mean() - hat @ (values[train] - values[train].mean())
        candidates[(residual**2).sum() / (len(train) - 1 - np.trace(hat)) ** 2] = fitted
    np.testing.assert_allclose(predicted, candidates[min(candidates)], rtol=1e-6)


def test_baselines_know_only_their_loci_and_donors(toy):
    cohort = load_cohort(toy.counts, toy.haplotypes, 120, 120)
    split = make_split(cohort, 0, 1)
    mean = locus_mean(cohort, split.train_loci, split.train_donors)
    linear = linear_genotypes(HaplotypeStore.open(toy.haplotypes), cohort, split.train_loci, split.train_donors)
    for predicted in (mean, linear):
        assert np.isnan(predicted[split.test_loci]).all()
        assert np.isfinite(predicted[split.train_loci]).all()
    expected = cohort.rpm[split.train_loci[3], split.train_donors].mean()
    np.testing.assert_allclose(mean[split.train_loci[3]], expected)
    seen = np.ix_(split.train_loci, split.test_donors)
    r = rowwise_r(np.log1p(cohort.rpm[seen]), np.log1p(linear[seen]))
    assert np.nanmedian(r) > 0.8  # the toy's effects are linear in genotype


def test_replicate_pairs():
    libraries = pd.DataFrame({"library": list("abcde"), "donor": ["y", "x", "y", "z", "y"]})
    assert replicate_pairs(libraries) == [("y", 0, 2)]


# ------------------------------------------------------------------------------------------------------- evaluation


def test_diploid_prediction_by_hand(toy, checkpoints):
    model = load_model(checkpoints / "legnet")
    cohort = load_cohort(toy.counts, toy.haplotypes, 80, 120)
    predicted = np.exp(log_rpm(model, cohort))
    pair = np.ascontiguousarray(toy.sequences[9, toy.index[9, 4], 20:100])
    assert predicted[9, 4] == pytest.approx((2.0 ** model.predict_log2(pair).astype(float)).mean(), rel=1e-5)


def test_clipnet_prediction_is_of_the_diplotype(toy, checkpoints):
    model = load_model(checkpoints / "clipnet")
    cohort = load_cohort(toy.counts, toy.haplotypes, 120, 60)
    predicted = log_rpm(model, cohort) / LN2
    homozygote = np.argwhere(cohort.index[..., 0] == cohort.index[..., 1])[0]
    codes = cohort.codes[cohort.offsets[homozygote[0]] + cohort.index[tuple(homozygote)][0]]
    expected = model.predict_log2(codes[None])[0]
    # Stored predictions are in the units of CLIPNET's target; RPM are without its scale.
    assert abs(predicted[tuple(homozygote)] + np.log2(model.config["target"]["scale"]) - expected) < 1e-4


def test_metrics_are_those_of_the_predictions(evaluated):
    metrics, predictions = evaluated
    cell = predictions[predictions["cell"] == "unseen_loci/unseen_donors"]
    wide = cell.pivot(index="window", columns="donor", values=["observed", "legnet"])
    observed, predicted = (wide[name].dropna(axis=1, how="all").to_numpy(float) for name in ("observed", "legnet"))
    assert observed.shape == (20, 4)
    row = value(metrics, "legnet", "unseen_loci/unseen_donors", "across_loci_r")
    expected = stats.pearsonr(np.log1p(observed.mean(axis=1)), np.log1p(predicted.mean(axis=1))).statistic
    assert row["value"] == pytest.approx(expected, abs=1e-4)
    assert row["ci_low"] <= row["value"] <= row["ci_high"]
    assert row["n"] == 20
    r = [stats.pearsonr(np.log1p(a), np.log1p(b)).statistic for a, b in zip(observed, predicted, strict=True)]
    varied = [index for index in range(20) if np.ptp(predicted[index]) > 0]
    row = value(metrics, "legnet", "unseen_loci/unseen_donors", "within_locus_r_median")
    assert row["value"] == pytest.approx(np.median(np.array(r)[varied]), abs=1e-3)


def test_every_cell_model_and_difference_has_interval_and_n(evaluated):
    metrics, predictions = evaluated
    assert (metrics["stage"] == "training").all()
    assert set(predictions["cell"]) == {
        f"{loci}/{donors}"
        for loci in ("seen_loci", "unseen_loci", "validation_loci")
        for donors in ("seen_donors", "unseen_donors")
    }
    assert metrics["n"].notna().all()
    by_locus = ~metrics["metric"].str.startswith(
        "across_loci_r_donor_median"
    )  # 4 to 14 donors: too few for an interval
    assert metrics.loc[by_locus, ["ci_low", "ci_high"]].notna().all(axis=None)
    for subset in ("seen_loci/seen_donors", "seen_loci/unseen_donors", "unseen_loci/seen_donors"):
        for metric in ("across_loci_r", "within_locus_r_median", "between_donors_r", "allele_effect_r"):
            value(metrics, "legnet", subset, metric)
            value(metrics, "legnet - clipnet", subset, f"{metric}_difference")
    value(metrics, "linear_genotypes", "seen_loci/unseen_donors", "within_locus_r_median")
    value(metrics, "locus_mean", "seen_loci/unseen_donors", "across_loci_r")
    value(metrics, "replicates", "unseen_loci/replicated_donors", "between_donors_r")
    value(metrics, "clipnet", "unseen_loci/seen_donors", "profile_r_median")
    assert not ((metrics.model == "locus_mean") & metrics.subset.str.startswith("unseen_loci")).any()


def test_a_model_that_knows_finds_alleles_and_donors(evaluated):
    metrics, _ = evaluated
    assert value(metrics, "legnet", "unseen_loci/unseen_donors", "within_locus_right_sign")["ci_low"] > 0.6
    assert value(metrics, "legnet", "unseen_loci/alleles", "true_effect_r")["ci_low"] > 0.5
    ceiling = value(metrics, "replicates", "seen_loci/replicated_donors", "across_loci_r")
    assert ceiling["value"] > 0.95


def test_models_of_different_splits_cannot_be_compared(toy, checkpoints, tmp_path):
    finetune(toy.counts, toy.haplotypes, tmp_path / "other", replace(OPTIONS, epochs=1, split_seed=5), "cpu", None)
    models = [("a", checkpoints / "legnet"), ("b", tmp_path / "other")]
    with pytest.raises(DataError, match="held-out donors differ"):
        evaluate(toy.counts, toy.haplotypes, models, tmp_path / "m.tsv", tmp_path / "p.parquet", target_width=60)
    assert not (tmp_path / "m.tsv").exists()


def test_effects_of_another_genome_are_refused(toy, checkpoints, tmp_path):
    table = true_effects(toy)
    table["ref"] = table["ref"].map(dict(zip("ACGT", "CGTA", strict=True)))
    table.to_csv(tmp_path / "effects.tsv", sep="\t", index=False)
    where = (toy.counts, toy.haplotypes, [("a", checkpoints / "legnet")], tmp_path / "m.tsv", tmp_path / "p.parquet")
    with pytest.raises(DataError, match=r"--effects row \d+: REF"):
        evaluate(*where, effects=tmp_path / "effects.tsv", target_width=60, n_boot=20)
    table.assign(chrom="22").to_csv(tmp_path / "effects.tsv", sep="\t", index=False)
    with pytest.raises(DataError, match="check the contig names"):
        evaluate(*where, effects=tmp_path / "effects.tsv", target_width=60, n_boot=20)


def test_model_option_must_be_named(toy, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        app(
            [
                *("--counts", str(toy.counts), "--haplotypes", str(toy.haplotypes), "--model", "legnet"),
                *("--out-metrics", str(tmp_path / "m.tsv"), "--out-predictions", str(tmp_path / "p.parquet")),
            ]
        )
    assert stopped.value.code == 2
    assert "NAME=CHECKPOINT" in capsys.readouterr().err
