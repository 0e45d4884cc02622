"""Readers of measured effects: every format's coordinates, alleles and sign, and that a flip of any of them is noticed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from allelegro.cli.benchmark_variants import app as benchmark
from allelegro.effects.benchmark import join
from allelegro.effects.measured import MeasuredEffects, MeasuredOptions, read_measured
from allelegro.effects.variants import canonical_key
from allelegro.errors import DataError
from allelegro.io.metrics import read_metrics
from allelegro.procap.allelic_events import call_events
from allelegro.statistics import pearson, right_sign

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the public example data are not here")
N = 300
Table = pd.DataFrame


@pytest.fixture
def effects() -> Table:
    """Variants one base apart on one chromosome, so that a shift by one still meets other variants; log2 alt/ref."""
    rng = np.random.default_rng(4)
    ref = rng.choice(list("ACGT"), N)
    alt = np.array(["ACGT".replace(base, "")[i] for base, i in zip(ref, rng.integers(0, 3, N), strict=True)])
    return pd.DataFrame(
        {"chrom": "chr3", "pos": np.arange(1000, 1000 + N), "ref": ref, "alt": alt, "effect": rng.normal(0, 1, N)}
    )


def kircher(t: Table) -> Table:
    return pd.DataFrame({
        "Chrom": "3", "Pos": t["pos"], "Ref": t["ref"], "Alt": t["alt"], "Barcodes": 20, "DNA": 1, "RNA": 1,
        "Coefficient": t["effect"], "pValue": np.where(t["effect"].abs() > 1, 1e-6, 0.5), "Element": "E", "Release": "GRCh38",
    })  # fmt: skip


def cagi5(t: Table) -> Table:
    return pd.DataFrame({
        "#Chrom": "chr3", "Pos": t["pos"], "Ref": t["ref"], "Alt": t["alt"], "Value": t["effect"],
        "Confidence": np.where(t["effect"].abs() > 1, 0.5, 0.01),
    })  # fmt: skip


def tewhey(t: Table) -> Table:
    return pd.DataFrame({
        "ID": "x", "chr": 3, "pos": t["pos"], "RefAllele": t["ref"], "AltAllele": t["alt"], "C.A.log2FC": 0.5,
        "C.B.log2FC": 0.5 + t["effect"], "LogSkew.Comb": t["effect"], "Regulatory_Hit": 1,
        "emVar_Hit": (t["effect"].abs() > 1).astype(int),
    })  # fmt: skip


def adastra(t: Table) -> Table:
    fdr = np.where(t["effect"].abs() > 1, 0.01, 0.8)
    up = t["effect"] > 0
    return pd.DataFrame({
        "#chr": "chr3", "pos": t["pos"].astype(float), "ID": "rs1", "ref": t["ref"], "alt": t["alt"],
        "es_mean_ref": -t["effect"], "es_mean_alt": t["effect"],
        "fdrp_bh_ref": np.where(up, 1.0, fdr), "fdrp_bh_alt": np.where(up, fdr, 1.0),
    })  # fmt: skip


def mabel(t: Table) -> Table:
    old = adastra(t).rename(columns={"#chr": "chr", "pos": "start"})
    return old.assign(start=t["pos"] - 1, end=t["pos"])


def udacha(t: Table) -> Table:
    return pd.DataFrame({
        "#chr": "chr3", "start": t["pos"] - 1, "end": t["pos"], "id": "rs1", "ref": t["ref"], "alt": t["alt"],
        "pref_allele": np.where(t["effect"] > 0, "alt", "ref"), "comb_es": t["effect"].abs(),
        "fdr_comb_pval": np.where(t["effect"].abs() > 1, 0.01, 0.8),
    })  # fmt: skip


def mixalime(t: Table) -> Table:
    """MixALime's own export: the preferred allele in lower case among columns of both alleles."""
    up = t["effect"] > 0
    return udacha(t).assign(
        mean_bad=1.0, max_cover=50, n_reps=3, ref_comb_es=np.where(up, 0.0, t["effect"].abs()),
        alt_comb_es=np.where(up, t["effect"], 0.0), ref_comb_pval=np.where(up, 1, 0.01), alt_comb_pval=np.where(up, 0.01, 1),
        comb_pval=0.01, scorefiles="a,b",
    )  # fmt: skip


def tensorqtl(t: Table) -> Table:
    return pd.DataFrame({
        "phenotype_id": "peak", "chr": "chr3", "pos": t["pos"], "ref": t["ref"], "alt": t["alt"], "af": 0.2, "slope": t["effect"],
        "pval_nominal": np.where(t["effect"].abs() > 1, 1e-8, 0.2),
    })  # fmt: skip


def allelic(t: Table) -> Table:
    fdr = np.where(t["effect"].abs() > 1, 0.01, 0.8)
    return pd.DataFrame({
        "chrom": "chr3", "pos": t["pos"], "id": "rs1", "ref": t["ref"], "alt": t["alt"], "effect": t["effect"], "n": 60,
        "p": fdr / 2, "fdr": fdr, "donors": 3, "ref_count": 30, "alt_count": 30, "significant": np.where(fdr < 0.05, "yes", "no"),
    })  # fmt: skip


def variant_ids(table: Table) -> Table:
    """The columns of a variant as tensorQTL writes them, in one."""
    parts = table[["chr", "pos", "ref", "alt"]].astype(str)
    return table.drop(columns=["chr", "pos", "ref", "alt"]).assign(variant_id=parts.agg("_".join, axis=1) + "_b38")


def qtl(t: Table) -> Table:
    return pd.DataFrame({
        "chr": "chr3", "position": t["pos"], "ref": t["ref"], "alt": t["alt"], "beta": np.where(t.index % 2, t["effect"], -t["effect"]),
        "effect_allele": np.where(t.index % 2, t["alt"], t["ref"]), "pvalue": np.where(t["effect"].abs() > 1, 1e-8, 0.2),
    })  # fmt: skip


def simulated(t: Table) -> Table:
    return t.assign(element="e", distance=0, frequency=0.3)


def look_alike(t: Table) -> Table:
    return pd.DataFrame({"c": "chr3", "at": t["pos"] - 1, "a": t["ref"], "b": t["alt"], "ref_over_alt": -t["effect"]})


LOOK_ALIKE = MeasuredOptions(
    {"chrom": "c", "pos": "at", "ref": "a", "alt": "b", "measured": "ref_over_alt"},
    zero_based=True,
    positive_allele="ref",
)
FORMATS: dict[str, tuple[str, Callable[[Table], Table], MeasuredOptions]] = {
    "kircher": ("satmut", kircher, MeasuredOptions()), "cagi5": ("satmut", cagi5, MeasuredOptions()),
    "tewhey": ("mpra", tewhey, MeasuredOptions()), "adastra": ("adastra", adastra, MeasuredOptions()),
    "mabel": ("adastra", mabel, MeasuredOptions()), "udacha": ("udacha", udacha, MeasuredOptions()),
    "mixalime": ("udacha", mixalime, MeasuredOptions()), "tensorqtl": ("qtl", tensorqtl, MeasuredOptions()),
    "allelic": ("allelic", allelic, MeasuredOptions()),
    "qtl": ("qtl", qtl, MeasuredOptions()), "simulated": ("truth", simulated, MeasuredOptions()),
    "look_alike": ("table", look_alike, LOOK_ALIKE),
}  # fmt: skip


def read(room: Path, name: str, table: Table) -> MeasuredEffects:
    kind, _, options = FORMATS[name]
    table = variant_ids(table) if name == "tensorqtl" else table
    table.to_csv(room / "t.tsv", sep="\t", index=False)
    return read_measured(room / "t.tsv", kind, options)


def agreement(room: Path, truth: MeasuredEffects, effects: Table) -> tuple[float, int]:
    """Pearson r and n of the joined measured and true effects; (0, 0) when nothing is shared."""
    effects.assign(id=".", model="m").to_csv(room / "s.tsv", sep="\t", index=False)
    try:
        points = join(truth, [room / "s.tsv"], [], 10_000).table
    except DataError as error:
        assert "none of its variants was measured" in str(error)
        return 0.0, 0
    return pearson(points["m"], points["measured"]), len(points)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_reads_into_one_convention(tmp_path: Path, effects: Table, name: str) -> None:
    truth = read(tmp_path, name, FORMATS[name][1](effects))
    assert agreement(tmp_path, truth, effects) == (pytest.approx(1), N)
    assert (truth.table["pos"].to_numpy() == effects["pos"]).all()
    if name != "look_alike":
        large = effects["effect"].abs() > 1
        assert (truth.table.loc[large.to_numpy(), "significant"] == 1).all()
    if name in ("adastra", "mabel", "udacha", "mixalime"):
        assert (np.sign(truth.table["evidence"]) == np.sign(effects["effect"])).all()


def swapped_alleles(table: Table) -> Table:
    ref, alt = next(
        (r, a) for r, a in [("Ref", "Alt"), ("RefAllele", "AltAllele"), ("ref", "alt"), ("a", "b")] if r in table
    )
    return table.rename(columns={ref: alt, alt: ref})


def moved_by_one(table: Table) -> Table:
    column = next(name for name in ("Pos", "pos", "position", "start", "at") if name in table)
    return table.assign(**{column: table[column] + 1})


def flipped_sign(table: Table) -> Table:
    if "pref_allele" in table:
        return table.assign(pref_allele=table["pref_allele"].map({"ref": "alt", "alt": "ref"}))
    if "fdrp_bh_ref" in table:
        return table.rename(
            columns={
                "fdrp_bh_ref": "fdrp_bh_alt",
                "fdrp_bh_alt": "fdrp_bh_ref",
                "es_mean_ref": "es_mean_alt",
                "es_mean_alt": "es_mean_ref",
            }
        )
    column = next(
        n for n in ("Coefficient", "Value", "LogSkew.Comb", "beta", "slope", "effect", "ref_over_alt") if n in table
    )
    return table.assign(**{column: -table[column]})


def other_strand(table: Table) -> Table:
    complement = dict(zip("ACGT", "TGCA", strict=True))
    names = [
        name
        for name in ("Ref", "Alt", "RefAllele", "AltAllele", "ref", "alt", "a", "b", "effect_allele")
        if name in table
    ]
    return table.assign(**{name: table[name].map(complement) for name in names})


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("flip", [swapped_alleles, moved_by_one, flipped_sign, other_strand])
def test_a_flip_of_any_convention_is_noticed(
    tmp_path: Path, effects: Table, name: str, flip: Callable[[Table], Table]
) -> None:
    truth = read(tmp_path, name, flip(FORMATS[name][1](effects)))
    r, n = agreement(tmp_path, truth, effects)
    if flip is flipped_sign:
        assert (r, n) == (pytest.approx(-1), N)
    else:  # the variants no longer meet, or only by chance
        assert n < N / 4
        assert n < 10 or abs(r) < 0.5


def test_filters_are_counted(tmp_path: Path, effects: Table) -> None:
    table = kircher(effects)
    table.loc[0, "Barcodes"], table.loc[1, "Pos"], table.loc[2, "Coefficient"] = 3, np.nan, np.nan
    truth = read(tmp_path, "kircher", pd.concat([table, table.iloc[[5]]]))
    assert dict(truth.dropped) == {"few_tags": 1, "no_coordinates": 1, "no_measurement": 1, "duplicate": 1}
    with pytest.raises(DataError, match="filter few_tags leaves no variants"):
        read(tmp_path, "kircher", kircher(effects).assign(Barcodes=1))
    both = pd.concat([kircher(effects), kircher(effects).assign(Release="GRCh37")])
    with pytest.raises(DataError, match="choose one with --release"):
        read(tmp_path, "kircher", both)


def test_tables_that_do_not_fit_are_refused(tmp_path: Path, effects: Table) -> None:
    with pytest.raises(DataError, match=r"no column LogSkew\.Comb"):
        read(tmp_path, "tewhey", kircher(effects))
    with pytest.raises(DataError, match="no such file"):
        read_measured(tmp_path / "nowhere.tsv", "mpra")
    (tmp_path / "empty.tsv").write_text("")
    with pytest.raises(DataError, match="empty"):
        read_measured(tmp_path / "empty.tsv", "mpra")
    truth = read(tmp_path, "tewhey", tewhey(effects))
    assert agreement(tmp_path, truth, effects.assign(chrom="chr4")) == (0.0, 0)


def test_spellings_of_one_indel_meet() -> None:
    rows = [
        ("chr1", 100, "CA", "C"),
        ("1", 101, "A", "-"),
        ("chr1", 100, "CAT", "CT"),
        ("1", 100, "c", "cG"),
        ("1", 101, "-", "G"),
    ]
    key = canonical_key(pd.DataFrame(rows, columns=["chrom", "pos", "ref", "alt"]))
    assert key[0] == key[1] == key[2]
    assert key[3] == key[4]


def test_right_sign_counts_a_zero_prediction_as_chance() -> None:
    right = right_sign([1.0, -1, 0, 1], [2.0, 1, 1, 0])
    assert right.tolist()[:3] == [1, 0, 0.5]
    assert np.isnan(right[3])


@needs_data
def test_public_tables_are_read_whole() -> None:
    udacha_rows = {"HepG2.atac": 16_868, "K562.atac": 9_293}
    for name, rows in udacha_rows.items():
        assert len(read_measured(DATA / "udacha_hg38" / f"{name}.tsv.gz", "udacha").table) == rows
    significant = read_measured(DATA / "udacha_hg38" / "K562.atac.tsv.gz", "udacha").table["significant"]
    assert (significant == 1).sum() == 472  # as in the published protocol
    for name, rows in {"GABPA": 9_100, "FLI1": 8_111}.items():
        assert len(read_measured(DATA / "asb_hg38" / f"{name}.mixalime.tsv.gz", "udacha").table) == rows
    for path in (DATA / "asb_hg38").glob("*_HUMAN@*.tsv"):
        assert (read_measured(path, "adastra").table["significant"] == 1).all()
    tewhey_table = read_measured(DATA / "tewhey_lcl" / "cagi4_train.tsv.gz", "mpra").table
    assert (len(tewhey_table), (tewhey_table["significant"] == 1).sum()) == (3_044, 108)
    satmut = read_measured(DATA / "satmut" / "elements.tsv.gz", "satmut", MeasuredOptions(release="GRCh38"))
    assert len(satmut.table) + satmut.dropped["no_coordinates"] == 41_734  # variants with at least 10 tags


def test_allelic_events_are_a_benchmark_that_outside_scores_join(tmp_path: Path) -> None:
    """From reads of both alleles to metrics: a score that follows the true effects against one that does not."""
    rng = np.random.default_rng(6)
    effects = np.where(np.arange(300) % 3 == 0, rng.normal(0, 1.5, 300), 0.0)
    place = pd.DataFrame({"chrom": "chr1", "pos": 20_001 * np.arange(300) + 100, "ref": "A", "alt": "C"})
    snvs = []
    for library in ("L1", "L2", "L3"):
        share = 1 / (1 + np.exp(-effects * np.log(2) + 0.2))
        alt = rng.binomial(60, rng.beta(50 * share, 50 * (1 - share)))
        snvs.append(tmp_path / f"{library}.snvs.tsv.gz")
        place.assign(
            library=library, donor=library, ref_count=60 - alt, alt_count=alt, id=".", use="used"
        ).to_csv(snvs[-1], sep="\t", index=False)  # fmt: skip
    events = tmp_path / "allelic_events.tsv"
    call_events(snvs, events)
    for name, score in (("close", effects + rng.normal(0, 0.2, 300)), ("none", rng.normal(size=300))):
        place.assign(score=score).to_csv(tmp_path / f"{name}.tsv", sep="\t", index=False)
    options = ["--truth", events, "--kind", "allelic", "--dataset", "own", "--n-boot", "100"]
    others = [part for name in ("close", "none") for part in ("--comparator", f"{name}={tmp_path / name}.tsv")]
    outputs = ["--out", tmp_path / "metrics.tsv", "--points", tmp_path / "points.tsv.gz"]
    benchmark([str(part) for part in (*options, *others, *outputs)], standalone_mode=False)
    metrics = read_metrics([tmp_path / "metrics.tsv"]).query("subset == 'all'").set_index(["model", "metric"])["value"]
    assert metrics["close", "pearson"] > 0.8 and metrics["close", "auroc"] > 0.75
    assert abs(metrics["none", "pearson"]) < 0.2
    truth = read_measured(events, "allelic").table
    assert truth["coverage"].tolist() == [180] * 300 and truth["measured"].corr(pd.Series(effects)) > 0.9
