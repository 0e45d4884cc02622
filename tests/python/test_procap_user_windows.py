"""Windows of any BED: kept as they are where they can be, and what is changed or dropped is said."""

import json
import logging
from pathlib import Path

import pytest

from allelegro.errors import DataError
from allelegro.io.windows import NO_FOLD, read_windows
from allelegro.procap.user_windows import Prepared, prepare_windows
from helpers.tools import run

LENGTHS = {"chr2": 100_000, "chr1": 50_000}


def prepared(folder: Path, *rows: str, scheme: str | None = None, width: int = 100, folds: int = 3) -> Prepared:
    path = folder / "mine.bed"
    path.write_text("\n".join(rows).replace(" ", "\t") + "\n")
    return prepare_windows(path, LENGTHS, width, scheme, folds, 0)  # type: ignore[arg-type]


def test_one_width_and_the_order_of_the_bed_are_kept(tmp_path: Path) -> None:
    windows = prepared(tmp_path, "chr1 10 70", "chr2 500 560", "chr1 100 160").windows
    assert windows[["chrom", "start", "end"]].to_numpy().tolist() == [
        ["chr1", 10, 70], ["chr2", 500, 560], ["chr1", 100, 160],
    ]  # fmt: skip
    assert windows["name"].tolist() == ["chr1:11-70", "chr2:501-560", "chr1:101-160"]
    assert (windows["fold"] == NO_FOLD).all()


@pytest.mark.parametrize("rows", [("chr1 100 200", "chr1 1000 1010"), ("chr1 150 151", "chr1 1005 1006")])
def test_other_widths_and_single_positions_become_windows_about_their_midpoint(
    tmp_path: Path, rows: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        windows = prepared(tmp_path, *rows, width=40).windows
    assert windows[["start", "end"]].to_numpy().tolist() == [[130, 170], [985, 1025]]
    assert "become windows of 40 bp about their midpoints" in caplog.text


def test_what_is_dropped_is_counted_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = ("chr1 10 20 a", "chr1 49990 50000 a", "chr1 49995 50005 b", "chr1 10 20 c", "chr1 15 25 d")
    found = prepared(tmp_path, *rows)
    assert found.windows["name"].tolist() == ["chr1:11-20", "chr1:49991-50000", "d"], (
        "a name of two is the name of none"
    )
    assert [step["count"] for step in found.summary["steps"]] == [5, 4, 3]  # type: ignore[attr-defined]
    assert found.summary["overlapping"] == 2
    assert "1 windows dropped: they reach beyond the end of their contig" in caplog.text
    assert "1 windows dropped: they repeat another" in caplog.text


def test_folds_are_blocks_along_the_genome_whatever_the_order(tmp_path: Path) -> None:
    rows = ("chr1 100 200", "chr2 5000 5100", "chr2 1 101", "chr1 900 1000", "chr2 9000 9100", "chr1 5000 5100")
    found = prepared(tmp_path, *rows, scheme="blocks")
    assert found.windows["fold"].tolist() == [1, 0, 0, 2, 1, 2]
    assert found.summary["folds"]["windows"] == {0: 2, 1: 2, 2: 2}  # type: ignore[index]


def test_folds_of_the_bed_are_kept(tmp_path: Path) -> None:
    header = "#chrom start end name score strand fold"
    found = prepared(tmp_path, header, "chr1 100 200 a 0 . 4", "chr2 100 200 b 0 . 2", scheme="auto")
    assert found.windows["fold"].tolist() == [4, 2]


@pytest.mark.parametrize(
    ("row", "said"),
    [("chr9 1 2", "contig chr9 is not in the genome"), ("chr1 60000 60100", "every window reaches beyond the end")],
)
def test_nothing_usable_is_an_error(tmp_path: Path, row: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        prepared(tmp_path, row)


def test_the_tool_and_names_of_contigs_as_the_genome_has_them(tmp_path: Path) -> None:
    (tmp_path / "mine.bed").write_text("1\t10\t20\n2\t10\t20\n")
    (tmp_path / "sizes").write_text("chr1\t100\nchr2\t100\n")
    given = [
        "--windows",
        "mine.bed",
        "--chrom-sizes",
        "sizes",
        "--no-folds",
        "--out",
        "w.bed",
        "--out-summary",
        "w.json",
    ]
    done = run(tmp_path, "prepare_windows", given)
    assert done.returncode == 0, done.stderr
    assert read_windows(tmp_path / "w.bed", folds=False)["chrom"].tolist() == ["chr1", "chr2"]
    assert json.loads((tmp_path / "w.json").read_text())["width"] == 10
