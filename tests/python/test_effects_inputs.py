"""Every table of variants and effects × every oddity of the world: the right values, or one error that names the file."""

import gzip
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pysam
import pytest

from allelegro.effects.measured import MeasuredOptions, read_measured
from allelegro.effects.score_files import read_comparator, read_scores
from allelegro.effects.score_set import Outputs, VariantSet, score_set
from allelegro.effects.scoring import Scorer
from allelegro.effects.variants import Counts, read_counts, read_sequence_pairs
from allelegro.errors import DataError
from helpers.toy_variants import write_checkpoint, write_genome, write_vcf

WIDTH = 60
CONTIGS = {"chr1": 900, "chr2": 700}
Table = pd.DataFrame
SEQUENCE = "ACGTTGCAGT" * 6


@dataclass(frozen=True)
class Toy:
    """A genome and a network for tests of reading."""

    folder: Path
    genome: dict[str, str]
    scorer: Scorer


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    folder = tmp_path_factory.mktemp("toy")
    genome = write_genome(folder / "genome.fa", CONTIGS)
    model = write_checkpoint(folder / "model", WIDTH)
    return Toy(folder, genome, Scorer("m", [model], precision="fp32"))


def other(base: str) -> str:
    return {"A": "C", "C": "G", "G": "T", "T": "A"}[base]


def snvs(toy: Toy) -> Table:
    """Six SNVs of the toy genome."""
    places = [("chr1", 100), ("chr1", 101), ("chr1", 250), ("chr1", 640), ("chr2", 50), ("chr2", 333)]
    rows = [(chrom, pos, toy.genome[chrom][pos - 1]) for chrom, pos in places]
    table = pd.DataFrame(rows, columns=["chrom", "pos", "ref"])
    return table.assign(alt=[other(base) for base in table["ref"]], id=[f"v{n}" for n in range(len(table))])


def scored(toy: Toy, path: Path) -> Table:
    out = path.with_name("scores.out.tsv")
    score_set(VariantSet(path, None, toy.folder / "genome.fa"), [toy.scorer], Outputs(out), stop_on_mismatch=False)
    return read_scores(out)[["chrom", "pos", "ref", "alt", "effect"]]


def effects(kind: str, **options: Any) -> Callable[[Toy, Path], Table]:
    def read(toy: Toy, path: Path) -> Table:
        columns = ["chrom", "pos", "ref", "alt", "measured", "significant"]
        return read_measured(path, kind, MeasuredOptions(**options)).table[columns]

    return read


def measured(toy: Toy) -> Table:
    return snvs(toy).assign(effect=[0.5, -1.5, 2.5, -0.25, 1.25, -3.0], p=[0.5, 1e-7, 1e-9, 0.25, 1e-6, 1e-8])


def satmut(toy: Toy) -> Table:
    t = measured(toy)
    return pd.DataFrame({
        "Chromosome": t["chrom"], "Position": t["pos"], "Ref": t["ref"], "Alt": t["alt"], "Tags": 20, "DNA": 100, "RNA": 200,
        "Value": t["effect"], "P-Value": t["p"], "Element": "LDLR",
    })  # fmt: skip


def mpra(toy: Toy) -> Table:
    t = measured(toy)
    return pd.DataFrame({
        "ID": t["id"], "chr": t["chrom"], "pos": t["pos"], "RefAllele": t["ref"], "AltAllele": t["alt"],
        "LogSkew.Comb": t["effect"], "Regulatory_Hit": 1, "emVar_Hit": (t["p"] < 1e-5).astype(int),
    })  # fmt: skip


def abell(toy: Toy) -> Table:
    t = measured(toy)
    return pd.DataFrame({
        "var": t["id"], "chr": t["chrom"], "pos_hg19": t["pos"], "ref": t["ref"], "alt": t["alt"], "strand": "+",
        "log2FC": t["effect"], "pvalue": t["p"], "fdr": np.where(t["p"] < 1e-5, 0.01, 0.9),
    })  # fmt: skip


def adastra(toy: Toy) -> Table:
    t = measured(toy)
    fdr, up = np.where(t["p"] < 1e-5, 0.01, 0.9), t["effect"] > 0
    return pd.DataFrame({
        "#chr": t["chrom"], "pos": t["pos"], "ID": t["id"], "ref": t["ref"], "alt": t["alt"], "es_mean_ref": -t["effect"],
        "es_mean_alt": t["effect"], "fdrp_bh_ref": np.where(up, 1.0, fdr), "fdrp_bh_alt": np.where(up, fdr, 1.0),
    })  # fmt: skip


def adastra_website(toy: Toy) -> Table:
    t = adastra(toy)
    return pd.DataFrame({
        "Chromosome": t["#chr"], "Position": t["pos"], "Ref": t["ref"], "Alt": t["alt"], "rsID": t["ID"], "TF-ASBs": "CTCF_HUMAN",
        "CTCF_HUMAN_FDR_Ref": -np.log10(t["fdrp_bh_ref"]), "CTCF_HUMAN_FDR_Alt": -np.log10(t["fdrp_bh_alt"]),
        "CTCF_HUMAN_Effect_Size_Ref": t["es_mean_ref"], "CTCF_HUMAN_Effect_Size_Alt": t["es_mean_alt"],
    })  # fmt: skip


def udacha(toy: Toy) -> Table:
    t = measured(toy)
    return pd.DataFrame({
        "#chr": t["chrom"], "start": t["pos"] - 1, "end": t["pos"], "id": t["id"], "ref": t["ref"], "alt": t["alt"],
        "pref_allele": np.where(t["effect"] > 0, "alt", "ref"), "comb_es": t["effect"].abs(),
        "fdr_comb_pval": np.where(t["p"] < 1e-5, 0.01, 0.9),
    })  # fmt: skip


def eqtl_catalogue(toy: Toy) -> Table:
    t = measured(toy)
    return pd.DataFrame({
        "molecular_trait_id": "g", "chromosome": t["chrom"].str.removeprefix("chr"), "position": t["pos"], "ref": t["ref"],
        "alt": t["alt"], "variant": t["id"], "ma_samples": 9, "maf": 0.2, "pvalue": t["p"], "beta": t["effect"], "se": 0.1,
    })  # fmt: skip


def look_alike(toy: Toy) -> Table:
    t = measured(toy)
    return pd.DataFrame({
        "chrom": t["chrom"], "pos": t["pos"], "ref": t["ref"], "alt": t["alt"], "group": "g", "measured": t["effect"],
        "significant": (t["p"] < 1e-5).astype(int),
    })  # fmt: skip


def sequences(toy: Toy) -> Table:
    t = snvs(toy)
    return t.assign(ref_sequence=SEQUENCE, alt_sequence=SEQUENCE[:30] + "T" + SEQUENCE[31:])


def scores(toy: Toy) -> Table:
    return snvs(toy).assign(model="001", effect=[0.5, -1.0, 0.25, 2.0, -0.125, 1.5])


def comparator(toy: Toy) -> Table:
    return scores(toy).drop(columns=["model", "id"]).rename(columns={"effect": "score"})


READERS: dict[str, tuple[Callable[[Toy], Table], Callable[[Toy, Path], Table]]] = {
    "variants": (snvs, scored),
    "sequences": (sequences, lambda toy, path: read_sequence_pairs(path)),
    "satmut": (satmut, effects("satmut")),
    "mpra": (mpra, effects("mpra")),
    "abell": (abell, effects("mpra")),
    "adastra": (adastra, effects("adastra")),
    "adastra website": (adastra_website, effects("adastra")),
    "udacha": (udacha, effects("udacha")),
    "eqtl catalogue": (eqtl_catalogue, effects("qtl")),
    "truth": (lambda toy: measured(toy).drop(columns="p"), effects("truth")),
    "table": (look_alike, effects("table")),
    "scores": (scores, lambda toy, path: read_scores(path)),
    "comparator": (comparator, lambda toy, path: read_comparator(path)),
}


def tsv(table: Table) -> str:
    return table.to_csv(sep="\t", index=False)


def trailing(text: str) -> str:
    return "".join(f"{line}\t\n" for line in text.splitlines())


def padded(text: str) -> str:
    return "".join("\t".join(f" {cell}  " for cell in line.split("\t")) + "\n" for line in text.splitlines())


def quoted(text: str) -> str:
    return "".join("\t".join(f'"{cell}"' for cell in line.split("\t")) + "\n" for line in text.splitlines())


def renamed(text: str) -> str:
    """Column names as another program capitalises and joins them."""
    header, _, rows = text.partition("\n")
    return header.replace("_", " ").replace(".", "-").upper() + "\n" + rows


SAME: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "carriage returns": lambda text: text.replace("\n", "\r\n").encode(),
    "gzip without .gz": lambda text: gzip.compress(text.encode()),
    "comment lines": lambda text: ("##made by hand\n## twice\n" + text).encode(),
    "blank rows": lambda text: text.replace("\n", "\n\n").encode(),
    "trailing separators": lambda text: trailing(text).encode(),
    "padded cells": lambda text: padded(text).encode(),
    "quoted cells": lambda text: quoted(text).encode(),
    "commas": lambda text: text.replace("\t", ",").encode(),
    "no last line end": lambda text: text.rstrip("\n").encode(),
}
REFUSED: dict[str, Callable[[str], bytes]] = {
    "empty": lambda text: b"",
    "header alone": lambda text: text[: text.index("\n") + 1].encode(),
    "binary": lambda text: bytes(range(256)) * 8,
    "truncated gzip": lambda text: gzip.compress(text.encode())[:-20],
    "a short row": lambda text: (text + "chr1\t5\n").encode(),
    "no columns": lambda text: text.replace("\t", ";").encode(),
    "Latin-1": lambda text: text.encode() + "chr1\t5\t\xe9\n".encode("latin-1"),
    "zip": lambda text: b"PK\x03\x04" + text.encode(),
}
CELLS = [
    "", "NA", "nan", ".", "-", "<2e-16", "1,5", "1e6", "1.0", "yes", "TRUE", "inf", "-inf", '"x', "A,G", "*", "<DEL>",
    "N]chr1:5]", "R", "n", "\xe9", "0", "-1", "1e400", "9" * 20, "2147483648", "A" * 200, "chrUn", "=1+1", "'", "x y",
]  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("oddity", SAME)
def test_another_way_of_writing_it_is_the_same_table(toy: Toy, tmp_path: Path, reader: str, oddity: str) -> None:
    make, read = READERS[reader]
    text = tsv(make(toy))
    (tmp_path / "plain.tsv").write_text(text)
    (tmp_path / "odd.tsv").write_bytes(SAME[oddity](text))
    expected, found = read(toy, tmp_path / "plain.tsv"), read(toy, tmp_path / "odd.tsv")
    assert len(expected) == 6
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize(
    "reader", [name for name in READERS if name not in ("scores", "comparator", "sequences", "truth")]
)
def test_column_names_are_found_whatever_their_case_and_punctuation(toy: Toy, tmp_path: Path, reader: str) -> None:
    make, read = READERS[reader]
    (tmp_path / "plain.tsv").write_text(tsv(make(toy)))
    (tmp_path / "odd.tsv").write_text(renamed(tsv(make(toy))))
    pd.testing.assert_frame_equal(read(toy, tmp_path / "odd.tsv"), read(toy, tmp_path / "plain.tsv"))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("oddity", REFUSED)
def test_what_is_no_such_table_is_one_error_that_names_it(toy: Toy, tmp_path: Path, reader: str, oddity: str) -> None:
    make, read = READERS[reader]
    (tmp_path / "odd.tsv").write_bytes(REFUSED[oddity](tsv(make(toy))))
    with pytest.raises(DataError, match=r"odd\.tsv"):
        read(toy, tmp_path / "odd.tsv")


@pytest.mark.parametrize("reader", READERS)
def test_any_cell_is_read_or_refused_with_its_row(toy: Toy, tmp_path: Path, reader: str) -> None:
    """Each cell of the third row in turn is something else: never another exception, never another row lost."""
    make, read = READERS[reader]
    text = make(toy).astype(str)
    path = tmp_path / "odd.tsv"
    for column, cell in itertools.product(text.columns, CELLS):
        odd = text.copy()
        odd.loc[2, column] = cell
        path.write_text(tsv(odd).replace('"""x"', '"x').replace("'\"'", "'"))
        try:
            found = read(toy, path)
        except DataError as error:
            assert "odd.tsv row 3" in str(error) or "choose one" in str(error), (column, cell, str(error))
        else:
            assert len(found) in (5, 6, 7), (column, cell)  # 7: two alternatives in one cell


PVALUES = {
    "satmut": "P-Value", "abell": "fdr", "adastra": "fdrp_bh_alt", "udacha": "fdr_comb_pval", "eqtl catalogue": "pvalue",
}  # fmt: skip


@pytest.mark.parametrize("reader", PVALUES)
def test_a_p_value_below_what_is_printed_counts_and_a_missing_one_decides_nothing(
    toy: Toy, tmp_path: Path, reader: str
) -> None:
    make, read = READERS[reader]
    table = make(toy).astype({PVALUES[reader]: object})
    table.loc[2, PVALUES[reader]] = "<2e-16"
    table.loc[4, PVALUES[reader]] = "NA"
    if reader == "adastra":
        table.loc[4, "fdrp_bh_ref"] = np.nan
    (tmp_path / "t.tsv").write_text(tsv(table))
    significant = read(toy, tmp_path / "t.tsv")["significant"]
    assert significant.iloc[2] == 1
    assert np.isnan(significant.iloc[4])
    table.loc[3, PVALUES[reader]] = "0,05"
    (tmp_path / "t.tsv").write_text(tsv(table))
    with pytest.raises(DataError, match=r"t\.tsv row 4 .*'0,05'"):
        read(toy, tmp_path / "t.tsv")


VCF_RECORDS = {
    "spanning_deletion": [("chr1", 100, "*")],
    "no_alternative": [("chr1", 100, ".")],
    "symbolic_allele": [("chr1", 100, "<DEL>"), ("chr1", 100, "<INS:ME>"), ("chr1", 100, "N[chr2:50["), ("chr1", 100, "]chr2:50]N")],
    "not_acgt": [("chr1", 100, "R"), ("chr1", 101, "ACN")],
    "allele_longer_than_window": [("chr1", 100, "A" * 31), ("chr2", 50, "A" * 500)],
    "beyond_contig_end": [("chr1", 2000, "C"), ("chr2", 701, "C")],
}  # fmt: skip


@pytest.mark.parametrize("reason", VCF_RECORDS)
@pytest.mark.parametrize("shard", [None, (1, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize("name", ["v.vcf", "v.txt", "v.vcf.gz", "v.tsv"])
def test_a_file_without_a_variant_that_can_be_scored_says_why(
    toy: Toy, tmp_path: Path, reason: str, shard: tuple[int, int] | None, name: str
) -> None:
    """VCF by content, whatever its name, and table; whole, and in shards (what no shard can know, gathering tells)."""
    path = tmp_path / name
    rows = [
        (chrom, pos, ".", (toy.genome[chrom] + "A" * 2000)[pos - 1], alt) for chrom, pos, alt in VCF_RECORDS[reason]
    ]
    if name == "v.tsv":
        pd.DataFrame(rows, columns=["chrom", "pos", "id", "ref", "alt"]).to_csv(path, sep="\t", index=False)
    else:
        write_vcf(tmp_path / "plain.vcf", CONTIGS, rows)
        if name == "v.vcf.gz":
            pysam.tabix_compress(str(tmp_path / "plain.vcf"), str(path))
        else:
            path.write_bytes((tmp_path / "plain.vcf").read_bytes())
    given = VariantSet(path, None, toy.folder / "genome.fa", shard=shard)
    outputs = Outputs(tmp_path / "s.tsv", counts=tmp_path / "c.tsv")
    needs_genome = reason in ("allele_longer_than_window", "beyond_contig_end")
    if shard in (None, (1, 1)) or not needs_genome:
        with pytest.raises(DataError, match=rf"{name}: no variant was left to score; dropped: {reason} {len(rows)}"):
            score_set(given, [toy.scorer], outputs, stop_on_mismatch=False)
        assert not (tmp_path / "s.tsv").exists() and not (tmp_path / "c.tsv").exists()
        return
    score_set(given, [toy.scorer], outputs, stop_on_mismatch=False)
    counts = read_counts([tmp_path / "c.tsv"])["m"]
    assert (counts.scored, dict(counts.dropped)) == (0, {reason: len(rows)} if shard == (1, 2) else {})


def test_a_set_that_training_saw_is_scored_flagged_and_counted(
    toy: Toy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = write_checkpoint(tmp_path / "seen", WIDTH, held_out_chromosomes=["chr9"])
    (tmp_path / "v.tsv").write_text(tsv(snvs(toy)))
    given = VariantSet(tmp_path / "v.tsv", None, toy.folder / "genome.fa")
    score_set(given, [Scorer("m", [model])], Outputs(tmp_path / "s.tsv", counts=tmp_path / "c.tsv"), False)
    scores = read_scores(tmp_path / "s.tsv")
    assert (scores["seen"] == "yes").all() and scores["effect"].notna().all()
    assert read_counts([tmp_path / "c.tsv"])["m"] == Counts(6, Counter(), 6)
    assert "m: 6 of 6 variants scored; of these training saw 6 (column seen): no held-out predictions" in caplog.text


def test_several_alternatives_of_a_table_are_split_as_in_a_vcf(toy: Toy, tmp_path: Path) -> None:
    table = snvs(toy).head(2)
    third = [
        next(b for b in "ACGT" if b not in (ref, alt)) for ref, alt in zip(table["ref"], table["alt"], strict=True)
    ]
    rows = [(c, p, i, r, f"{a},{t}") for (c, p, r, a, i), t in zip(table.itertuples(index=False), third, strict=True)]
    write_vcf(tmp_path / "v.vcf", CONTIGS, rows)
    table.assign(alt=table["alt"] + ", " + third).to_csv(tmp_path / "t.tsv", sep="\t", index=False)
    found = scored(toy, tmp_path / "t.tsv")
    assert len(found) == 4
    pd.testing.assert_frame_equal(found, scored(toy, tmp_path / "v.vcf"))


def test_lower_case_and_names_without_chr_are_the_same_variants(toy: Toy, tmp_path: Path) -> None:
    table = snvs(toy)
    (tmp_path / "a.tsv").write_text(tsv(table))
    odd = table.assign(
        chrom=table["chrom"].str.removeprefix("chr"), ref=table["ref"].str.lower(), alt=table["alt"].str.lower()
    )
    (tmp_path / "b.tsv").write_text(tsv(odd))
    assert scored(toy, tmp_path / "b.tsv")["effect"].tolist() == scored(toy, tmp_path / "a.tsv")["effect"].tolist()


def test_identifiers_stay_text(toy: Toy, tmp_path: Path) -> None:
    names = ["001", "1e5", "NA", "TRUE", '"x', "12.10"]
    path, out = tmp_path / "v.tsv", tmp_path / "s.tsv"
    path.write_text(tsv(snvs(toy).assign(id=[f"id{n}" for n in range(6)])))
    for number, name in enumerate(names):
        path.write_text(path.read_text().replace(f"id{number}\n", f"{name}\n"))
    score_set(VariantSet(path, None, toy.folder / "genome.fa"), [toy.scorer], Outputs(out), stop_on_mismatch=False)
    assert [line.split("\t")[4] for line in out.read_text().splitlines()[1:]] == names
