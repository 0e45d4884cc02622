"""The three sheets of a run: libraries, lentiMPRA tables, variant sets. Every problem is collected, none hides another."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from allelegro.io.tables import TEXT, read_table

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]*"
KINDS = ("satmut", "mpra", "adastra", "udacha", "qtl", "truth", "table")
FILE_COLUMNS = ("bam", "plus", "minus", "fastq_1", "fastq_2")


@dataclass
class Sheet:
    """Rows of a sheet as text (an empty cell is ``""``) and the problems found so far.

    ``problems`` holds one line each: sheet, row (the first after the header is 1), column, value, what is wrong. ``faults`` are
    those of what a row names (its files, its donor) rather than of how it is written, with the row's number from 0.
    """

    path: Path
    rows: list[dict[str, str]]
    problems: list[str] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)

    def report(self, row: int, problem: str) -> None:
        """Note a problem of a row, counted from 0."""
        self.problems.append(f"{self.path.name} row {row + 1}: {problem}")

    def fault(self, row: int, problem: str) -> None:
        """Note that what a row names cannot be used."""
        self.faults.append((row, f"{self.path.name} row {row + 1}: {problem}"))

    def located(self, cell: str) -> Path:
        """A cell's path: absolute, or relative to the sheet (links followed)."""
        return self.path.resolve().parent / cell


def read_sheet(path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> Sheet:
    """Read a sheet (TSV, or CSV by suffix) as text; unknown columns and empty required cells are problems.

    Raises DataError when the file is missing, empty, or lacks a required column.
    """
    table = read_table(path, dict.fromkeys(required, TEXT), others=TEXT)
    rows: list[dict[str, str]] = [
        {str(name): str(value) for name, value in row.items()} for row in table.to_dict("records")
    ]
    sheet = Sheet(path, rows)
    known = (*required, *optional)
    unknown = [name for name in table.columns if name not in known]
    if unknown:
        sheet.problems.append(f"{path.name}: column {', '.join(unknown)} is not known; known are {', '.join(known)}")
    for number, row in enumerate(rows):
        for column in required:
            if not row[column]:
                sheet.report(number, f"{column} is empty; fill it in or remove the row")
    return sheet


def check_names(sheet: Sheet, column: str, *, unique: bool) -> None:
    """Names become file names: letters, digits, ``. _ -``; and once each where ``unique``."""
    names = pd.Series([row[column] for row in sheet.rows], dtype="string")
    for number in (~names.str.fullmatch(NAME_PATTERN) & (names != "")).to_numpy().nonzero()[0]:
        sheet.report(int(number), f"{column} '{names[number]}' may hold only letters, digits, '.', '_' and '-'")
    if unique:
        for number in (names.duplicated() & (names != "")).to_numpy().nonzero()[0]:
            sheet.report(int(number), f"{column} '{names[number]}' occurs twice; give each row its own name")


def check_files(sheet: Sheet, columns: tuple[str, ...]) -> None:
    """Files named in the sheet exist and are not empty; a URI is left to the task that reads it."""
    for number, row in enumerate(sheet.rows):
        for column in columns:
            cell = row.get(column, "")
            if not cell or "://" in cell:
                continue
            path = sheet.located(cell)
            if not path.is_file():
                sheet.fault(number, f"{column} {cell}: no such file (looked for {path})")
            elif path.stat().st_size == 0:
                sheet.fault(number, f"{column} {cell}: the file is empty; copy or make it again")


def read_libraries(path: Path) -> Sheet:
    """``library donor`` and one of ``bam`` · ``plus minus`` · ``fastq_1 [fastq_2]``; rows of one library are its runs."""
    sheet = read_sheet(path, ("library", "donor"), FILE_COLUMNS)
    check_names(sheet, "library", unique=False)
    donors: dict[str, str] = {}
    kinds: dict[str, str] = {}
    for number, row in enumerate(sheet.rows):
        kind = _kind_of_input(sheet, number, row)
        library = row["library"]
        if donors.setdefault(library, row["donor"]) != row["donor"]:
            sheet.report(
                number, f"library '{library}' belongs to donor {donors[library]} above and to {row['donor']} here"
            )
        if kind and kinds.setdefault(library, kind) != kind:
            sheet.report(
                number, f"library '{library}' has {kinds[library]} above and {kind} here; runs must be of one kind"
            )
    first: dict[str, int] = {}
    for cell, number in [
        (row.get(column, ""), number) for number, row in enumerate(sheet.rows) for column in FILE_COLUMNS
    ]:
        if cell and first.setdefault(cell, number) != number:
            sheet.report(number, f"{cell} is already used in row {first[cell] + 1}; each file belongs to one row")
    return sheet


def _kind_of_input(sheet: Sheet, number: int, row: dict[str, str]) -> str | None:
    """Which kind of input a row names; anything but exactly one is a problem."""
    has = {column for column in FILE_COLUMNS if row.get(column)}
    for kind in (("bam",), ("plus", "minus"), ("fastq_1",), ("fastq_1", "fastq_2")):
        if has == set(kind):
            return " and ".join(kind)
    if not has:
        sheet.report(number, "no input; fill in bam, or plus and minus, or fastq_1")
    elif has <= {"plus", "minus"}:
        missing = ({"plus", "minus"} - has).pop()
        sheet.report(number, f"{missing} is empty; both strands are needed")
    elif has == {"fastq_2"}:
        sheet.report(number, "fastq_1 is empty; read 2 alone cannot be used")
    else:
        sheet.report(number, f"{', '.join(sorted(has))} are given together; use bam, or plus and minus, or fastq_1")
    return None


def read_mpra(path: Path) -> Sheet:
    """``name table``."""
    sheet = read_sheet(path, ("name", "table"))
    check_names(sheet, "name", unique=True)
    return sheet


def read_variant_sets(path: Path) -> Sheet:
    """``name kind table`` and optionally ``genome release``; kind is one of :data:`KINDS`.

    ``genome`` is the FASTA of a set that lies on another assembly than the run, ``release`` the assembly whose rows of a
    table with several are meant.
    """
    sheet = read_sheet(path, ("name", "kind", "table"), ("genome", "release"))
    check_names(sheet, "name", unique=True)
    for number, row in enumerate(sheet.rows):
        if row["kind"] and row["kind"] not in KINDS:
            sheet.report(number, f"kind '{row['kind']}' is not one of {', '.join(KINDS)}")
    return sheet


def read_comparators(path: Path) -> Sheet:
    """``set name table``: an outside model's scores of a variant set."""
    sheet = read_sheet(path, ("set", "name", "table"))
    check_names(sheet, "name", unique=False)
    return sheet


def merge_runs(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    """One entry a library, in the sheet's order: its donor and, for each file column, the files of all its runs."""
    libraries: dict[str, dict[str, Any]] = {}
    for row in rows:
        entry = libraries.setdefault(
            row["library"], {"library": row["library"], "donor": row["donor"]} | {column: [] for column in FILE_COLUMNS}
        )
        for column in FILE_COLUMNS:
            if row.get(column):
                entry[column].append(row[column])
    return list(libraries.values())
