"""Areas under curves, the published protocol, strata and baselines against slow or hand-made answers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from allelegro.effects.benchmark import Benchmark, Points, clusters_of
from allelegro.effects.curves import auprc_ci, auroc_ci
from allelegro.effects.kmers import PENALTIES, WINDOW, KmerModel, gc_change, kmer_counts, without_held_out
from allelegro.effects.legnet_protocol import legnet_protocol, predicted_p
from allelegro.effects.windows import AllelePairs
from allelegro.errors import DataError
from allelegro.io.dna import decode, encode, reverse_complement
from allelegro.io.windows import WINDOW_COLUMNS, write_windows


def test_areas_equal_their_definitions() -> None:
    rng = np.random.default_rng(0)
    score, label = rng.integers(0, 12, 80).astype(float), rng.integers(0, 2, 80)  # many ties
    up, down = score[label == 1], score[label == 0]
    pairs = (up[:, None] > down[None]).mean() + (up[:, None] == down[None]).mean() / 2
    assert auroc_ci(score, label, n_boot=100).value == pytest.approx(pairs)
    precision = 0.0
    for threshold in np.unique(score):
        gained = ((score == threshold) & (label == 1)).sum() / label.sum()
        precision += gained * label[score >= threshold].mean()
    estimate = auprc_ci(score, label, n_boot=300)
    assert estimate.value == pytest.approx(precision)
    assert estimate.ci_low < precision < estimate.ci_high
    assert np.isnan(auroc_ci(score, np.ones(80)).value)


def test_bootstrapping_clusters_widens_the_interval() -> None:
    rng = np.random.default_rng(1)
    cluster = np.repeat(np.arange(30), 20)
    label = (rng.random(30) < 0.5).astype(float)[cluster]
    score = label + np.repeat(rng.normal(0, 2, 30), 20)
    alone, together = auroc_ci(score, label), auroc_ci(score, label, cluster)
    assert together.ci_high - together.ci_low > 2 * (alone.ci_high - alone.ci_low)


def test_the_published_protocol_by_hand() -> None:
    effect = np.array([0.9, -0.8, 0.7, 0.001, -0.6, 0.5])
    fdr = np.array([0.001, 0.01, 0.02, 0.03, 0.04, 0.6])
    evidence = -np.log2(fdr + 1e-10) * np.array([1, -1, -1, 1, -1, 1])
    spread = pd.DataFrame({"ref_sd": [0.3] * 6, "alt_sd": [0.4] * 6, "n_predictions": [25] * 6})
    sd = np.sqrt((0.09 + 0.16) / 25)
    from scipy.stats import norm

    assert predicted_p(effect, spread) == pytest.approx(norm.cdf(-np.abs(effect) / sd))
    figures = legnet_protocol(effect, evidence, spread, 100, 0)
    assert figures["fdr", "protocol_concordance"][0] == pytest.approx(4 / 5)
    assert figures["fdr", "protocol_concordance"].n == 5
    assert figures["fdr_and_predicted", "protocol_concordance"][0] == pytest.approx(3 / 4)
    assert figures["fdr_and_predicted", "protocol_pearson"][0] == pytest.approx(
        np.corrcoef(effect[[0, 1, 2, 4]], evidence[[0, 1, 2, 4]])[0, 1]
    )
    flipped = legnet_protocol(
        -effect, -evidence, spread, 100, 0
    )  # their sign (positive: reference) gives the same figures
    assert flipped["fdr", "protocol_pearson"].value == pytest.approx(figures["fdr", "protocol_pearson"].value)
    single = spread.assign(ref_sd=np.nan, alt_sd=np.nan)
    assert ("fdr_and_predicted", "protocol_pearson") not in legnet_protocol(effect, evidence, single, 100, 0)


def points(n: int, **columns: object) -> Points:
    rng = np.random.default_rng(2)
    table = pd.DataFrame(
        {"chrom": "1", "pos": np.arange(n) * 50_000 + 1, "ref": "A", "alt": "C", "id": ".", "group": "", "measured": rng.normal(size=n),
         "significant": np.nan, "active": np.nan, "af": rng.random(n), "evidence": np.nan, "distance": np.nan,
         "match": "", "true_effect": np.nan, "cluster": np.arange(n)}
    )  # fmt: skip
    table = table.assign(**columns)
    table["m"] = 0.5 * table["measured"]
    spread = pd.DataFrame(np.nan, index=table.index, columns=["ref_sd", "alt_sd", "n_predictions"])
    return Points(table, ["m"], {"m": spread})


def test_calibration_strength_and_frequency_rows() -> None:
    rows = pd.DataFrame(Benchmark("d", points(500), n_boot=100).rows())
    predicted = rows[rows["metric"] == "mean_predicted"]["value"].to_numpy()
    measured = rows[rows["metric"] == "mean_measured"]["value"].to_numpy()
    assert len(predicted) == 10
    assert measured == pytest.approx(2 * predicted)
    strata = rows[rows["subset"].str.startswith(("strength", "frequency"))]
    assert set(strata["subset"]) >= {"strength_1_of_5", "strength_5_of_5", "frequency_0.2_to_1"}
    assert (strata["value"] == 1).all()
    assert rows.query("model == 'baseline_majority'")["value"].iloc[0] >= 0.5


def test_within_groups_takes_out_what_elements_differ_in() -> None:
    rng = np.random.default_rng(3)
    group = np.repeat(list("abcdefghijklm"), 40)
    level = dict(zip("abcdefghijklm", rng.normal(0, 10, 13), strict=True))
    shared = points(520, group=group)
    shared.table["m"] = rng.normal(size=520) + pd.Series(group).map(level)
    shared.table["measured"] = rng.normal(size=520) + pd.Series(group).map(level)
    rows = pd.DataFrame(Benchmark("d", shared, n_boot=100).rows()).query("metric == 'pearson' and model == 'm'")
    pooled, within = (rows.query("subset == @subset")["value"].iloc[0] for subset in ("all", "within_groups"))
    assert pooled > 0.9
    assert abs(within) < 0.2


def test_clusters_chain_neighbours() -> None:
    table = pd.DataFrame({"chrom": ["2", "1", "1", "1", "2"], "pos": [50, 300, 100, 5000, 120]})
    labels = clusters_of(table, 250)
    assert labels[1] == labels[2] and labels[0] == labels[4]
    assert len(set(labels)) == 3


def test_words_are_strand_blind_and_skip_unknown_bases() -> None:
    codes = np.random.default_rng(4).integers(0, 4, (5, 60)).astype(np.uint8)
    assert (kmer_counts(codes) == kmer_counts(reverse_complement(codes))).all()
    assert kmer_counts(codes).sum(axis=1).tolist() == [55 + 52] * 5
    codes[0, 30] = 4
    assert kmer_counts(codes)[0].sum() == 55 - 6 + 52 - 6


def test_the_word_model_finds_a_planted_motif() -> None:
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 4, (600, WINDOW)).astype(np.uint8)
    planted = rng.random(600) < 0.5
    codes[planted, 90:96] = encode("GATTAC")
    sequences = [decode(row) for row in codes]
    model = KmerModel.fit(sequences, planted + rng.normal(0, 0.1, 600), kmers=((0, 1, 2, 3, 4, 5),))
    reference = codes[planted][:20]
    broken = reference.copy()
    broken[:, 92] = 1
    pairs = AllelePairs(reference[:, None], np.arange(20), broken[:, None])
    assert (model.effects(pairs) < -0.1).mean() > 0.9
    assert gc_change(pairs).tolist() == [1.0] * 20


def test_the_word_model_is_a_ridge_regression_and_comes_back_from_its_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    codes, kmers = rng.integers(0, 4, (300, 40)).astype(np.uint8), ((0, 1, 2, 3, 4, 5),)
    counts, activity = kmer_counts(codes, kmers).astype(float), rng.normal(3, 1, 300)
    model = KmerModel.fit([decode(row) for row in codes], activity, kmers=kmers)
    centred = counts - counts.mean(axis=0)
    ridges = [
        np.linalg.solve(centred.T @ centred + penalty * np.eye(centred.shape[1]), centred.T @ (activity - 3))
        for penalty in PENALTIES
    ]
    assert min(np.abs(model.weights - ridge).max() for ridge in ridges) < 1e-4
    model.save(tmp_path / "kmers.npz")
    again = KmerModel.load(tmp_path / "kmers.npz")
    assert again.kmers == kmers
    np.testing.assert_allclose(again.weights, model.weights, atol=1e-6)
    (tmp_path / "other.npz").write_bytes(b"PK not a model")
    np.save(tmp_path / "array.npy", np.zeros(3))
    for bad in ("other.npz", "array.npy", "absent.npz"):
        with pytest.raises(DataError, match=f"{bad}: is not a k-mer model"):
            KmerModel.load(tmp_path / bad)


def test_the_word_model_wants_enough_sequences_of_one_width() -> None:
    with pytest.raises(DataError, match="3 sequences of 1 widths"):
        KmerModel.fit(["ACGTACGTAC"] * 3, np.zeros(3))
    with pytest.raises(DataError, match="60 sequences of 2 widths"):
        KmerModel.fit(["ACGTACGTAC"] * 59 + ["ACGTACGTACG"], np.zeros(60))


def test_a_kmer_model_is_not_fitted_on_what_is_tested(tmp_path: Path) -> None:
    examples = pd.DataFrame(
        {
            "chrom": ["chr1", "1", "chr1", "chr2", "."],
            "start": [0, 90, 300, 0, np.nan],
            "end": [200, 290, 500, 200, np.nan],
        }
    )
    rows = [("chr1", 150, 250, "a", 1, ".", 0), ("chr1", 499, 599, "b", 1, ".", 2), ("chr2", 199, 299, "c", 1, ".", 1)]
    write_windows(pd.DataFrame(rows, columns=WINDOW_COLUMNS), tmp_path / "w.bed")
    kept = without_held_out(examples, [tmp_path / "w.bed"], [0, 1], tmp_path / "t.tsv")
    assert kept.index.tolist() == [2, 4]
    with pytest.raises(DataError, match="every sequence is in a held-out window"):
        without_held_out(examples.iloc[:2], [tmp_path / "w.bed"], [0], tmp_path / "t.tsv")
