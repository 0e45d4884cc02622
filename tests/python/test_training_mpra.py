"""lentiMPRA tables: elements that belong together are found by every route, and no fold splits them."""

import gzip
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from allelegro.cli.prepare_mpra import app
from allelegro.errors import DataError
from allelegro.io.dna import decode, encode, reverse_complement
from allelegro.io.tables import write_table
from allelegro.io.windows import write_windows
from allelegro.training.leakage import similar_sequences
from allelegro.training.mpra import (
    activity_columns,
    check_folds,
    deal_folds,
    held_out_windows,
    overlapping,
    prepare_mpra,
    read_training_table,
    report_overlap,
)
from allelegro.training.settings import LEFT_ADAPTOR, RIGHT_ADAPTOR, MpraSettings

WTC11 = Path(__file__).parents[3] / "shared" / "data" / "lentimpra_wtc11"
RNG = np.random.default_rng(5)


def random_sequence(width: int = 200) -> str:
    return decode(RNG.integers(0, 4, width, np.uint8))


def turned(sequence: str) -> str:
    return decode(reverse_complement(encode(sequence)))


def write(path: Path, **columns: object) -> Path:
    write_table(pd.DataFrame(columns), path)
    return path


def elements(tmp_path: Path, n: int = 40, **columns: object) -> Path:
    defaults = {"seq": [random_sequence() for _ in range(n)], "mean_value": np.arange(n) / 10}
    return write(tmp_path / "table.tsv", **{**defaults, **columns})


def test_orientations_without_names_get_one_group(tmp_path: Path) -> None:
    singles = [random_sequence() for _ in range(20)]
    sequences = [strand for sequence in singles for strand in (sequence, turned(sequence))]
    prepared = prepare_mpra(elements(tmp_path, 40, seq=sequences), MpraSettings(folds=4))
    assert prepared["group"].tolist() == [pair for pair in range(20) for _ in range(2)]
    assert sorted(prepared["fold_num"].unique()) == [1, 2, 3, 4]
    assert prepared["fold_num"].value_counts().tolist() == [10] * 4
    assert prepared["seq"].iloc[3] == LEFT_ADAPTOR + sequences[3] + RIGHT_ADAPTOR


def test_adaptors_that_are_there_are_not_doubled(tmp_path: Path) -> None:
    sequences = [LEFT_ADAPTOR + random_sequence() + RIGHT_ADAPTOR for _ in range(12)]
    assert prepare_mpra(elements(tmp_path, 12, seq=sequences), MpraSettings())["seq"].tolist() == sequences


@pytest.mark.parametrize("change", ["allele", "tile", "turned tile", "allele and turned"])
def test_similar_sequences_are_found(change: str) -> None:
    genome = random_sequence(400)
    first = genome[:200]
    allele = first[:100] + ("A" if first[100] != "A" else "C") + first[101:]
    tile = genome[90:290]
    other = {"allele": allele, "tile": tile, "turned tile": turned(tile), "allele and turned": turned(allele)}[change]
    codes = np.stack([encode(sequence) for sequence in (random_sequence(), first, random_sequence(), other)])
    pairs = similar_sequences(codes)
    assert [rows.tolist() for rows in pairs] == [[1], [3]]


def test_slightly_overlapping_tiles_and_repeats_are_not_similar() -> None:
    genome = random_sequence(400)
    codes = np.stack([encode(genome[:200]), encode(genome[170:370])])
    assert len(similar_sequences(codes)[0]) == 0
    repeat = random_sequence(60)
    many = np.stack([encode(random_sequence(140) + repeat) for _ in range(70)])
    assert len(similar_sequences(many)[0]) == 0


def test_groups_from_coordinates_and_names(tmp_path: Path) -> None:
    path = elements(
        tmp_path,
        5,
        name=["peak1_F", "peak2", "peak1_R", "peak3_ref", "peak4_alt"],
        chromosome=["1", "1", "2", "1", "1"],
        start=[100, 250, 100, 5000, 5150],
        end=[300, 450, 300, 5200, 5350],
        strand=["+", "+", "-", "+", "+"],
    )
    prepared = prepare_mpra(path, MpraSettings(folds=2))
    assert prepared["group"].tolist() == [0, 0, 0, 1, 1]  # overlap, overlap, name, overlap
    assert prepared.columns.tolist()[-4:] == ["chrom", "start", "end", "strand"]


def test_published_folds_are_kept_and_split_groups_move(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, two = random_sequence(), random_sequence()
    path = elements(
        tmp_path,
        5,
        seq=[one, turned(one), two, turned(two), two],
        expression=[1.0, 2, 3, 4, 5],
        fold=[7, 7, 3, 3, 9],
        rev=[0, 0, 0, 0, 0],
    )
    with caplog.at_level(logging.WARNING):
        prepared = prepare_mpra(path, MpraSettings())
    assert prepared["fold_num"].tolist() == [7, 7, 3, 3, 3]
    assert "1 rows of 1 groups" in caplog.text
    check_folds(prepared, path)


def test_a_leak_is_an_error(tmp_path: Path) -> None:
    prepared = prepare_mpra(elements(tmp_path), MpraSettings())
    prepared.loc[0, "group"] = prepared["group"].iloc[1]
    prepared.loc[0, "fold_num"] = prepared["fold_num"].iloc[1] % 10 + 1
    write_table(prepared, tmp_path / "leaking.tsv")
    with pytest.raises(DataError, match="is in several folds"):
        read_training_table(tmp_path / "leaking.tsv")


def test_folds_are_dealt_evenly_and_by_seed() -> None:
    groups = np.repeat(np.arange(50), RNG.integers(1, 4, 50))
    folds = deal_folds(groups, 5, seed=1)
    assert np.ptp(np.bincount(folds)[1:]) <= 1
    assert pd.Series(folds).groupby(groups).nunique().max() == 1
    assert not np.array_equal(folds, deal_folds(groups, 5, seed=2))
    with pytest.raises(DataError, match="cannot fill"):
        deal_folds(groups[:3], 5, seed=1)


def test_copies_and_missing_activities_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, two = random_sequence(), random_sequence()
    path = elements(
        tmp_path,
        5,
        seq=[one, random_sequence(), turned(one), two, turned(two)],
        mean_value=[1.0, np.nan, 1.0, 3.0, 3.1],
        rev=[0, 0, 1, 0, 1],  # a copy, then an orientation measured by itself
    )
    with caplog.at_level(logging.INFO):
        prepared = prepare_mpra(path, MpraSettings(folds=2))
    assert prepared["seq_id"].tolist() == ["seq1", "seq4", "seq5"]
    assert "1 of 5 rows excluded: no activity" in caplog.text
    assert "1 of 5 rows excluded: reverse-complement copy" in caplog.text


def windows(chrom: str = "chr1") -> pd.DataFrame:
    table = pd.DataFrame({"chrom": chrom, "start": [1000, 9000], "end": [2000, 10_000], "name": ["a", "b"]})
    return table.assign(score=0, strand=".", fold=[0, 2])


def coordinates(tmp_path: Path, chrom: str = "1") -> Path:
    return elements(
        tmp_path, 6, chrom=chrom, start=[800, 801, 1999, 2000, 9500, 20_000], end=[1000, 1001, 2199, 2200, 9700, 20_200]
    )


def test_excluded_windows_to_the_base(tmp_path: Path) -> None:
    write_windows(windows(), tmp_path / "windows.bed")
    excluded = held_out_windows([tmp_path / "windows.bed"], [0, 1])
    prepared = prepare_mpra(coordinates(tmp_path), MpraSettings(folds=2), excluded)
    assert prepared["start"].tolist() == [800, 2000, 9500, 20_000]


def test_windows_that_cannot_be_compared(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_windows(windows("chrX"), tmp_path / "windows.bed")
    with pytest.raises(DataError, match="no chromosome in common"):
        prepare_mpra(coordinates(tmp_path), MpraSettings(folds=2), windows("chrX"))
    with pytest.raises(DataError, match="no columns chrom"):
        overlapping(pd.DataFrame({"seq": ["A"]}), windows(), Path("table.tsv"))
    with pytest.raises(DataError, match=r"no windows in folds 5; its folds are \[0, 2\]"):
        held_out_windows([tmp_path / "windows.bed"], [5])
    everything = windows().assign(start=0, end=10**6)
    with pytest.raises(DataError, match="every row overlaps"):
        prepare_mpra(coordinates(tmp_path), MpraSettings(folds=2), everything)
    with caplog.at_level(logging.INFO):
        report_overlap(
            prepare_mpra(coordinates(tmp_path, "chrX"), MpraSettings(folds=2)),
            tmp_path / "windows.bed",
            Path("table.tsv"),
        )
    assert "2 of 6 rows overlap windows of fold 0" in caplog.text


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"seq": ["ACGT", "ACGX"], "mean_value": [1, 2]}, "row 2: the sequence has letters"),
        (
            {"seq": ["ACGT" * 5, "ACGT" * 5, "ACG"], "mean_value": [1, 2, 3]},
            "row 3: the insert is 3 bp, most are 20 bp",
        ),
        (
            {"seq": [LEFT_ADAPTOR + "A" * 20 + RIGHT_ADAPTOR, "A" * 20], "mean_value": [1, 2]},
            "row 2: adaptors are missing",
        ),
        ({"seq": ["ACGT"], "value": [1]}, r"column mean_value \(or expression, activity\) is missing"),
        ({"seq": ["ACGT"], "mean_value": ["NA"]}, "every row was excluded: no activity"),
        (
            {"seq": ["ACGT"] * 2, "mean_value": [1, "high"]},
            r"row 2 \(line 3\), column mean_value: 'high' is not a number",
        ),
    ],
)
def test_wrong_tables_are_named(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepare_mpra(write(tmp_path / "table.tsv", **columns), MpraSettings())


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        prepare_mpra(tmp_path / "absent.tsv", MpraSettings())
    (tmp_path / "empty.tsv").write_text("")
    with pytest.raises(DataError, match="empty"):
        prepare_mpra(tmp_path / "empty.tsv", MpraSettings())
    whole = gzip.compress(elements(tmp_path).read_bytes())
    (tmp_path / "cut.tsv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="truncated"):
        prepare_mpra(tmp_path / "cut.tsv.gz", MpraSettings())


def test_the_tool_reads_a_joint_library(tmp_path: Path) -> None:
    path = elements(tmp_path, 40, HepG2=np.arange(40) * 2.0)
    out = tmp_path / "out.tsv"
    arguments = ["--table", path, "--name", "joint", "--out", out, "--value-column", "HepG2", "--folds", 4]
    with pytest.raises(SystemExit) as left:
        app(list(map(str, arguments)))
    assert left.value.code == 0
    assert read_training_table(out)["mean_value"].tolist() == (np.arange(40) * 2.0).tolist()


def test_several_cell_lines_are_kept_by_their_names(tmp_path: Path) -> None:
    path = elements(tmp_path, 40, HepG2=np.arange(40) * 2.0, K562=[np.nan, *range(1, 40)], WTC11=np.nan)
    prepared = prepare_mpra(path, MpraSettings(("HepG2", "K562"), folds=4))
    assert list(prepared) == ["seq_id", "seq", "HepG2", "K562", "fold_num", "rev", "group"]
    write_table(prepared, tmp_path / "out.tsv")
    again = read_training_table(tmp_path / "out.tsv")
    assert activity_columns(again) == ["HepG2", "K562"]
    assert again["K562"].isna().tolist() == [True, *[False] * 39]
    with pytest.raises(DataError, match="--value-column seq cannot be one of several activities"):
        prepare_mpra(path, MpraSettings(("HepG2", "seq")))


@pytest.mark.skipif(not WTC11.is_dir(), reason="the real lentiMPRA tables are not here")
def test_real_pairs_are_found() -> None:
    prepared = prepare_mpra(WTC11 / "fold2.tsv.gz", MpraSettings())
    sizes = prepared["group"].value_counts().value_counts()
    assert sizes[2] == 2298  # orientations, next to each other, without names
    pairs = prepared[prepared["group"].map(prepared["group"].value_counts()) == 2]
    inserts = pairs["seq"].str[15:215].tolist()
    assert sum(turned(a) == b for a, b in zip(inserts[::2], inserts[1::2], strict=True)) > 2290
