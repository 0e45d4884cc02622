"""Metrics and baselines against slow definitions, and the whole evaluation on a toy cohort of known truth."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from allelegro.cli.evaluate_procap import app
from allelegro.errors import DataError
from allelegro.genotype.store import HaplotypeStore
from allelegro.io.metrics import read_metrics
from allelegro.models.checkpoint import load_model, save_model
from allelegro.models.legnet import PRESETS, LegNet
from allelegro.statistics import Estimate, kernel_ridge, pearson_ci, right_sign
from allelegro.training.baselines import (
    genotype_kernel,
    linear_genotypes,
    locus_mean,
    replicate_pairs,
)
from allelegro.training.cohort import LN2, load_cohort, make_split
from allelegro.training.evaluate import (
    Evaluation,
    _permuted_donors,
    ceiling,
    common_folds,
    evaluate,
    input_of,
    log_rpm,
    pooled_rpm,
)
from allelegro.training.finetune import finetune
from allelegro.training.metrics import count_questions, donor_questions, main_dosage, rowwise_r, slopes
from allelegro.training.settings import FinetuneSettings
from helpers.toy_stores import make_toy

torch.set_num_threads(1)
OPTIONS = FinetuneSettings(
    preset="tiny", input_width=80, target_width=120, batch_loci=16, max_shift=2, test_donor_fraction=0.3
)


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
        replace(OPTIONS, model="clipnet", input_width=120, target_width=60, clipnet_epochs=1),
        "cpu",
        None,
    )
    return folder


@pytest.fixture(scope="module")
def evaluated(toy, checkpoints, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluation")
    app(
        [
            *("--counts", str(toy.counts), "--haplotypes", str(toy.haplotypes)),
            *("--model", f"legnet={checkpoints / 'legnet'}", "--model", f"clipnet={checkpoints / 'clipnet'}"),
            *("--out-metrics", str(out / "metrics.tsv"), "--out-predictions", str(out / "predictions.parquet")),
            *("--target-width", "60", "--bootstraps", "200", "--device", "cpu"),
        ],
        standalone_mode=False,
    )
    return read_metrics([out / "metrics.tsv"]), pd.read_parquet(out / "predictions.parquet")


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
    assert right_sign([0.2, -0.1, 0.0], 1).tolist() == [1, 0, 0.5]


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


def test_deviance_is_that_of_scipy_and_weighs_by_counts():
    rng = np.random.default_rng(0)
    rates, sizes = (
        rng.lognormal(1, 1, (40, 1)) * rng.lognormal(0, 0.5, (40, 6)),
        np.array([0.1, 0.1, 0.1, 50, 50, 50.0]),
    )
    counts = rng.poisson(rates * sizes)
    deep = np.where(sizes > 1, rates, rates.mean(axis=1, keepdims=True))
    shallow = np.where(sizes < 1, rates, rates.mean(axis=1, keepdims=True))
    questions = {
        q.metric: q for q in count_questions(counts, sizes, {"deep": deep, "shallow": shallow, "truth": rates})
    }
    between, across = (questions[f"{name}_deviance_explained"] for name in ("between_donors", "across_loci"))
    got = {name: between.estimate(name, 50, 0).value for name in between.values}
    assert got["truth"] > 0.9 and got["deep"] > 0.5 and got["shallow"] < 0.1
    saturated = [stats.multinomial.logpmf(row, row.sum(), row / row.sum()) for row in counts]
    null = [stats.multinomial.logpmf(row, row.sum(), sizes / sizes.sum()) for row in counts]
    fitted = [
        stats.multinomial.logpmf(row, row.sum(), m / m.sum()) for row, m in zip(counts, rates * sizes, strict=True)
    ]
    gain = (np.sum(fitted) - np.sum(null)) / (np.sum(saturated) - np.sum(null))
    assert got["truth"] == pytest.approx(gain, rel=1e-6)
    flat = count_questions(counts, sizes, {"flat": np.ones_like(rates)})
    assert flat[1].estimate("flat", 50, 0).value == pytest.approx(0, abs=1e-9)
    assert across.estimate("truth", 50, 0).value > 0.95


def test_a_perfect_model_reaches_the_square_root_of_replicates():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(4000,))
    first, second = truth + rng.normal(0, 2, (2, 4000))
    reliability = pearson_ci(first, second, None, 100, 0)
    assert ceiling(reliability).value == pytest.approx(stats.pearsonr(truth, first).statistic, abs=0.03)
    assert ceiling(Estimate(-0.1, -0.2, 0.09, 7)) == Estimate(0.0, 0.0, pytest.approx(0.3), 7)


# -------------------------------------------------------------------------------------------------------- baselines


def test_linear_model_equals_ridge_on_dosages(toy):
    store = HaplotypeStore(toy.haplotypes)
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
    linear = linear_genotypes(HaplotypeStore(toy.haplotypes), cohort, split.train_loci, split.train_donors)
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


def test_permuting_donors_takes_away_what_a_model_knows_of_them():
    rng = np.random.default_rng(1)
    observed = rng.lognormal(size=(60, 20))
    evaluation = Evaluation("toy", 100, 3)
    _permuted_donors(evaluation, "cell", observed, {"knows": observed, "guesses": rng.lognormal(size=(60, 20))})
    knows, guesses = evaluation.rows
    assert knows["model"] == "knows - permuted_donors" and knows["metric"] == "between_donors_r_difference"
    assert knows["value"] == pytest.approx(1, abs=0.1) and knows["ci_low"] > 0.8
    assert guesses["ci_low"] < 0 < guesses["ci_high"]


def test_every_cell_model_and_difference_has_interval_and_n(evaluated):
    metrics, predictions = evaluated
    assert (metrics["stage"] == "training").all()
    assert set(predictions["cell"]) == {
        f"{loci}/{donors}"
        for loci in ("seen_loci", "unseen_loci", "validation_loci")
        for donors in ("seen_donors", "unseen_donors")
    }
    assert metrics["n"].notna().all()
    by_donor = metrics["metric"].str.startswith(("across_loci_r_donor_median", "between_donors_r"))
    few = by_donor & ~metrics["subset"].str.endswith("/seen_donors")  # 4 donors: too few for an interval
    known = metrics[["ci_low", "ci_high"]].notna()
    assert known[~few].all(axis=None) and not known[few].any(axis=None)
    for subset in ("seen_loci/seen_donors", "seen_loci/unseen_donors", "unseen_loci/seen_donors"):
        for metric in ("across_loci_r", "within_locus_r_median", "between_donors_r", "allele_effect_r"):
            value(metrics, "legnet", subset, metric)
            value(metrics, "legnet - clipnet", subset, f"{metric}_difference")
        value(metrics, "legnet - permuted_donors", subset, "between_donors_r_difference")
    value(metrics, "linear_genotypes", "seen_loci/unseen_donors", "within_locus_r_median")
    value(metrics, "locus_mean", "seen_loci/unseen_donors", "across_loci_r")
    reached = value(metrics, "replicates", "unseen_loci/replicated_donors", "between_donors_r")
    reliability = value(metrics, "replicates", "unseen_loci/replicated_donors", "between_donors_r_reliability")
    assert reached["value"] == pytest.approx(max(reliability["value"], 0) ** 0.5)
    for metric in ("across_loci_deviance_explained", "between_donors_deviance_explained"):
        value(metrics, "legnet - clipnet", "unseen_loci/seen_donors", f"{metric}_difference")
    value(metrics, "clipnet", "unseen_loci/seen_donors", "profile_r_median")
    assert not ((metrics.model == "locus_mean") & metrics.subset.str.startswith("unseen_loci")).any()


def test_training_says_which_model_has_learned(evaluated):
    metrics, predictions = evaluated
    cell = predictions[predictions["cell"] == "validation_loci/seen_donors"]
    means = np.log1p(cell.groupby("window", observed=True)[["observed", "legnet", "clipnet"]].mean())
    for name in ("legnet", "clipnet"):
        row = value(metrics, name, "validation_loci/seen_donors", "across_loci_r")
        assert row["value"] == pytest.approx(stats.pearsonr(means["observed"], means[name]).statistic, abs=1e-4)
        assert row["ci_low"] < row["value"] < row["ci_high"] and row["n"] == 20
    for name, epochs, departures in (("legnet", 12, 0), ("clipnet", 1, 5)):
        assert value(metrics, name, "training", "epochs_trained")["value"] == epochs
        assert value(metrics, name, "training", "ended_by_patience")["value"] == 0
        assert value(metrics, name, "training", "departures_from_recipe")["value"] == departures
        assert 1 <= value(metrics, name, "training", "best_epoch")["value"] <= epochs


def test_clipnets_of_one_fold_are_averaged_in_rpm_and_clipnet_never_sees_indels(toy, checkpoints, monkeypatch):
    model = load_model(checkpoints / "clipnet")
    cohort = load_cohort(toy.counts, toy.haplotypes, 120, 60, snvs_only=True)
    folds = common_folds(cohort, {"clipnet": [model]})
    low, high = np.full(cohort.counts.shape, np.log(2.0)), np.full(cohort.counts.shape, np.log(10.0))
    rates = iter([low, high])
    monkeypatch.setattr("allelegro.training.evaluate.log_rpm", lambda model, cohort: next(rates))
    pooled = pooled_rpm([model, model], folds, {input_of(model): cohort})
    np.testing.assert_allclose(pooled["unseen_loci"][folds.loci("unseen_loci")], 6.0)
    assert input_of(model) == (120, True)


def test_a_model_that_knows_finds_alleles_and_donors(evaluated, toy, checkpoints):
    metrics, _ = evaluated
    assert value(metrics, "legnet", "unseen_loci/unseen_donors", "within_locus_right_sign")["ci_low"] > 0.6
    ceiling = value(metrics, "replicates", "seen_loci/replicated_donors", "across_loci_r")
    assert ceiling["value"] > 0.95
    unseen = np.arange(0, 80, 4)
    model = load_model(checkpoints / "legnet")
    predicted = model.predict_log2(toy.sequences[unseen, :, 20:100].reshape(-1, 80).copy()).reshape(-1, 4)
    effects, true = (values[:, 1:3] - values[:, :1] for values in (predicted, toy.log_rate[unseen] / LN2))
    assert pearson_ci(effects.ravel(), true.ravel()).ci_low > 0.5


# ---------------------------------------------------------------------------------------------- several folds and seeds


@pytest.fixture(scope="module")
def study(toy, tmp_path_factory):
    """Two models in two test folds, each by two seeds: ``<name>/fold<F>-seed<S>``."""
    folder = tmp_path_factory.mktemp("study")
    for name, genotypes in (("legnet", "personal"), ("reference", "reference")):
        for fold in (0, 1):
            for seed in (1, 2):
                options = replace(
                    OPTIONS, genotypes=genotypes, test_fold=fold, validation_fold=fold + 1, seed=seed, epochs=1
                )
                finetune(toy.counts, toy.haplotypes, folder / name / f"fold{fold}-seed{seed}", options, "cpu", None)
    return folder


@pytest.fixture(scope="module")
def pooled(toy, study, tmp_path_factory):
    out = tmp_path_factory.mktemp("pooled")
    models = [("legnet", study / "legnet"), ("reference", study / "reference")]
    files = out / "metrics.tsv", out / "predictions.parquet"
    evaluate(toy.counts, toy.haplotypes, models, *files, target_width=120, n_boot=100)
    return read_metrics([files[0]]), pd.read_parquet(files[1])


def test_each_unseen_locus_is_predicted_by_the_seeds_that_held_it_out(toy, study, pooled):
    metrics, predictions = pooled
    cohort = load_cohort(toy.counts, toy.haplotypes, 80, 120)
    rates = {
        (fold, seed): log_rpm(load_model(study / "legnet" / f"fold{fold}-seed{seed}"), cohort)
        for fold in (0, 1)
        for seed in (1, 2)
    }
    fold = cohort.windows["fold"].to_numpy()
    held_out = load_model(study / "legnet" / "fold0-seed1").config["training"]["test_donors"]
    unseen_donors = np.array([donor in held_out for donor in cohort.donors])
    expected = np.empty(cohort.counts.shape)
    for locus, own in enumerate(fold):
        if own < 2:  # held out by the models of its own fold
            expected[locus] = np.exp((rates[own, 1][locus] + rates[own, 2][locus]) / 2)
        elif own == 2:  # chose the epoch of the second fold's models
            expected[locus] = np.exp((rates[0, 1][locus] + rates[0, 2][locus]) / 2)
        else:
            expected[locus] = np.exp(sum(rate[locus] for rate in rates.values()) / 4)
    written = predictions["legnet"].to_numpy().reshape(expected.shape)
    np.testing.assert_allclose(written, expected, rtol=1e-5)
    cells = predictions["cell"].astype(str).to_numpy().reshape(expected.shape)
    assert (cells[fold < 2][:, unseen_donors] == "unseen_loci/unseen_donors").all()
    assert (cells[fold >= 2][:, ~unseen_donors] == "seen_loci/seen_donors").all()

    observed = np.log1p(cohort.rpm[fold < 2][:, unseen_donors].mean(axis=1))
    r = stats.pearsonr(observed, np.log1p(expected[fold < 2][:, unseen_donors].mean(axis=1))).statistic
    row = value(metrics, "legnet", "unseen_loci/unseen_donors", "across_loci_r")
    assert row["value"] == pytest.approx(r, abs=1e-6)
    assert row["n"] == 40
    assert value(metrics, "legnet - reference", "unseen_loci/unseen_donors", "between_donors_r_difference")["n"] == 160


def test_seen_loci_are_predicted_by_the_folds_that_trained_on_them(toy, study, pooled):
    metrics, _ = pooled
    cohort = load_cohort(toy.counts, toy.haplotypes, 80, 120)
    fold = cohort.windows["fold"].to_numpy()
    trained_on = {0: (2, 3), 1: (0, 3)}  # fold 1 and fold 2 are the validation folds of test folds 0 and 1
    mean = {
        test: sum(log_rpm(load_model(study / "legnet" / f"fold{test}-seed{seed}"), cohort) for seed in (1, 2)) / 2
        for test in (0, 1)
    }
    held_out = load_model(study / "legnet" / "fold0-seed1").config["training"]["test_donors"]
    donors = np.array([donor not in held_out for donor in cohort.donors])
    loci = [locus for locus, own in enumerate(fold) if own != 1]
    expected = [
        np.exp(np.mean([mean[test][locus] for test in (0, 1) if fold[locus] in trained_on[test]], axis=0))[
            donors
        ].mean()
        for locus in loci
    ]
    r = stats.pearsonr(np.log1p(cohort.rpm[loci][:, donors].mean(axis=1)), np.log1p(expected)).statistic
    row = value(metrics, "legnet", "seen_loci/seen_donors", "across_loci_r")
    assert row["value"] == pytest.approx(r, abs=1e-6)
    assert row["n"] == 60
    mean_row = value(metrics, "locus_mean", "seen_loci/unseen_donors", "across_loci_r")
    level = cohort.rpm[loci][:, donors].mean(axis=1)
    r = stats.pearsonr(np.log1p(cohort.rpm[loci][:, ~donors].mean(axis=1)), np.log1p(level)).statistic
    assert mean_row["value"] == pytest.approx(r, abs=1e-6)


def test_a_model_of_lentimpra_answers_where_it_held_out_the_windows(toy, study, tmp_path, caplog):
    networks = {}
    for fold, chrom in ((0, "chr1"), (1, "chr2")):
        torch.manual_seed(fold)
        training = {"seed": fold, "held_out_chromosomes": [chrom], "held_out_regions": None, "data_checksums": {}}
        config = {
            "architecture": "legnet", "hyperparameters": dict(PRESETS["tiny"]), "width": 80,
            "target": {"kind": "log2_activity"}, "context": None, "training": training,
        }  # fmt: skip
        save_model(tmp_path / "pre" / str(fold), LegNet(**PRESETS["tiny"]), config, pd.DataFrame({"epoch": [1]}))
        networks[fold] = load_model(tmp_path / "pre" / str(fold))
    files = tmp_path / "m.tsv", tmp_path / "p.parquet"
    models = [("legnet", study / "legnet"), ("pre", tmp_path / "pre")]
    evaluate(toy.counts, toy.haplotypes, models, *files, target_width=120, n_boot=10)
    cohort = load_cohort(toy.counts, toy.haplotypes, 80, 120)
    written = pd.read_parquet(files[1])["pre"].to_numpy().reshape(cohort.counts.shape)
    for fold, network in networks.items():
        own = cohort.windows["fold"] == fold
        np.testing.assert_allclose(written[own], np.exp(log_rpm(network, cohort))[own], rtol=1e-5)
    assert "may have seen" not in caplog.text
    evaluate(
        toy.counts, toy.haplotypes, [models[0], ("pre", tmp_path / "pre" / "1")], *files, target_width=120, n_boot=10
    )
    assert "does not hold out the windows of fold 0" in caplog.text


def test_profiles_are_pooled_over_folds(toy, tmp_path):
    options = replace(OPTIONS, model="clipnet", input_width=120, target_width=60, clipnet_epochs=1)
    for fold in (0, 1):
        folder = tmp_path / "clipnet" / f"fold{fold}"
        finetune(
            toy.counts, toy.haplotypes, folder, replace(options, test_fold=fold, validation_fold=fold + 1), "cpu", None
        )
    figures = {}
    for name, models in (("both", "clipnet"), ("0", "clipnet/fold0"), ("1", "clipnet/fold1")):
        out = tmp_path / f"{name}.tsv"
        where = ([("clipnet", tmp_path / models)], out, tmp_path / "p.parquet")
        evaluate(toy.counts, toy.haplotypes, *where, target_width=60, n_boot=10)
        table = read_metrics([out])
        figures[name] = value(table, "clipnet", "unseen_loci/seen_donors", "profile_r_median")
    assert [figures[name]["n"] for name in ("both", "0", "1")] == [40, 20, 20]
    low, high = sorted(figures[name]["value"] for name in ("0", "1"))
    assert low <= figures["both"]["value"] <= high  # a median of the union is between the medians of its parts


def test_a_model_that_lacks_a_fold_is_named(toy, study, tmp_path):
    models = [("legnet", study / "legnet"), ("reference", study / "reference" / "fold0-seed1")]
    with pytest.raises(DataError, match="reference has no checkpoint of test fold 1, legnet has"):
        evaluate(toy.counts, toy.haplotypes, models, tmp_path / "m.tsv", tmp_path / "p.parquet", target_width=120)


def test_models_of_different_splits_cannot_be_compared(toy, checkpoints, tmp_path):
    finetune(toy.counts, toy.haplotypes, tmp_path / "other", replace(OPTIONS, epochs=1, split_seed=5), "cpu", None)
    models = [("a", checkpoints / "legnet"), ("b", tmp_path / "other")]
    with pytest.raises(DataError, match="held-out donors differ"):
        evaluate(toy.counts, toy.haplotypes, models, tmp_path / "m.tsv", tmp_path / "p.parquet", target_width=60)
    assert not (tmp_path / "m.tsv").exists()


def test_profiles_of_another_width_are_refused(toy, checkpoints, tmp_path):
    models = [("clipnet", checkpoints / "clipnet")]
    with pytest.raises(DataError, match="central 60 bp; evaluate with --target-width 60"):
        evaluate(toy.counts, toy.haplotypes, models, tmp_path / "m.tsv", tmp_path / "p.parquet", target_width=40)


def test_models_of_other_windows_are_refused(study, tmp_path):
    other = make_toy(tmp_path, loci=40, donors=14)
    with pytest.raises(DataError, match="legnet: trained on other windows"):
        evaluate(
            other.counts, other.haplotypes, [("legnet", study / "legnet")], tmp_path / "m.tsv", tmp_path / "p.parquet",
            target_width=120,
        )  # fmt: skip


def test_identifiers_are_text_from_the_stores_to_the_predictions(toy, tmp_path):
    names = ["0001", "001", "01", "1", "NA", "nan", "1e5", "TRUE", "12.1", "12.10", "None", "1.0", "007", "7"]
    for store in ("counts", "haplotypes"):
        shutil.copytree(getattr(toy, store), tmp_path / store)
    libraries = (tmp_path / "counts" / "libraries.tsv").read_text()
    metadata = (tmp_path / "haplotypes" / "metadata.json").read_text()
    for old, new in zip(toy.donors, names, strict=True):
        libraries, metadata = libraries.replace(f"\t{old}\t", f"\t{new}\t"), metadata.replace(f'"{old}"', f'"{new}"')
    (tmp_path / "counts" / "libraries.tsv").write_text(libraries)
    (tmp_path / "haplotypes" / "metadata.json").write_text(metadata)
    stores = (tmp_path / "counts", tmp_path / "haplotypes")
    finetune(*stores, tmp_path / "model", replace(OPTIONS, epochs=1, test_donors=("001", "12.10", "NA")), "cpu", None)
    evaluate(
        *stores, [("m", tmp_path / "model")], tmp_path / "m.tsv", tmp_path / "p.parquet", target_width=120, n_boot=10
    )
    training = load_model(tmp_path / "model").config["training"]
    assert sorted(training["test_donors"]) == ["001", "12.10", "NA"]
    assert sorted(training["test_donors"] + training["training_donors"]) == sorted(names)
    predictions = pd.read_parquet(tmp_path / "p.parquet")
    unseen = predictions["cell"].astype(str).str.endswith("unseen_donors")
    assert set(predictions["donor"]) == set(names)
    assert set(predictions["donor"][unseen]) == {"001", "12.10", "NA"}


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
