"""Matched controls of QTL benchmarks: a planted confounder goes, a true signal stays; tables in several layouts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from allelegro.cli.benchmark_variants import app
from allelegro.effects.matching import matched_subset
from allelegro.effects.measured import read_measured
from allelegro.errors import DataError
from allelegro.io.metrics import read_metrics
from allelegro.io.tables import GUESS, read_table


def association(n: int = 8000) -> pd.DataFrame:
    """A caQTL study: power grows with minor allele frequency and nearness, effects with neither of them."""
    rng = np.random.default_rng(3)
    ref = rng.choice(list("ACGT"), n)
    alt = np.array(["ACGT".replace(base, "")[i] for base, i in zip(ref, rng.integers(0, 3, n), strict=True)])
    table = pd.DataFrame({"chrom": "chr1", "pos": np.arange(n) * 20_000 + 7, "ref": ref, "alt": alt})
    table["af"] = rng.beta(0.5, 0.8, n)
    table["distance"] = np.round(rng.laplace(0, 20_000, n))
    table["beta"] = rng.normal(0, 1, n)
    common, near = np.minimum(table["af"], 1 - table["af"]) * 2, np.exp(-table["distance"].abs() / 20_000)
    chance = 1 / (1 + np.exp(6 - 2.5 * common - 2.5 * near - table["beta"].abs()))
    return table.assign(common=common, near=near, significant=(rng.random(n) < chance).astype(int))


def benchmark(room: Path, truth: pd.DataFrame, **effects: "np.ndarray | pd.Series") -> pd.DataFrame:
    truth.to_csv(room / "t.tsv", sep="\t", index=False)
    arguments = ["--truth", str(room / "t.tsv"), "--kind", "qtl", "--dataset", "caqtl", "--n-boot", "200"]
    key = truth[["chrom", "pos", "ref", "alt"]] if "chrom" in truth else association()[["chrom", "pos", "ref", "alt"]]
    for name, effect in effects.items():
        key.assign(id=".", model=name, effect=np.asarray(effect)).to_csv(room / f"{name}.tsv", sep="\t", index=False)
        arguments += ["--scores", str(room / f"{name}.tsv")]
    app([*arguments, "--out", str(room / "m.tsv"), "--points", str(room / "p.tsv.gz")], standalone_mode=False)
    return read_metrics([room / "m.tsv"])


def figure(metrics: pd.DataFrame, model: str, subset: str, metric: str = "auroc") -> pd.Series:
    rows = metrics.query("model == @model and subset == @subset and metric == @metric")
    assert len(rows) == 1
    return rows.iloc[0]


def test_matching_removes_a_planted_confounder_and_keeps_the_signal(tmp_path: Path) -> None:
    study = association()
    sign = np.random.default_rng(5).choice([-1, 1], len(study))
    metrics = benchmark(tmp_path, study, confounded=sign * (study["common"] + study["near"]), causal=study["beta"])
    for model in ("confounded", "baseline_frequency", "baseline_distance"):
        assert figure(metrics, model, "all")["ci_low"] > 0.57
        matched = figure(metrics, model, "matched")
        assert matched["ci_low"] < 0.5 < matched["ci_high"] and abs(matched["value"] - 0.5) < 0.04
    assert figure(metrics, "causal", "matched")["ci_low"] > 0.55
    # Chance of average precision is the share of significant variants, 1 in 1 + controls.
    points = read_table(tmp_path / "p.tsv.gz", others=GUESS).query("matched == 'yes'")
    share = points["significant"].mean()
    assert 1 / share == pytest.approx(round(1 / share)) and share < 0.5
    chance = figure(metrics, "confounded", "matched", "auprc")
    assert chance["ci_low"] < share + 0.02 and figure(metrics, "causal", "matched", "auprc")["ci_low"] > share


def test_matched_controls_have_the_bins_of_their_variants() -> None:
    study = association().assign(match="")
    study["distance"] = study["distance"].abs()
    chosen = matched_subset(study, 0)
    assert chosen is not None and (chosen == matched_subset(study, 0)).all()
    for column in ("af", "distance"):
        minor = np.minimum(study[column], 1 - study[column]) if column == "af" else study[column]
        up, down = (minor[chosen & (study["significant"] == value)] for value in (1, 0))
        everyone = minor[study["significant"] == 0]
        assert abs(up.median() - down.median()) < 0.15 * abs(up.median() - everyone.median()) + 0.01 * up.median()
    assert matched_subset(study.assign(significant=1), 0) is None
    assert matched_subset(study.assign(af=np.nan, distance=np.nan), 0) is None


def test_controls_given_in_the_table_are_taken_as_they_are(tmp_path: Path) -> None:
    study = association()
    positives, controls = (study.index[study["significant"] == value] for value in (1, 0))
    study["match"] = ""
    study.loc[positives[:50], "match"] = [f"set{n}" for n in range(50)]
    study.loc[controls[:100], "match"] = [f"set{n // 2}" for n in range(100)]
    study.loc[controls[100:110], "match"] = "of nobody"
    metrics = benchmark(tmp_path, study, causal=study["beta"])
    assert figure(metrics, "causal", "matched")["n"] == 150


def test_layouts_of_qtl_tables_agree(tmp_path: Path) -> None:
    study = association(2000)
    p = np.where(study["significant"] == 1, 1e-8, 0.5)
    tensorqtl = pd.DataFrame(
        {"phenotype_id": "peak1", "variant_id": "chr1_" + study["pos"].astype(str) + "_" + study["ref"] + "_" + study["alt"] + "_b38",
         "start_distance": study["distance"], "af": study["af"], "pval_nominal": p, "slope": study["beta"]}
    )  # fmt: skip
    weaker = tensorqtl.head(300).assign(phenotype_id="peak2", slope=9.0, pval_nominal=0.9)
    plain = study[["chrom", "pos", "ref", "alt", "af", "distance", "beta", "significant"]]
    unsigned = plain.assign(beta=plain["beta"].where(plain["significant"] == 1))  # controls without an effect
    read = {}
    for name, table in {"tensorqtl": pd.concat([weaker, tensorqtl]), "plain": plain, "unsigned": unsigned}.items():
        table.to_csv(tmp_path / f"{name}.tsv", sep="\t", index=False)
        truth = read_measured(tmp_path / f"{name}.tsv", "qtl")
        read[name] = truth.table.sort_values("pos").drop(columns="id").reset_index(drop=True)
        assert truth.dropped.get("duplicate", 0) == (300 if name == "tensorqtl" else 0)
    pd.testing.assert_frame_equal(read["tensorqtl"], read["plain"])
    assert read["unsigned"]["measured"].isna().sum() == (study["significant"] == 0).sum()
    (tmp_path / "bad.tsv").write_text("variant_id\tslope\tpval\nrs1\t1\t0.1\n")
    with pytest.raises(DataError, match="filter variant_id_not_read leaves no variants"):
        read_measured(tmp_path / "bad.tsv", "qtl")


def test_controls_of_allele_specific_tables_have_the_coverage_of_their_variants(tmp_path: Path) -> None:
    """Significance that follows coverage alone is ranked by coverage, and no longer among matched controls."""
    rng = np.random.default_rng(8)
    n = 6000
    cover = np.round(np.exp(rng.normal(4, 1, n)))
    significant = rng.random(n) < 1 / (1 + np.exp(8 - 1.5 * np.log(cover)))
    table = pd.DataFrame({"chr": "chr1", "start": np.arange(n) * 20_000, "ref": "A", "alt": "C", "max_cover": cover})
    table["pref_allele"], table["comb_es"] = rng.choice(["ref", "alt"], n), 1.0
    table["fdr_comb_pval"] = np.where(significant, 0.01, 0.9)
    table.to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    measured = read_measured(tmp_path / "t.tsv", "udacha").table
    assert measured["coverage"].tolist() == cover.tolist()
    chosen = matched_subset(measured, 0)
    assert chosen is not None
    before, after = (measured[rows].groupby("significant")["coverage"].median() for rows in (np.ones(n, bool), chosen))
    assert before[1.0] > 1.8 * before[0.0]
    assert after[1.0] == pytest.approx(after[0.0], rel=0.1)
