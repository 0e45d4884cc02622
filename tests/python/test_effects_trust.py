"""Null quantiles are uniform where nothing happens; probabilities of a right sign are what they say."""

from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest
from scipy.stats import kstest

from allelegro.cli.rank_variants import app as rank
from allelegro.cli.score_variants import app as score_variants
from allelegro.effects.annotation import StartSites
from allelegro.effects.motifs import BUNDLED, motif_changes, read_motifs
from allelegro.effects.score_files import read_scores
from allelegro.effects.trust import SignCalibration, calibration_table, expected_calibration_error
from allelegro.effects.windows import Genome
from allelegro.errors import DataError
from allelegro.io.tables import GUESS, read_table
from helpers.toy_stores import toy_windows, write_counts
from helpers.toy_variants import write_checkpoint, write_fasta, write_genome

WIDTH = 60
BASES = "ACGT"


def truth_and_prediction(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True effects, a model's noisy ones, classes: predictions far from centres are noise alone."""
    rng = np.random.default_rng(seed)
    group = rng.choice(["near", "far"], n)
    true = rng.laplace(0, 0.2, n) * np.where(group == "near", 1, 0.05)
    predicted = 0.5 * true + rng.normal(0, 0.08, n)
    return true, predicted, group


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_probability_of_a_right_sign_is_calibrated_on_truth_it_was_not_fitted_on(seed: int) -> None:
    true, predicted, group = truth_and_prediction(3000, seed)
    right = (np.sign(true) == np.sign(predicted)).astype(float)
    calibration = SignCalibration.fit(predicted, right, group)
    other_true, other, other_group = truth_and_prediction(20_000, seed + 100)
    p = calibration.probability(other, other_group)
    hit = np.sign(other_true) == np.sign(other)
    tenth = p.argsort().argsort() * 10 // p.size
    error = sum(abs(p[tenth == k].mean() - hit[tenth == k].mean()) * (tenth == k).mean() for k in range(10))
    assert error < 0.05
    near = other_group == "near"
    assert p[near].mean() > p[~near].mean() + 0.1  # and it tells classes apart
    assert (np.diff(p[near][np.argsort(np.abs(other[near]))]) >= -1e-9).all()  # larger effects are trusted more
    table = calibration_table(predicted, right, group, seed)
    assert expected_calibration_error(table[table["class"] == "all"]) < 0.05
    assert set(table["class"]) == {"all", "near", "far"}


def test_a_model_that_knows_nothing_is_right_half_of_the_time() -> None:
    rng = np.random.default_rng(5)
    predicted, right = rng.normal(size=2000), rng.integers(0, 2, 2000).astype(float)
    group = np.full(2000, "outside")
    p = SignCalibration.fit(predicted, right, group).probability(np.array([1e-6, 0.0, 5.0, np.nan]), group[:4])
    assert p[:3] == pytest.approx([0.5] * 3, abs=0.06) and np.isnan(p[3])
    unknown = SignCalibration.fit(predicted[:10], right[:10], group[:10])
    assert np.isnan(unknown.probability(predicted[:3], group[:3])).all()


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("trust")
    write_genome(room / "g.fa", {"chr1": 60_000})
    starts = range(500, 55_000, 1000)
    (room / "w.bed").write_text("".join(f"chr1\t{start}\t{start + 100}\tw{start}\n" for start in starts))
    write_checkpoint(room / "m", WIDTH)
    return room


def test_quantiles_of_random_variants_are_uniform(room: Path) -> None:
    """Of variants that are random themselves, in elements and outside; in file order, each with its class."""
    rng = np.random.default_rng(11)
    with pysam.FastaFile(str(room / "g.fa")) as fasta:
        text = fasta.fetch("chr1")
    inside = 550 + 1000 * rng.integers(0, 54, 500) + rng.integers(-29, 30, 500)
    outside = 1000 * rng.integers(1, 54, 300) + rng.integers(0, 300, 300)
    rows = [
        ("chr1", pos, text[pos - 1], BASES[(BASES.index(text[pos - 1]) + 1 + pos % 3) % 4])
        for pos in (*inside, *outside)
    ]
    pd.DataFrame(rows, columns=["chrom", "pos", "ref", "alt"]).to_csv(room / "v.tsv", sep="\t", index=False)
    score_variants(
        ["--checkpoint", str(room / "m"), "--variants", str(room / "v.tsv"), "--fasta", str(room / "g.fa"), "--windows",
         str(room / "w.bed"), "--null", "300", "--out", str(room / "s.tsv"), "--device", "cpu"], standalone_mode=False,
    )  # fmt: skip
    scores = read_scores(room / "s.tsv")
    quantile = scores["null_quantile"].astype(float)
    assert quantile.between(0, 1, inclusive="neither").all()
    for view in ("element", "centred"):
        assert kstest(quantile[scores["view"] == view], "uniform").pvalue > 0.01
    ranks = scores.groupby("view")[["effect", "null_quantile"]].apply(
        lambda part: part["effect"].abs().corr(part["null_quantile"], method="spearman")
    )
    assert (ranks > 0.8).all()


def table_of(model: str, effects: list[float | None]) -> pd.DataFrame:
    n = len(effects)
    return pd.DataFrame(
        {
            "chrom": "chr1", "pos": np.arange(n) * 100 + 50, "ref": "A", "alt": "C", "id": [f"rs{k}" for k in range(n)],
            "model": model, "effect": effects, "effect_sd": 0.1, "ref_prediction": 1.0, "alt_prediction": 1.5,
            "view": "centred", "window": ".", "distance": np.nan, "effect_element": np.nan, "effect_centred": effects,
            "effect_sd_models": np.nan, "status": ["ref_mismatch" if e is None else "scored" for e in effects],
            "reason": ["other bases" if e is None else "" for e in effects],
        }
    )  # fmt: skip


def test_one_row_a_variant_with_the_score_to_use(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    measured = rng.normal(size=300)
    points = pd.DataFrame(
        {"chrom": "chr1", "pos": np.arange(300), "ref": "A", "alt": "C", "group": "", "measured": measured, "significant": 1,
         "legnet": rng.normal(size=300), "other": measured + 0.5 * rng.normal(size=300)}
    )  # fmt: skip
    points.to_csv(tmp_path / "p.tsv", sep="\t", index=False)
    windows = toy_windows(3, WIDTH, 1)
    counts = np.array([[10, 30], [1, 0], [0, 0]])
    write_counts(tmp_path / "counts", windows, ["A", "B"], ["D", "D"], counts, np.array([10**6, 3 * 10**6]), rng)
    table_of("legnet", [0.5, -0.5, None, None]).assign(window=["w0", ".", "w1", "w2"]).to_csv(
        tmp_path / "a.tsv", sep="\t", index=False, na_rep="NA"
    )
    table_of("other", [None, 1.5, 0.01, None]).assign(window=["w0", ".", "w1", "w2"]).to_csv(
        tmp_path / "b.tsv", sep="\t", index=False, na_rep="NA"
    )
    (tmp_path / "genes.gtf").write_text(
        "".join(
            f'1\tx\ttranscript\t{first}\t{last}\t.\t{strand}\t.\tgene_id "G{n}"; gene_name "NAME{n}";\n'
            for n, (first, last, strand) in enumerate([(101, 900, "+"), (20, 260, "-")])
        )
    )
    rank(
        ["--scores", str(tmp_path / "a.tsv"), "--scores", str(tmp_path / "b.tsv"), "--points", str(tmp_path / "p.tsv"),
         "--annotation", str(tmp_path / "genes.gtf"), "--counts", str(tmp_path / "counts"), "--out", str(tmp_path / "v.tsv"), "--out-calibration",
         str(tmp_path / "c.tsv")], standalone_mode=False,
    )  # fmt: skip
    table = read_table(tmp_path / "v.tsv", others=GUESS)
    assert table["best_model"].tolist() == [
        "legnet",
        "other",
        "other",
        ".",
    ]  # other has the larger r with measured effects
    assert table["best_score"].tolist()[:3] == [0.5, 1.5, 0.01] and np.isnan(table["best_score"].iloc[3])
    assert table["rank"].tolist()[:3] == [2, 1, 3] and np.isnan(table["rank"].iloc[3])
    assert table["status"].tolist() == ["scored"] * 3 + ["ref_mismatch"]
    assert table["effect_legnet"].tolist()[:2] == [0.5, -0.5]
    assert table["window"].tolist() == ["w0", ".", "w1", "w2"]  # reads per million, the mean of both libraries
    assert table["window_expression"].tolist() == pytest.approx([10, np.nan, 0.5, 0], nan_ok=True)
    p = table["sign_probability"]
    assert p.iloc[1] > 0.9 and 0.4 < p.iloc[0] < 0.6 < p.iloc[1] and np.isnan(p.iloc[3])
    assert table["rsid"].tolist() == table["id"].tolist()
    assert table["gene"].tolist() == ["NAME0", "NAME0", "NAME1", "NAME1"]
    assert table["tss_distance"].tolist() == [-51, 49, 10, -90]
    calibration = read_table(tmp_path / "c.tsv", others=GUESS)
    assert set(calibration["model"]) == {"legnet", "other"} and calibration["n"].min() > 0


def test_a_model_that_did_not_see_a_variant_comes_before_a_better_one_that_did(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    measured = rng.normal(size=200)
    points = pd.DataFrame(
        {"chrom": "chr1", "pos": np.arange(200), "ref": "A", "alt": "C", "group": "", "measured": measured, "significant": 1,
         "good": measured, "poor": measured + 2 * rng.normal(size=200)}
    )  # fmt: skip
    points.to_csv(tmp_path / "p.tsv", sep="\t", index=False)
    given = []
    for model, seen in (("good", ["no", "yes", "yes"]), ("poor", ["no", "no", "yes"])):
        table_of(model, [0.5, 0.6, 0.7]).assign(seen=seen).to_csv(
            tmp_path / f"{model}.tsv", sep="\t", index=False, na_rep="NA"
        )
        given += ["--scores", str(tmp_path / f"{model}.tsv")]
    rank(
        [*given, "--points", str(tmp_path / "p.tsv"), "--out", str(tmp_path / "v.tsv"), "--out-calibration",
         str(tmp_path / "c.tsv")], standalone_mode=False,
    )  # fmt: skip
    table = read_table(tmp_path / "v.tsv", others=GUESS)
    assert table["best_model"].tolist() == ["good", "poor", "good"]
    assert table["seen"].tolist() == ["no", "no", "yes"]
    assert table["sign_probability"].notna().tolist() == [True, True, False]  # calibrated on what no model saw


def test_names_of_genes_in_gff3_and_what_is_no_annotation(tmp_path: Path) -> None:
    (tmp_path / "a.gff3").write_text(
        "##gff-version 3\nchr2\tx\tgene\t100\t200\t.\t-\t.\tID=gene:E1;Name=ABC;biotype=x\n##FASTA\n>chr2\nACGT\n"
    )
    found = StartSites.read(tmp_path / "a.gff3").nearest(pd.DataFrame({"chrom": ["2", "chr3"], "pos": [150, 5]}))
    assert found["gene"].tolist() == ["ABC", "."] and found["tss_distance"].iloc[0] == 50
    (tmp_path / "b.gff3").write_text("chr2\t100\t200\n")
    with pytest.raises(DataError, match=r"b\.gff3 line 1: no line of a GTF or GFF3"):
        StartSites.read(tmp_path / "b.gff3")


MEME = """MEME version 4

ALPHABET= ACGT

MOTIF M1 TATA
letter-probability matrix: alength= 4 w= 8 nsites= 20 E= 0
{rows}
"""


def test_the_motif_that_a_variant_makes_or_breaks(tmp_path: Path) -> None:
    consensus = "TGACGTCA"  # its own reverse complement: both strands score alike
    rows = "\n".join(" ".join("0.97" if base == wanted else "0.01" for base in "ACGT") for wanted in consensus)
    (tmp_path / "m.meme").write_text(MEME.format(rows=rows))
    motifs = read_motifs(tmp_path / "m.meme")
    assert motifs[0].name == "M1 TATA"
    whole = 8 * np.log2((0.97 + 0.0025) / 1.01 / 0.25)
    assert motifs[0].threshold == pytest.approx(whole, abs=0.1) or motifs[0].threshold < whole
    flank = "ACCTTGCAAT" * 6
    text = flank + consensus + flank
    write_fasta(tmp_path / "g.fa", {"chr1": text, "chr2": flank + "TGACCTCA" + flank})
    at = len(flank) + 5  # the fifth base of the site, 1-based
    table = pd.DataFrame(
        [("chr1", at, "G", "C"), ("chr2", at, "C", "G"), ("chr1", 10, "T", "G"), ("chr1", at, "G", "*"),
         ("chr2", at - 1, "CC", "CG")],
        columns=["chrom", "pos", "ref", "alt"],
    ).assign(id=".")  # fmt: skip
    found = motif_changes(table, Genome(tmp_path / "g.fa"), motifs)
    assert found["motif_change"].tolist() == ["broken", "made", ".", ".", "made"]
    bits = np.log2((0.97 + 0.0025) / (0.01 + 0.0025))
    assert found["motif_bits"].tolist()[:2] == pytest.approx([-bits, bits], abs=0.05)
    known = read_motifs(BUNDLED)
    assert len(known) == len({motif.name for motif in known}) == 107
    changes = motif_changes(
        table.head(2), Genome(tmp_path / "g.fa"), known
    )  # GACGTCAA is no site of RUNX3, GACCTCAA is
    assert changes["motif"].tolist() == ["MA0684.3 RUNX3"] * 2
    assert changes["motif_change"].tolist() == ["made", "broken"]
    for bad in ("nothing", MEME.format(rows="0.5 0.5"), MEME.format(rows=rows.rsplit("\n", 1)[0])):
        (tmp_path / "bad.meme").write_text(bad)
        with pytest.raises(DataError, match=r"bad\.meme"):
            read_motifs(tmp_path / "bad.meme")
