"""The one table reader: every way in which a table is written gives the same rows, or one line that names the row."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from allelegro.errors import DataError
from allelegro.io import tables
from allelegro.io.tables import (
    COUNT,
    FLAG,
    GUESS,
    NAME,
    NUMBER,
    POSITION,
    TEXT,
    WHOLE,
    Kind,
    maybe,
    p_value,
    read_header,
    read_table,
    table_chunks,
    write_table,
)

KINDS = {"library": NAME, "pos": POSITION, "note": TEXT}
EXPECTED = [("001", 5, "a b"), ("12.10", 1_000_000, ""), ("NA", 7, "x")]
PLAIN = "library\tpos\tnote\n001\t5\ta b\n12.10\t1000000\t\nNA\t7\tx\n"

WRITTEN = {
    "plain": PLAIN,
    "csv": PLAIN.replace("\t", ","),
    "bom": "\ufeff" + PLAIN,
    "crlf": PLAIN.replace("\n", "\r\n"),
    "old_mac": PLAIN.replace("\n", "\r"),
    "no_last_line_end": PLAIN.rstrip("\n"),
    "hash_header": "#" + PLAIN,
    "comments_first": "##fileformat=x\n## a\tb\n" + PLAIN,
    "one_comment_first": "# made by hand\n" + PLAIN,
    "comment_then_hash_header": "# made by hand\n#" + PLAIN,
    "comment_between": PLAIN.replace("NA\t", "# a comment\n## another\nNA\t"),
    "blank_rows": PLAIN.replace("NA\t", "\n\t\t\n  \nNA\t") + "\n\n",
    "blank_rows_first": "\n\n" + PLAIN,
    "trailing_separators": PLAIN.replace("\n", "\t\t\n"),
    "blanks_around": PLAIN.replace("\t", " \t ").replace("\n", "  \n"),
    "no_break_blanks": PLAIN.replace("\t5", "\t\u00a05\u00a0"),
    "whole_as_float": PLAIN.replace("\t5\t", "\t5.0\t").replace("1000000", "1e6"),
    "quoted": "".join("\t".join(f'"{cell}"' for cell in line.split("\t")) + "\n" for line in PLAIN.splitlines()),
    "quoted_csv": "".join(",".join(f'"{cell}"' for cell in line.split("\t")) + "\n" for line in PLAIN.splitlines()),
    "quoted_cells": PLAIN.replace("a b", '"a b"'),
}  # fmt: skip


def rows(table: pd.DataFrame) -> list[tuple[object, ...]]:
    return list(table.itertuples(index=False, name=None))


def complaint(path: Path, kinds: dict[str, Kind], **more: object) -> str:
    with pytest.raises(DataError) as caught:
        read_table(path, kinds, **more)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message


@pytest.mark.parametrize("compression", ["plain", "gzip", "members"])
@pytest.mark.parametrize("way", WRITTEN)
def test_every_way_of_writing_gives_the_same_rows(tmp_path: Path, way: str, compression: str) -> None:
    path, content = tmp_path / "t.txt", WRITTEN[way].encode()
    if compression != "plain":
        pieces = [content] if compression == "gzip" else [content[:20], content[20:]]
        content = b"".join(gzip.compress(piece) for piece in pieces)
    path.write_bytes(content)
    assert rows(read_table(path, KINDS)) == EXPECTED


def test_utf16_is_read_by_its_mark(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text(PLAIN, encoding="utf-16")
    assert rows(read_table(tmp_path / "t.txt", KINDS)) == EXPECTED


@pytest.mark.parametrize("way", ["plain", "quoted", "comment_between", "blanks_around", "blank_rows"])
def test_small_pieces_and_blocks_give_the_same(tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t").write_text(WRITTEN[way])
    monkeypatch.setattr(tables, "_BLOCK", 3)
    assert rows(read_table(tmp_path / "t", KINDS)) == EXPECTED
    for size in (1, 2, 100):
        parts = list(table_chunks(tmp_path / "t", KINDS, size))
        assert max(map(len, parts)) <= size
        assert rows(pd.concat(parts)) == EXPECTED
        assert pd.concat(parts).index.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("separator", "line", "expected"),
    [
        ("\t", '"x\t1\ty', ('"x', 1, "y")),
        ("\t", '"x\t1\ty"', ('"x', 1, 'y"')),
        ("\t", "5\" UTR\t1\t3' end", ('5" UTR', 1, "3' end")),
        ("\t", '"a ""b"""\t1\t""', ('a "b"', 1, "")),
        ("\t", '"a\tb"\t1\tx', ("a b", 1, "x")),
        (",", '"a,b",1,x', ("a,b", 1, "x")),
        (",", '"x,1,y', ('"x', 1, "y")),
        (",", '5" UTR,1,"y"', ('5" UTR', 1, "y")),
        (",", '"x,1,y"', ('"x', 1, 'y"')),
    ],
)
def test_a_quote_never_costs_a_row(tmp_path: Path, separator: str, line: str, expected: tuple[object, ...]) -> None:
    lines = [separator.join(KINDS), separator.join("b2c"), line, separator.join("d3e")]
    (tmp_path / "t").write_text("\n".join(lines) + "\n")
    assert rows(read_table(tmp_path / "t", KINDS)) == [("b", 2, "c"), expected, ("d", 3, "e")]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("x\t1", "row 3 (line 6): has 2 cells, the header has 3"),
        ("x\t1\ty\tz", "row 3 (line 6): has 4 cells, the header has 3"),
        ("\t1\ty", "row 3 (line 6), column library: is empty"),
        ("x\t\ty", "row 3 (line 6), column pos: is empty; give a position"),
        ("x\t1.5\ty", "row 3 (line 6), column pos: '1.5' is not a position (a whole number from 1)"),
        ("x\t0\ty", "'0' is not"),
        ("x\t-3\ty", "'-3' is not"),
        ("x\t4,527\ty", "'4,527' is not"),
        ("x\t1,5\ty", "'1,5' is not"),
        ("x\tNA\ty", "column pos: is 'NA'; give a position"),
        ("x\tinf\ty", "'inf' is not"),
        ("x\t0x10\ty", "'0x10' is not"),
        ("x\t1_000\ty", "'1_000' is not"),
        ("x\t9007199254740993\ty", "'9007199254740993' is not"),
        ('"a\tb\t1\ty', "has 4 cells"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, line: str, problem: str) -> None:
    """Rows are those of data from 1, lines those of the file."""
    (tmp_path / "t").write_text(f"## comment\nlibrary\tpos\tnote\na\t1\tb\n\nc\t2\td\n{line}\n")
    assert problem in complaint(tmp_path / "t", KINDS)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b"\n\n## x\n", "the file is empty"),
        (b"library\tpos\tnote\n", "a header but no rows"),
        (b"library\tnote\na\tb\n", "column pos is missing; found library, note"),
        (b"library;pos;note\na;1;b\n", "column library, pos, note is missing; found library;pos;note; columns are separated"),
        (b"library\tpos\tnote\tpos\na\t1\tb\t2\n", "column pos occurs twice"),
        (bytes(range(256)) * 9, "not"),
        (b"\x00" * 4096, "not"),
        (b"library\tpos\tnote\nM\xfcller\t1\tb\n", "not text in UTF-8"),
        (b"library\tpos\tnote\na\t1\tb\x00\n", "not a text table"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:-9], "the gzip stream ends early"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:-8] + b"\xff" * 8, "damaged"),
        (b"PK\x03\x04" + b"0" * 99, "compressed as zip"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_said(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "t").write_bytes(content)
    assert problem in complaint(tmp_path / "t", KINDS)


def test_one_column_may_hold_commas(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("donor\na,b\nA&B\n")
    assert read_table(tmp_path / "t.tsv", {"donor": NAME})["donor"].tolist() == ["a,b", "A&B"]
    (tmp_path / "t.csv").write_text("donor\na,b\n")
    assert "has 2 cells, the header has 1" in complaint(tmp_path / "t.csv", {"donor": NAME})


def test_missing_files_and_folders(tmp_path: Path) -> None:
    assert "no such file" in complaint(tmp_path / "t", KINDS)
    assert "is a folder" in complaint(tmp_path, KINDS)


def test_header_only_may_be_allowed(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("#library\tpos\tnote\n")
    table = read_table(tmp_path / "t", KINDS, allow_empty=True)
    assert len(table) == 0 and list(table) == list(KINDS) and table["pos"].dtype == np.int64
    assert [len(part) for part in table_chunks(tmp_path / "t", KINDS, 5)] == [0]


def column(folder: Path, kind: Kind, cells: list[str]) -> pd.Series:
    (folder / "t").write_text("x\tvalue\n" + "".join(f"r\t{cell}\n" for cell in cells))
    return read_table(folder / "t", {"value": kind})["value"]


def test_numbers_with_gaps(tmp_path: Path) -> None:
    gaps = ["NA", "", ".", "-", "nan", "N/A", "null"]
    whole = column(tmp_path, maybe(COUNT), ["123454527", "1e6", "0", *gaps])
    assert whole.dtype == "Int64" and whole[:3].tolist() == [123454527, 1_000_000, 0] and whole[3:].isna().all()
    numbers = column(tmp_path, maybe(NUMBER), ["1.5", "-2e-3", *gaps])
    assert numbers.dtype == float and numbers[:2].tolist() == [1.5, -0.002] and numbers[2:].isna().all()
    with pytest.raises(DataError, match="is 'NA'; give a number"):
        column(tmp_path, NUMBER, ["1", "NA"])
    with pytest.raises(DataError, match="'high' is not a number"):
        column(tmp_path, maybe(NUMBER), ["NA", "high"])
    assert column(tmp_path, WHOLE, ["-3", "2.0"]).tolist() == [-3, 2]


def test_words_for_yes_and_no(tmp_path: Path) -> None:
    words = column(tmp_path, maybe(FLAG), ["1", "0", "TRUE", "false", "Yes", "no", "1.0", "0.0", "T", "NA"])
    assert words[:9].tolist() == [1, 0, 1, 0, 1, 0, 1, 0, 1] and np.isnan(words[9])
    with pytest.raises(DataError, match="'2' is not 1 or 0"):
        column(tmp_path, FLAG, ["1", "2"])


def test_p_values_with_a_bound(tmp_path: Path) -> None:
    kind = maybe(p_value(1e-5))
    values = column(tmp_path, kind, ["<2e-16", "< 2.2e-16", "0.03", "1", "0", "NA", "<0.05"])
    assert values[:5].tolist() == [2e-16, 2.2e-16, 0.03, 1, 0] and values[5:].isna().all()
    for cell in ("5.3", "-1", "<x", "0,05"):
        with pytest.raises(DataError, match=f"'{cell}' is not a p-value"):
            column(tmp_path, kind, ["0.1", cell])


def test_names_stay_as_written(tmp_path: Path) -> None:
    names = ["001", "12.10", "12.1", "NA", "1e5", "nan", "TRUE", "null", "-", "+1", "0x1f"]
    assert column(tmp_path, NAME, names).tolist() == names


def test_other_columns_and_aliases(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(
        "CHR\tPosition\textra\tflag\tempty\tword\n1\t5\t2\tTrue\tNA\ta\n2\t6\tNA\tFalse\tNA\tNA\n"
    )
    aliases = {"chrom": ("chromosome", "chr"), "pos": ("position",), "id": ("rsid",)}
    table = read_table(
        tmp_path / "t", {"chrom": NAME, "pos": POSITION}, optional={"id": TEXT}, aliases=aliases, others=GUESS
    )
    assert list(table) == ["chrom", "pos", "extra", "flag", "empty", "word"]
    assert table["chrom"].tolist() == ["1", "2"]
    assert table["extra"][0] == 2 and np.isnan(table["extra"][1])
    assert table["flag"].tolist() == [True, False]
    assert table["empty"].isna().all() and table["word"].isna().tolist() == [False, True]
    assert list(read_table(tmp_path / "t", {"chrom": NAME}, aliases=aliases)) == ["chrom"]
    assert read_header(tmp_path / "t")[:2] == ["CHR", "Position"]
    with pytest.raises(DataError, match=r"column id \(or rsid\) is missing"):
        read_table(tmp_path / "t", {"id": TEXT}, aliases=aliases)


def test_written_tables_read_the_same(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"name": ['"x', "a 'b'", "NA"], "start": [123454527.0, np.nan, 1.0], "effect": [0.5, np.nan, 1234567.25]}
    )
    for path in (tmp_path / "t.tsv", tmp_path / "t.tsv.gz"):
        write_table(table, path)
        found = read_table(path, {"name": NAME, "start": maybe(COUNT), "effect": maybe(NUMBER)})
        assert found["name"].tolist() == table["name"].tolist()
        assert found["start"].tolist()[::2] == [123454527, 1]
        assert found["effect"].round(-1).tolist()[::2] == [0, 1234570]
    assert (tmp_path / "t.tsv").read_text().splitlines()[1] == '"x\t123454527\t0.5'
