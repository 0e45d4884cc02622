"""The sheets of a run: libraries, lentiMPRA tables, variant sets, outside models. Every problem is collected, none hides another."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from allelegro.io.atomic import also_reading
from allelegro.io.checksums import sha256
from allelegro.io.contigs import few
from allelegro.io.effect_kinds import EffectKind
from allelegro.io.tables import TEXT, read_table

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]*"
MOST_LINES = 50  # said of one sheet
MOST_RANGES = 10  # of row numbers in one line
COMPARED = 1024  # bytes: files below hold no more than a header, and many have the same
FILE_COLUMNS = ("bam", "plus", "minus", "fastq_1", "fastq_2")


class Problem(NamedTuple):
    """What is wrong with a row: the row, from 0 (-1: the whole sheet), and a line that says it.

    The line holds sheet, row (the first after the header is 1), column, value, what to do. Rows of one ``cause`` share a line.
    """

    row: int
    line: str
    cause: str


@dataclass
class Sheet:
    """Rows of a sheet as text (an empty cell is ``""``) and the problems found so far.

    ``problems`` are those of how rows are written, ``faults`` those of what a row names (its files, its donor).
    """

    path: Path
    rows: list[dict[str, str]]
    problems: list[Problem] = field(default_factory=list)
    faults: list[Problem] = field(default_factory=list)

    def report(self, row: int, problem: str, cause: str | None = None) -> None:
        """Note a problem of a row, counted from 0."""
        line = f"{self.path.name} row {row + 1}: {problem}"
        self.problems.append(Problem(row, line, cause or line))

    def fault(self, row: int, problem: str, cause: str | None = None) -> None:
        """Note that what a row names cannot be used."""
        line = f"{self.path.name} row {row + 1}: {problem}"
        self.faults.append(Problem(row, line, cause or line))

    def lines(self, *, with_faults: bool = True) -> list[str]:
        """What is wrong, in the order of rows and one line a cause; the first ``MOST_LINES`` of many."""
        causes: dict[str, list[Problem]] = {}
        for problem in sorted(self.problems + (self.faults if with_faults else []), key=lambda found: found.row):
            causes.setdefault(problem.cause, []).append(problem)
        lines = [
            same[0].line + _also(sorted({problem.row + 1 for problem in same[1:]} - {same[0].row + 1}))
            for same in causes.values()
        ]
        more = len(lines) - MOST_LINES
        return lines[:MOST_LINES] + ([f"{self.path.name}: and {more} more problems"] if more > 0 else [])

    def located(self, cell: str) -> Path:
        """A cell's path: absolute, or relative to the sheet (links followed)."""
        return self.path.resolve().parent / cell


def _also(rows: list[int]) -> str:
    """``; the same in rows 2-4, 7`` for sorted row numbers, nothing for none."""
    if not rows:
        return ""
    runs: list[list[int]] = []
    for row in rows:
        if runs and row == runs[-1][-1] + 1:
            runs[-1].append(row)
        else:
            runs.append([row])
    ranges = [f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs]
    return f"; the same in row{'s' if len(rows) > 1 else ''} {few(ranges, MOST_RANGES)}"


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
        line = f"{path.name}: column {', '.join(unknown)} is not known; known are {', '.join(known)}"
        sheet.problems.append(Problem(-1, line, line))
    for number, row in enumerate(rows):
        for column in required:
            if not row[column]:
                sheet.report(number, f"{column} is empty; fill it in or remove the row", f"empty {column}")
    return sheet


def check_names(sheet: Sheet, column: str, *, unique: bool) -> None:
    """Names become file names: letters, digits, ``. _ -``; and once each where ``unique``."""
    names = pd.Series([row[column] for row in sheet.rows], dtype="string")
    for number in (~names.str.fullmatch(NAME_PATTERN) & (names != "")).to_numpy().nonzero()[0]:
        sheet.report(int(number), f"{column} '{names[number]}' may hold only letters, digits, '.', '_' and '-'")
    if unique:
        for number in (names.duplicated() & (names != "")).to_numpy().nonzero()[0]:
            sheet.report(int(number), f"{column} '{names[number]}' occurs twice; give each row its own name")


def check_donors(sheet: Sheet) -> None:
    """A donor's name is that of the VCF: any printable text on one line."""
    for number, row in enumerate(sheet.rows):
        if not row["donor"].isprintable():
            sheet.report(number, f"donor {row['donor']!r} holds a tab, a line break or another unprintable character")


def check_files(sheet: Sheet, columns: tuple[str, ...]) -> None:
    """Files named in the sheet exist and are not empty; a URI is left to the task that reads it."""
    cells = (row.get(column, "") for row in sheet.rows for column in columns)
    also_reading(sheet.located(cell) for cell in cells if cell and "://" not in cell)
    for number, row in enumerate(sheet.rows):
        for column in columns:
            cell = row.get(column, "")
            if not cell or "://" in cell:
                continue
            path = sheet.located(cell)
            if not path.is_file():
                sheet.fault(number, f"{column} {cell}: no such file (looked for {path})", f"missing in {path.parent}")
            elif path.stat().st_size == 0:
                sheet.fault(number, f"{column} {cell}: the file is empty; copy or make it again", "empty files")


def check_same_data(sheet: Sheet, columns: tuple[str, ...]) -> None:
    """Note files that two rows use: under another spelling of the path, by a link, or as a copy.

    Files of rows with other faults are not compared, and copies of less than ``COMPARED`` bytes may be.
    """
    bad = {fault.row for fault in sheet.faults}
    files: dict[tuple[int, int], tuple[int, str]] = {}
    contents: dict[tuple[int, str], tuple[int, str]] = {}
    sizes = Counter(path.stat().st_size for _, _, path in _existing(sheet, columns))
    for number, cell, path in _existing(sheet, columns):
        status = path.stat()
        first, name = files.setdefault((status.st_dev, status.st_ino), (number, cell))
        if number in bad or (first, name) != (number, cell):
            if name != cell:
                sheet.report(number, f"{cell} is the file {name} of row {first + 1}; each file belongs to one row")
        elif status.st_size >= COMPARED and sizes[status.st_size] > 1:
            first, name = contents.setdefault((status.st_size, sha256(path)), (number, cell))
            if first != number:
                sheet.report(number, f"{cell} has the content of {name} in row {first + 1}; give each row its own data")


def _existing(sheet: Sheet, columns: tuple[str, ...]) -> Iterator[tuple[int, str, Path]]:
    """Row (from 0), cell and path of the files that a sheet names and that are there."""
    for number, row in enumerate(sheet.rows):
        for cell in (row.get(column, "") for column in columns):
            if cell and "://" not in cell and (path := sheet.located(cell)).is_file():
                yield number, cell, path


def read_libraries(path: Path) -> Sheet:
    """``library donor`` and one of ``bam`` · ``plus minus`` · ``fastq_1 [fastq_2]``; rows of one library are its runs."""
    sheet = read_sheet(path, ("library", "donor"), FILE_COLUMNS)
    check_names(sheet, "library", unique=False)
    check_donors(sheet)
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
    first: dict[str, tuple[int, str]] = {}
    for number, row in enumerate(sheet.rows):
        for column in FILE_COLUMNS:
            cell = row.get(column, "")
            earlier = first.setdefault(cell, (number, column)) if cell else (number, column)
            if earlier[0] != number:
                sheet.report(number, f"{cell} is already used in row {earlier[0] + 1}; each file belongs to one row")
            elif earlier[1] != column:
                sheet.report(number, f"{earlier[1]} and {column} are one file, {cell}; give each its own")
    return sheet


def _kind_of_input(sheet: Sheet, number: int, row: dict[str, str]) -> str | None:
    """Which kind of input a row names; anything but exactly one is a problem."""
    has = {column for column in FILE_COLUMNS if row.get(column)}
    for kind in (("bam",), ("plus", "minus"), ("fastq_1",), ("fastq_1", "fastq_2")):
        if has == set(kind):
            return " and ".join(kind)
    if not has:
        sheet.report(number, "no input; fill in bam, or plus and minus, or fastq_1", "no input")
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
    """``name kind table`` and optionally ``genome release``; kind is an :class:`EffectKind`.

    ``genome`` is the FASTA of a set on another assembly than the run's, ``release`` the assembly whose rows of a
    table with several are meant.
    """
    sheet = read_sheet(path, ("name", "kind", "table"), ("genome", "release"))
    check_names(sheet, "name", unique=True)
    for number, row in enumerate(sheet.rows):
        if row["kind"] and row["kind"] not in list(EffectKind):
            sheet.report(number, f"kind '{row['kind']}' is not one of {', '.join(EffectKind)}")
    return sheet


def read_comparators(path: Path) -> Sheet:
    """``set name table``: an outside model's scores of a variant set."""
    sheet = read_sheet(path, ("set", "name", "table"))
    check_names(sheet, "name", unique=False)
    first: dict[tuple[str, str], int] = {}
    for number, row in enumerate(sheet.rows):
        if first.setdefault((row["set"], row["name"]), number) != number:
            sheet.report(
                number, f"name '{row['name']}' occurs twice for set '{row['set']}'; give each row its own name"
            )
    return sheet


def read_peaks(path: Path) -> Sheet:
    """``library donor peaks elements``: user-provided peaks and divergent elements (BED) of each library."""
    sheet = read_sheet(path, ("library", "donor", "peaks", "elements"))
    check_names(sheet, "library", unique=True)
    check_donors(sheet)
    return sheet


def scored_names(files: Sequence[str], taken: Collection[str]) -> tuple[list[str], list[str]]:
    """Names that the results of scored files get, in their order, and what is wrong with them.

    A name is the file's without the suffixes of its format, with ``_`` for what the name of a result may not hold; no
    two files and no variant set (``taken``) may share one.
    """
    names = [
        re.sub(r"[^\w.-]|^[^A-Za-z0-9]", "_", re.sub(r"\.(vcf|bcf|tsv|csv|txt)(\.b?gz)?$", "", file), flags=re.ASCII)
        for file in files
    ]
    problems: list[str] = []
    for number, (file, name) in enumerate(zip(files, names, strict=True)):
        alike = [other for at, other in enumerate(files) if at != number and names[at] == name]
        if name in taken or alike:
            like = "a set of --variant_sets" if name in taken else f"those of {', '.join(alike)}"
            problems.append(f"--score {file}: its results would be called {name} like {like}; rename one")
    return names, problems


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
