"""Every reader of user files × every oddity of how files are written: right values or one line, never a lost row."""

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pysam
import pytest

from allelegro.effects.measured import read_measured
from allelegro.effects.score_files import read_comparator, read_scores
from allelegro.effects.variants import read_sequence_pairs, read_variants
from allelegro.errors import DataError
from allelegro.inputs.datasets import unpack_procap
from allelegro.inputs.excluded import read_excluded
from allelegro.inputs.sheets import (
    Sheet,
    check_files,
    read_comparators,
    read_libraries,
    read_mpra,
    read_variant_sets,
)
from allelegro.io.bed import read_bed
from allelegro.io.metrics import read_metrics
from allelegro.io.signal import Signal
from allelegro.io.windows import read_windows
from allelegro.procap.counts import read_signal_sheet
from allelegro.procap.regions import read_tss
from allelegro.procap.windows import contig_lengths, read_sites
from allelegro.training.mpra import prepare_mpra, read_training_table
from allelegro.training.settings import MpraSettings

Rows = list[list[str]]


@dataclass(frozen=True)
class Reader:
    """A reader of user files: a valid table for it (header and rows, or rows alone), and what it makes of a file.

    ``number`` and ``text`` are columns whose cells are spoilt; ``read`` returns rows and how many it counted as excluded.
    """

    name: str
    rows: Rows
    read: Callable[[Path], tuple[Any, int]]
    number: int | None = None
    text: int | None = None
    has_header: bool = True


def values(table: pd.DataFrame) -> list[list[str]]:
    return table.astype(str).to_numpy().tolist()


def framed(read: Callable[[Path], pd.DataFrame]) -> Callable[[Path], tuple[Any, int]]:
    return lambda path: (values(read(path)), 0)


def sheet(read: Callable[[Path], Sheet]) -> Callable[[Path], tuple[Any, int]]:
    def result(path: Path) -> tuple[Any, int]:
        found = read(path)
        if found.problems:
            raise DataError(found.problems[0][1])
        check_files(found, ("bam", "table", "genome"))
        return [list(row.values()) for row in found.rows], 0

    return result


def measured(kind: str) -> Callable[[Path], tuple[Any, int]]:
    def result(path: Path) -> tuple[Any, int]:
        found = read_measured(path, kind)
        return values(found.table.assign(group="")), sum(found.dropped.values())

    return result


def libraries_of(path: Path) -> tuple[Any, int]:
    return [
        [item.name, item.donor, *(str(file.name) for pair in item.pairs for file in pair)]
        for item in read_signal_sheet(path)
    ], 0


def excluded_of(path: Path) -> tuple[Any, int]:
    """The reader takes a folder of ``*.excluded.tsv``."""
    folder = path.parent / "excluded"
    folder.mkdir()
    (folder / "x.excluded.tsv").symlink_to(path)
    return list(read_excluded([folder]).items()), 0


PEAKS = [["#chrom", "start", "end", "name", "score", "strand", "qvalue", "reads", "summit"]] + [
    ["chr1", f"{at}", f"{at + 50}", f"peak_{at}", "200", "+", "1e-9", "31", f"{at + 20}"] for at in (100, 1000, 2000)
]


def sites_of_peaks(path: Path) -> tuple[Any, int]:
    header = "\t".join([*PEAKS[0], "plus_summit", "minus_summit"])
    (path.parent / "elements.bed").write_text(f"{header}\nchr1\t5000\t5200\te\t9\t.\t0.01\t20\t5150\t5150\t5050\n")
    (path.parent / "sheet.tsv").write_text(f"library\tdonor\tpeaks\telements\nA\tD1\t{path.name}\telements.bed\n")
    return values(read_sites(path.parent / "sheet.tsv", {"chr1": 10_000}).query("strand == '+'")), 0


def sites_of_sheet(path: Path) -> tuple[Any, int]:
    for name in ("a", "b", "c"):
        (path.parent / f"{name}.bed").write_text("\n".join(map("\t".join, PEAKS)) + "\n")
    header = "\t".join([*PEAKS[0], "plus_summit", "minus_summit"])
    (path.parent / "e.bed").write_text(header + "\n")
    return values(read_sites(path, {"chr1": 10_000})), 0


def archive_of(path: Path) -> tuple[Any, int]:
    """Stops at the archive, after the table was read."""
    (path.parent / "raw.tar").write_bytes(b"no archive")
    try:
        unpack_procap(path.parent / "raw.tar", path)
    except DataError as error:
        if "raw.tar" in str(error):
            return [["the archive, after the table"]], 0
        raise
    raise AssertionError("a broken archive was unpacked")


def tss_of(path: Path) -> tuple[Any, int]:
    regions = read_tss(path, 10, {"chr1": 10_000})
    return [[name, *map(np.ndarray.tolist, pair)] for name, pair in regions.by_contig.items()], 0


def signal_of(path: Path) -> tuple[Any, int]:
    signal = Signal(path)
    return [[name, *map(np.ndarray.tolist, signal.counts(name))] for name in signal.contigs], 0


def mpra_of(path: Path) -> tuple[Any, int]:
    table = prepare_mpra(path, MpraSettings(folds=3))
    return values(table[["seq_id", "seq", "mean_value", "fold_num", "chrom", "start", "end"]]), 0


def sequences(n: int) -> list[str]:
    generator = np.random.default_rng(1)
    return ["".join(row) for row in np.array(list("ACGT"))[generator.integers(0, 4, (n, 60))]]


VARIANTS = [
    ["chrom", "pos", "ref", "alt", "id"],
    ["chr1", "5", "A", "C", "001"],
    ["1", "17", "G", "T", "NA"],
    ["X", "90", "AC", "A", "1e5"],
]
TRAINING = [["seq_id", "seq", "mean_value", "fold_num", "rev", "group"]] + [
    [f"s{n}", seq, f"{n}.5", f"{n}", "0", f"{n}"] for n, seq in enumerate(sequences(3), 1)
]
METRICS = [["stage", "dataset", "model", "subset", "metric", "value", "ci_low", "ci_high", "n"]] + [
    ["procap", name, "none", "all", "r", "0.5", "0.25", "0.75", "10"] for name in ("001", "12.10", "NA")
]
WINDOWS = [["#chrom", "start", "end", "name", "score", "strand", "fold"]] + [
    ["chr1", f"{at}", f"{at + 100}", f"w{at}", "3", ".", "1"] for at in (100, 300, 500)
]
BED = [
    ["chr1", "100", "200", "a", "0", "+"],
    ["chr1", "400", "500", "b", "0", "-"],
    ["chr1", "900", "950", "c", "0", "+"],
]


def with_columns(names: Sequence[str], cells: Sequence[Sequence[str]]) -> Rows:
    """The variants with further columns."""
    return [[*row, *more] for row, more in zip(VARIANTS, [list(names), *map(list, cells)], strict=True)]


READERS = [
    Reader("libraries sheet", [["library", "donor", "bam"], ["001", "NA", "a.bam"], ["12.10", "1e5", "b.bam"], ["x", "O'Brien", "c.bam"]], sheet(read_libraries), text=1),
    Reader("mpra sheet", [["name", "table"], ["1", "a.tsv"], ["1.0", "b.tsv"], ["NA", "c.tsv"]], sheet(read_mpra), text=1),
    Reader("variant sets sheet", [["name", "kind", "table"], ["1", "mpra", "a.tsv"], ["2", "qtl", "b.tsv"], ["3", "table", "c.tsv"]], sheet(read_variant_sets), text=2),
    Reader("comparators sheet", [["set", "name", "table"], ["1", "a", "a.tsv"], ["1", "b", "b.tsv"], ["2", "c", "c.tsv"]], sheet(read_comparators), text=2),
    Reader("signal sheet", [["library", "donor", "plus", "minus"], ["001", "NA", "a.bw", "b.bw"], ["12.10", "1e5", "c.bw", "d.bw"], ["x", "D", "e.bw", "f.bw"]], libraries_of, text=1),
    Reader("peaks sheet", [["library", "donor", "peaks", "elements"], ["001", "NA", "a.bed", "e.bed"], ["12.10", "1e5", "b.bed", "e.bed"], ["x", "D", "c.bed", "e.bed"]], sites_of_sheet, text=1),
    Reader("GEO table", [["library", "gsm", "donor", "prefix"], ["a", "1", "D", "p"], ["b", "2", "D", "q"], ["c", "3", "D", "r"]], archive_of, text=1),
    Reader("excluded libraries", [["library", "reason"], ["001", "truncated"], ["12.10", "no donor"], ["NA", "empty"]], excluded_of, text=1),
    Reader("peaks", PEAKS, sites_of_peaks, number=8),
    Reader("windows", WINDOWS, framed(read_windows), number=1, text=3),
    Reader("windows of the user", BED[:0] + [[*row[:2], str(int(row[1]) + 50), *row[3:]] for row in BED], framed(lambda path: read_windows(path, folds=False)), number=1, has_header=False),
    Reader("metrics", METRICS, framed(lambda path: read_metrics([path])), number=5, text=1),
    Reader("lentiMPRA", [["name", "sequence", "activity", "fold", "chr", "start", "end"]] + [[f"s{n}", seq, f"{n}.5", f"{n}", "chr1", f"{n * 100}", f"{n * 100 + 60}"] for n, seq in enumerate(sequences(3), 1)], mpra_of, number=5, text=0),
    Reader("training table", TRAINING, framed(read_training_table), number=2, text=0),
    Reader("variants", VARIANTS, framed(lambda path: pd.concat(read_variants(path))), number=1, text=4),
    Reader("allele sequences", [["id", "ref_sequence", "alt_sequence"], ["1", "ACGT", "ACGA"], ["NA", "ACGT", "ACGC"], ["x", "ACGT", "ACGG"]], framed(read_sequence_pairs), text=0),
    Reader("scores", with_columns(["model", "effect"], [["m", "0.5"], ["m", "-1"], ["m", "2e-3"]]), framed(read_scores), number=6, text=4),
    Reader("comparator", [[*row[:4], score] for row, score in zip(VARIANTS, ["score", "1", "2", "-0.5"], strict=True)], framed(read_comparator), number=4),
    Reader("satmut", with_columns(["Coefficient", "pValue"], [["0.5", "0.01"], ["-1", "1e-9"], ["0", "1"]]), measured("satmut"), number=6, text=4),
    Reader("allelic mpra", with_columns(["LogSkew.Comb", "emVar_Hit"], [["0.5", "0"], ["-1", "1"], ["0", "0"]]), measured("mpra"), number=5, text=4),
    Reader("qtl", with_columns(["beta", "pvalue"], [["0.5", "0.01"], ["-1", "1e-9"], ["0", "1"]]), measured("qtl"), number=6, text=4),
    Reader("udacha", [[*row[:1], "start", *row[2:], "pref_allele", "comb_es", "fdr_comb_pval"] if row[0] == "chrom" else [*row, "alt", "0.5", "0.01"] for row in VARIANTS], measured("udacha"), number=6, text=4),
    Reader("adastra", with_columns(["es_mean_ref", "es_mean_alt", "fdrp_bh_ref", "fdrp_bh_alt"], [["0.5", "1", "0.5", "0.01"]] * 3), measured("adastra"), number=7, text=4),
    Reader("simulated effects", with_columns(["effect"], [["0.5"], ["-1"], ["0"]]), measured("truth"), number=5, text=4),
    Reader("measured table", with_columns(["measured"], [["0.5"], ["-1"], ["0"]]), measured("table"), number=5, text=4),
    Reader("blacklist", BED, framed(lambda path: read_bed(path).drop(columns="line")), number=1, has_header=False),
    Reader("start sites", BED, tss_of, number=1, has_header=False),
    Reader("bedGraph", [["chr1", "5", "6", "3"], ["chr1", "7", "9", "1"], ["2", "5", "6", "2"]], signal_of, number=3, has_header=False),
    Reader("chromosome sizes", [["chr1", "100"], ["2", "200"], ["MT", "16569"]], lambda path: (list(contig_lengths(None, path).items()), 0), number=1, has_header=False),
]  # fmt: skip


def written(rows: Rows, separator: str = "\t") -> str:
    return "".join(separator.join(row) + "\n" for row in rows)


def between(rows: Rows, line: str) -> str:
    lines = written(rows).splitlines(keepends=True)
    return "".join([*lines[:-1], line, lines[-1]])


def bgzip(content: bytes, folder: Path) -> bytes:
    with pysam.BGZFile(str(folder / "x.bgz"), "wb") as file:  # type: ignore[call-arg]
        file.write(content)
    return (folder / "x.bgz").read_bytes()


# What must give the same rows in every reader.
HARMLESS: dict[str, Callable[[Rows], str]] = {
    "byte order mark": lambda rows: "\ufeff" + written(rows),
    "CR LF": lambda rows: written(rows).replace("\n", "\r\n"),
    "no last line end": lambda rows: written(rows).rstrip("\n"),
    "comments first": lambda rows: "## a\n## b\tc\n" + written(rows),
    "comment between": lambda rows: between(rows, "# a comment, with\ttabs\n"),
    "blank rows": lambda rows: between(rows, "\n   \n\t\t\n") + "\n",
    "blanks around cells": lambda rows: written([[f" {cell}  " if cell[0] != "#" else cell for cell in row] for row in rows]),
    "separators at the ends": lambda rows: written([[*row, "", ""] for row in rows]),
}  # fmt: skip
# The same for tables with a header.
TABLE_FORMS: dict[str, Callable[[Rows], str]] = {
    "CSV": lambda rows: written(rows, ","),
    "quoted": lambda rows: written([[f'"{cell}"' for cell in row] for row in rows]),
    "quoted CSV": lambda rows: written([[f'"{cell}"' for cell in row] for row in rows], ","),
    "header with #": lambda rows: "#" + written(rows).lstrip("#"),
}
PACKED: dict[str, Callable[[bytes, Path], bytes]] = {
    "gzip": lambda content, folder: gzip.compress(content),
    "gzip members": lambda content, folder: gzip.compress(content[:9]) + gzip.compress(content[9:]),
    "bgzip": bgzip,
    "bytes after gzip": lambda content, folder: gzip.compress(content) + b"\0\1 index",
}
BAD_NUMBERS = ["4,527", "1,5", "<5", "x", "1e6x", "0x10", "1 000", "NA", "", ".", "-", "inf", "5;6"]
NO_TABLE: dict[str, bytes] = {
    "empty": b"",
    "blank": b"\n\n \n",
    "comments alone": b"## x\n# y\n",
    "zeros": b"\0" * 999,
    "bytes": bytes(range(256)) * 5,
    "Latin-1": "chr1\tM\u00fcller\t5\n".encode("latin-1"),
    "truncated gzip": gzip.compress(b"a\tb\n" * 999)[:-12],
    "zip": b"PK\x03\x04" + bytes(99),
    "prose": b"Dear colleague,\nplease find the table below.\n",
    "HTML": b"<!DOCTYPE html>\n<html><body>404</body></html>\n",
}


def of_all(readers: Sequence[Reader]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("reader", readers, ids=[reader.name for reader in readers])


def outcome(reader: Reader, folder: Path, content: bytes, name: str = "table.txt") -> tuple[Any, int] | str:
    """What a reader makes of a file: rows and excluded ones, or its complaint, which is one line about the file."""
    folder.mkdir()
    (folder / name).write_bytes(content)
    try:
        return reader.read(folder / name)
    except DataError as error:
        message = str(error)
        assert "\n" not in message and (name in message or "x.excluded.tsv" in message), message
        return message


def right(reader: Reader, folder: Path) -> tuple[Any, int]:
    found = outcome(reader, folder / "right", written(reader.rows).encode())
    assert not isinstance(found, str), found
    return found


@of_all(READERS)
def test_harmless_forms_give_the_same_rows(reader: Reader, tmp_path: Path) -> None:
    expected = right(reader, tmp_path)
    forms = HARMLESS | (TABLE_FORMS if reader.has_header else {})
    for form, write in forms.items():
        assert outcome(reader, tmp_path / form, write(reader.rows).encode()) == expected, form


@of_all(READERS)
def test_compression_is_told_by_content(reader: Reader, tmp_path: Path) -> None:
    expected = right(reader, tmp_path)
    plain = written(reader.rows).encode()
    assert outcome(reader, tmp_path / "plain", plain, "table.tsv.gz") == expected
    for form, pack in PACKED.items():
        content = pack(plain, tmp_path)
        assert outcome(reader, tmp_path / form, content) == expected, form


@of_all([reader for reader in READERS if reader.number is not None])
def test_numbers_are_right_or_refused_with_their_row(reader: Reader, tmp_path: Path) -> None:
    assert reader.number is not None
    expected = right(reader, tmp_path)
    place = reader.has_header + 1
    for number, cell in enumerate(BAD_NUMBERS):
        rows = [list(row) for row in reader.rows]
        rows[place][reader.number] = cell
        found = outcome(reader, tmp_path / str(number), written(rows).encode())
        if isinstance(found, str):
            assert any(word in found for word in ("row 2", "line 2", "line 3", "chr1:8")), (cell, found)
            continue
        assert cell in ("NA", "", ".", "-", "inf") or (cell == "<5" and found[1]), (cell, found)
        if isinstance(expected[0], list):
            assert len(found[0]) + found[1] == len(expected[0]), (cell, found)


@of_all(READERS)
def test_rows_of_another_length_are_refused(reader: Reader, tmp_path: Path) -> None:
    place = reader.has_header + 1
    for form, change in {"short": lambda row: row[:1], "long": lambda row: [*row, "more", "cells"]}.items():
        rows = [change(row) if number == place else list(row) for number, row in enumerate(reader.rows)]
        found = outcome(reader, tmp_path / form, written(rows).encode())
        if reader.has_header or form == "short":
            assert isinstance(found, str) and any(word in found for word in ("row 2", "line 2")), (form, found)


@of_all([reader for reader in READERS if reader.text is not None])
def test_a_stray_quote_costs_no_row(reader: Reader, tmp_path: Path) -> None:
    assert reader.text is not None
    expected = right(reader, tmp_path)
    for form, quote in {"before": '"{}', "after": '{}"', "inch": '5" {}', "both": '"{}"'}.items():
        rows = [list(row) for row in reader.rows]
        for row in rows[1:3]:
            row[reader.text] = quote.format(row[reader.text])
        found = outcome(reader, tmp_path / form, written(rows).encode())
        if form == "both":
            assert found == expected
        elif not isinstance(found, str):
            assert len(found[0]) + found[1] == len(expected[0]) + expected[1], (form, found)


@of_all(READERS)
def test_what_is_no_table_is_refused(reader: Reader, tmp_path: Path) -> None:
    for form, content in NO_TABLE.items():
        found = outcome(reader, tmp_path / form, content)
        assert isinstance(found, str) or (form in ("blank", "comments alone") and not found[0]), (form, found)
    if reader.has_header:
        found = outcome(reader, tmp_path / "header alone", written(reader.rows[:1]).encode())
        assert isinstance(found, str) or not found[0]
    for target in (tmp_path / "nowhere" / "table.txt", tmp_path):
        (tmp_path / "nowhere").mkdir(exist_ok=True)
        with pytest.raises(DataError):
            reader.read(target)
