"""Joined points and metrics with a known answer."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from allelegro.cli.benchmark_variants import app
from allelegro.io.metrics import read_metrics
from allelegro.io.tables import GUESS, read_table
from helpers.toy_variants import write_checkpoint


def scores_of(table: pd.DataFrame, effect: np.ndarray, model: str) -> pd.DataFrame:
    return table[["chrom", "pos", "ref", "alt"]].assign(id=".", model=model, effect=effect, effect_sd=np.nan)


@pytest.fixture
def truth() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    n = 400
    ref = rng.choice(list("ACGT"), n)
    alt = [("ACGT".replace(base, ""))[i] for base, i in zip(ref, rng.integers(0, 3, n), strict=True)]
    effect = rng.normal(size=n)
    return pd.DataFrame(
        {"chrom": "chr1", "pos": np.arange(n) * 20_001 + 500, "ref": ref, "alt": alt, "measured": effect}
    ).assign(significant=(np.abs(effect) > 1).astype(int))


def run(
    room: Path, truth: pd.DataFrame, *scores: pd.DataFrame, kind: str = "table", extra: tuple[str, ...] = ()
) -> pd.DataFrame:
    truth.to_csv(room / "truth.tsv", sep="\t", index=False)
    arguments = ["--truth", str(room / "truth.tsv"), "--kind", kind, "--dataset", "toy", "--n-boot", "200"]
    for number, table in enumerate(scores):
        table.to_csv(room / f"s{number}.tsv", sep="\t", index=False)
        arguments += ["--scores", str(room / f"s{number}.tsv")]
    arguments += ["--out", str(room / "metrics.tsv"), "--points", str(room / "points.tsv.gz"), *extra]
    app(arguments, standalone_mode=False)
    return read_metrics([room / "metrics.tsv"])


def value(metrics: pd.DataFrame, metric: str, model: str = "good", subset: str = "all") -> float:
    rows = metrics.query("metric == @metric and model == @model and subset == @subset")
    assert len(rows) == 1
    return float(rows["value"].iloc[0])


def test_perfect_and_useless_models(tmp_path: Path, truth: pd.DataFrame) -> None:
    noise = np.random.default_rng(2).normal(size=len(truth))
    metrics = run(tmp_path, truth, scores_of(truth, truth["measured"], "good"), scores_of(truth, noise, "noise"))
    assert value(metrics, "pearson") == pytest.approx(1)
    assert value(metrics, "sign_accuracy") == 1
    assert value(metrics, "auroc") == 1
    assert value(metrics, "auprc") == pytest.approx(1)
    row = metrics.query("metric == 'pearson' and model == 'noise' and subset == 'all'").iloc[0]
    assert row["ci_low"] < 0 < row["ci_high"]
    assert value(metrics, "pearson_minus_good", "noise") < -0.8
    points = read_table(tmp_path / "points.tsv.gz", others=GUESS)
    assert list(points.columns) == ["chrom", "pos", "ref", "alt", "group", "measured", "significant", "good", "noise"]


def test_models_are_compared_on_their_intersection(tmp_path: Path, truth: pd.DataFrame) -> None:
    half = scores_of(truth, truth["measured"], "half").iloc[::2]
    metrics = run(tmp_path, truth, scores_of(truth, truth["measured"], "good"), half)
    assert set(metrics.query("subset == 'all' and metric == 'pearson'")["n"]) == {200}


def test_effects_are_compared_with_a_simulation_s_own(tmp_path: Path, truth: pd.DataFrame) -> None:
    noise = np.random.default_rng(3).normal(size=len(truth))
    simulated = truth.assign(true_effect=truth["measured"], measured=truth["measured"] + noise)
    metrics = run(tmp_path, simulated, scores_of(truth, truth["measured"] - 5 * noise, "off"))
    assert value(metrics, "true_effect_r", "off") == pytest.approx(1 / np.sqrt(26), abs=0.1)
    assert value(metrics, "true_effect_r", "measured") == pytest.approx(1 / np.sqrt(2), abs=0.06)
    assert value(metrics, "pearson", "off") < -0.3  # the measurement's noise is in the model's error, reversed
    assert 0.5 < value(metrics, "true_effect_right_sign", "off") < value(metrics, "true_effect_right_sign", "measured")


def test_places_and_donors_that_training_saw_are_flagged(
    tmp_path: Path, truth: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    """``seen`` is yes where any checkpoint trained; the subset ``unseen`` holds the others."""
    last = int(truth["pos"].max())
    write_checkpoint(tmp_path / "a", held_out_regions=[["chr1", 0, last // 2], ["chr1", last - 500, last + 1]])
    write_checkpoint(tmp_path / "b", held_out_chromosomes=["1"], training_donors=["NA18505", "NA19239"])
    write_checkpoint(tmp_path / "silent")
    half = truth["pos"] - 1 < last // 2
    effect = np.where(half | (truth["pos"] == last), truth["measured"], -truth["measured"])
    both = ("--checkpoint", str(tmp_path / "a"), "--checkpoint", str(tmp_path / "b"))
    with caplog.at_level("INFO"):
        metrics = run(
            tmp_path, truth, scores_of(truth, effect, "good"), extra=(*both, "--truth-donor", "NA19239", "--truth-donor", "NA1")
        )  # fmt: skip
    points = read_table(tmp_path / "points.tsv.gz", others=GUESS)
    assert (points["seen"] == np.where(half | (truth["pos"] == last), "no", "yes")).all()
    assert value(metrics, "pearson", subset="unseen") == pytest.approx(1)
    assert value(metrics, "pearson") < 0.5
    assert "b was trained on NA19239, a donor of this measurement" in caplog.text
    run(tmp_path, truth, scores_of(truth, effect, "good"), extra=("--checkpoint", str(tmp_path / "silent")))
    assert (read_table(tmp_path / "points.tsv.gz", others=GUESS)["seen"] == "unknown").all()  # it does not say


def test_curves_have_the_areas_and_means_of_the_metrics(tmp_path: Path, truth: pd.DataFrame) -> None:
    effect = truth["measured"] + np.random.default_rng(4).normal(size=len(truth))
    metrics = run(
        tmp_path, truth, scores_of(truth, effect, "good"), extra=("--curves", str(tmp_path / "curves.tsv"))
    )  # fmt: skip
    curves = dict(list(read_table(tmp_path / "curves.tsv", others=GUESS).groupby("curve")))
    x, y = ([0, *curves["roc"][axis]] for axis in ("x", "y"))
    assert np.trapezoid(y, x) == pytest.approx(value(metrics, "auroc"), abs=0.01)  # thinned to 250 points
    steps = np.diff(curves["precision_recall"]["x"], prepend=0)
    assert (steps * curves["precision_recall"]["y"]).sum() == pytest.approx(value(metrics, "auprc"), abs=0.01)
    assert curves["right_sign"]["y"].iloc[-1] == pytest.approx(value(metrics, "sign_accuracy"))
    for axis, name in (("x", "mean_predicted"), ("y", "mean_measured")):
        rows = metrics[(metrics["metric"] == name) & metrics["subset"].str.startswith("calibration")]
        assert curves["calibration"][axis].to_numpy() == pytest.approx(rows["value"].to_numpy(), abs=1e-5)


def seeded(truth: pd.DataFrame, seeds: list[np.ndarray], model: str) -> pd.DataFrame:
    """Scores of an ensemble whose seeds predict these effects."""
    told = [
        ";".join(f"{number}:{value:.9g}" for number, value in enumerate(values)) for values in zip(*seeds, strict=True)
    ]
    return scores_of(truth, np.mean(seeds, axis=0), model).assign(effect_by_seed=told)


def test_seeds_are_resampled_with_the_variants(tmp_path: Path, truth: pd.DataFrame) -> None:
    """Two trainings of one recipe that differ by their seed alone: no difference, however many variants there are."""
    rng = np.random.default_rng(8)
    measured = truth["measured"].to_numpy()

    def training(shared: float) -> np.ndarray:
        return shared * measured + rng.normal(size=len(truth))

    good, bad = [training(0.9) for _ in range(3)], [training(0.2) for _ in range(3)]
    metrics = run(
        tmp_path, truth, seeded(truth, [*good[:2], bad[0]], "legnet"), seeded(truth, [good[2], *bad[1:]], "reference"),
        scores_of(truth, np.mean([*good[:2], bad[0]], axis=0), "alone"),
    )  # fmt: skip
    rows = metrics[(metrics["metric"] == "pearson") & (metrics["subset"] == "all")].set_index("model")
    width = rows["ci_high"] - rows["ci_low"]
    assert rows.loc["legnet", "value"] == pytest.approx(rows.loc["alone", "value"], abs=1e-6)
    assert width["legnet"] > 1.5 * width["alone"]
    difference = metrics[(metrics["metric"] == "pearson_minus_reference") & (metrics["subset"] == "all")].set_index(
        "model"
    )
    assert difference.loc["legnet", "value"] > 0.05
    assert difference.loc["legnet", "ci_low"] < 0 < difference.loc["alone", "ci_low"] + 0.1
    assert value(metrics, "seeds", "legnet") == 3 and value(metrics, "seeds", "alone") == 1


def test_models_of_interest_are_compared_with_each_control(tmp_path: Path, truth: pd.DataFrame) -> None:
    rng = np.random.default_rng(9)
    names = ["clipnet", "legnet", "pretrained_K562", "reference", "shuffled"]
    tables = [
        scores_of(truth, truth["measured"] * k + rng.normal(size=len(truth)), name) for k, name in enumerate(names)
    ]
    metrics = run(tmp_path, truth, *tables)
    found = metrics[metrics["metric"].str.contains("_minus_") & (metrics["subset"] == "all")]
    assert set(zip(found["model"], found["metric"], strict=True)) == {
        *(("legnet", f"pearson_minus_{name}") for name in names if name != "legnet"),
        ("reference", "pearson_minus_pretrained_K562"), ("reference", "pearson_minus_clipnet"),
    }  # fmt: skip


def test_near_and_far_and_both_views_are_told_apart(tmp_path: Path, truth: pd.DataFrame) -> None:
    rng = np.random.default_rng(10)
    distance = np.where(np.arange(len(truth)) % 4 == 0, np.nan, rng.integers(-400, 400, len(truth)))
    near = np.abs(distance) <= 115
    scores = scores_of(truth, np.where(near, truth["measured"], 0), "good").assign(
        distance=distance,
        effect_centred=rng.normal(size=len(truth)),
        view=np.where(np.isnan(distance), "centred", "element"),
    )
    metrics = run(tmp_path, truth, scores)
    assert value(metrics, "pearson", subset="near") == pytest.approx(1)
    assert value(metrics, "sign_accuracy", subset="far") == 0.5
    sizes = metrics[metrics["metric"] == "pearson_centred"].set_index("subset")["n"]
    outside = int(np.isnan(distance).sum())
    assert (sizes["near"], sizes["far"], sizes["outside_elements"]) == (
        near.sum(),
        len(truth) - outside - near.sum(),
        outside,
    )
    assert abs(value(metrics, "pearson_centred", subset="near")) < 0.3
    points = read_table(tmp_path / "points.tsv.gz", others=GUESS)
    assert (points["near"] == np.where(near, "yes", np.where(np.isnan(distance), "outside", "no"))).all()


def test_a_model_that_scored_nothing_is_said_and_not_compared(
    tmp_path: Path, truth: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    nothing = scores_of(truth, np.full(len(truth), np.nan), "unseen").assign(status="ref_mismatch")
    metrics = run(tmp_path, truth, scores_of(truth, truth["measured"], "good"), nothing)
    assert set(metrics["model"]) == {"good", "baseline_majority"}
    assert "unseen has no score of a measured variant, and is not compared" in caplog.text


def test_variants_that_training_saw_are_excluded_and_counted(
    tmp_path: Path, truth: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a model was trained it knows the answer, elsewhere its opposite: the figure is that of elsewhere."""
    seen = np.where(np.arange(len(truth)) % 3 == 0, "yes", "no")
    knows = scores_of(truth, truth["measured"] * np.where(seen == "yes", 1, -1), "knows").assign(seen=seen)
    other = scores_of(truth, truth["measured"], "other").assign(seen="unknown")
    with caplog.at_level("INFO"):
        metrics = run(tmp_path, truth, knows, other)
    number = int((seen == "yes").sum())
    assert (
        f"knows: {len(truth)} of {len(truth)} variants scored, {number} of them excluded: training saw their place"
        in caplog.text
    )
    assert value(metrics, "pearson", "knows") == pytest.approx(-1)
    assert value(metrics, "excluded_seen", "knows") == number
    assert set(read_table(tmp_path / "points.tsv.gz", others=GUESS)["seen"]) == {"unknown"}
    kept = run(tmp_path, truth, knows, other, extra=("--include-seen",))
    assert kept.loc[kept["metric"] == "pearson", "n"].max() == len(truth)
    assert (
        read_table(tmp_path / "points.tsv.gz", others=GUESS)["seen"] == np.where(seen == "yes", "yes", "unknown")
    ).all()
    metrics = run(tmp_path, truth, knows.assign(seen="yes"), other)
    assert "knows" not in set(metrics["model"])
    assert "knows saw in training all variants that it scored, and is not compared" in caplog.text


def test_the_mean_with_lentimpra_is_compared_with_a_control_of_equal_size(
    tmp_path: Path, truth: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    """Personal networks know half of the effects, lentiMPRA the other; reference ones add nothing but their number."""
    rng = np.random.default_rng(12)
    measured = truth["measured"].to_numpy()
    half = np.arange(len(truth)) % 2 == 0

    def seeds(known: np.ndarray) -> list[np.ndarray]:
        return [np.where(known, measured, 0) + rng.normal(0, 0.3, len(truth)) for _ in range(3)]

    lentimpra, personal = seeds(~half), seeds(half)
    tables = {"legnet": personal, "reference": [one + rng.normal(0, 0.1, len(truth)) for one in lentimpra]}
    tables["pretrained_K562"] = lentimpra
    sizes = {"legnet": 3, "reference": 3, "pretrained_K562": 6}
    scores = [seeded(truth, own, name).assign(n_models=sizes[name]) for name, own in tables.items()]
    metrics = run(tmp_path, truth, *scores)
    mixed, control = "legnet + pretrained_K562", "reference + pretrained_K562"
    mean = {name: np.mean(own, axis=0) for name, own in tables.items()}

    def r(*names: str) -> float:
        return float(np.corrcoef(np.mean([mean[name] for name in names], axis=0), measured)[0, 1])

    together, equal = r("legnet", "pretrained_K562"), r("reference", "pretrained_K562")
    assert value(metrics, "pearson", mixed) == pytest.approx(together, abs=1e-5)
    assert value(metrics, "pearson", control) == pytest.approx(equal, abs=1e-5)
    alone = value(metrics, "pearson_minus_pretrained_K562", mixed)
    assert alone == pytest.approx(together - r("pretrained_K562"), abs=1e-5)
    row = metrics[(metrics["metric"] == f"pearson_minus_{control}") & (metrics["model"] == mixed)].iloc[0]
    assert row["value"] == pytest.approx(together - equal, abs=1e-5) and row["ci_low"] > 0.05
    nothing = metrics[(metrics["metric"] == "pearson_minus_pretrained_K562") & (metrics["model"] == control)].iloc[0]
    assert nothing["ci_low"] < 0.02 and abs(nothing["value"]) < 0.02
    one = [float(np.corrcoef(own, measured)[0, 1]) for own in personal]
    found = metrics[(metrics["metric"] == "pearson_one_seed") & (metrics["model"] == "legnet")].iloc[0]
    assert [found["value"], found["ci_low"], found["ci_high"]] == pytest.approx(
        [np.mean(one), min(one), max(one)], abs=1e-5
    )
    assert value(metrics, "networks", "pretrained_K562") == 6
    assert "legnet is the mean of 3 networks and pretrained_K562 of 6: not equally large" in caplog.text
