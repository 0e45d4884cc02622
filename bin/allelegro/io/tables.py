"""Tables with a header, TSV or CSV: the one reader of all tables of users and of the pipeline, and the one writer.

Every cell is read as text. A column becomes something else only by a :class:`Kind` that the caller names, so that a
donor called 007, NA or 1e5 stays that, and a cell that is not of its kind is an error with file, row, column and value.

The separator is the one of the header: tab, else comma, and tab where there is one column, but in a .csv. Lines that
begin with ``##`` are comments, and so are lines that begin with ``#`` except the header. Cells may be quoted: in a CSV quotes protect commas, in a TSV they are taken off a
cell that is wholly quoted; a quote that is not closed is a letter like any other. Blanks around cells are taken off,
blank rows and separators at the ends of rows are ignored. A row of another number of cells than the header is an error.
"""

import csv
import gzip
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute
from pyarrow.csv import ConvertOptions, ParseOptions, ReadOptions, read_csv

from allelegro.errors import DataError
from allelegro.io.atomic import atomic_path
from allelegro.io.compression import open_text, text_errors

log = logging.getLogger(__name__)

MISSING = frozenset(
    ["", "NA", "N/A", "#N/A", "nan", "NaN", "NAN", ".", "-", "NULL", "Null", "null", "None", "none"]
)  # fmt: skip
_YES, _NO = frozenset(["1", "true", "t", "yes", "y"]), frozenset(["0", "false", "f", "no", "n"])
_BLOCK = 1 << 23  # characters in hand at a time
_LINE_END, _UNICODE_BLANK = 0x0A, 0xC2
_SEPARATOR = "\x1f"  # between the cells of lines that were taken apart here

Cells = pd.Series  # of str
Parsed = tuple[NDArray[np.float64], NDArray[np.bool_]]
Aliases = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Kind:
    """What the cells of a column are: ``parse`` gives their values and which of them could be read (None: text).

    With ``gaps`` a cell may be missing (one of :data:`MISSING`): NaN of a number, NA of a ``whole`` one (``Int64``).
    """

    what: str
    parse: Callable[[Cells], Parsed] | None = None
    gaps: bool = False
    whole: bool = False


def maybe(kind: Kind) -> Kind:
    """``kind``, or missing."""
    return replace(kind, gaps=True)


def _number(cells: Cells) -> Parsed:
    try:
        values = np.array(compute.cast(pa.array(cells.array), pa.float64()))
    except pa.ArrowInvalid:  # some cell is no number
        values = np.asarray(pd.to_numeric(cells.to_numpy(object), errors="coerce"), np.float64)
    return values, ~np.isnan(values)


def _whole_from(least: float) -> Callable[[Cells], Parsed]:
    def parse(cells: Cells) -> Parsed:
        values, read = _number(cells)
        with np.errstate(invalid="ignore"):
            return values, read & (values >= least) & (values % 1 == 0) & (np.abs(values) < 2**53)

    return parse


def _flag(cells: Cells) -> Parsed:
    words = cells.str.lower().str.removesuffix(".0")
    yes, no = words.isin(_YES).to_numpy(), words.isin(_NO).to_numpy()
    return np.select([yes, no], [1.0, 0.0], np.nan), yes | no


def p_value(at_most: float) -> Kind:
    """A p-value that is compared with thresholds of ``at_most`` or more.

    ``<2e-16``, as R writes the smallest, counts as 2e-16; a bound above ``at_most`` decides nothing and is missing.
    """

    def parse(cells: Cells) -> Parsed:
        bounded = cells.str.startswith("<").to_numpy()
        values, _ = _number(cells.str.removeprefix("<").str.lstrip() if bounded.any() else cells)
        read = (values >= 0) & (values <= 1)
        return np.where(bounded & (values > at_most), np.nan, values), read

    return Kind("a p-value (0 to 1)", parse)


TEXT = Kind("text", gaps=True)
NAME = Kind("a name")
NUMBER = Kind("a number", _number)
WHOLE = Kind("a whole number", _whole_from(-np.inf), whole=True)
COUNT = Kind("a whole number from 0", _whole_from(0), whole=True)
POSITION = Kind("a position (a whole number from 1)", _whole_from(1), whole=True)
FLAG = Kind("1 or 0, true or false, yes or no", _flag)
GUESS = Kind("numbers where every cell is one or missing, else text", gaps=True)


def read_table(
    path: Path,
    columns: Mapping[str, Kind] | None = None,
    *,
    optional: Mapping[str, Kind] | None = None,
    aliases: Aliases | None = None,
    others: Kind | None = None,
    allow_empty: bool = False,
) -> pd.DataFrame:
    """Read a table; see the module for its form.

    ``columns`` must be there, ``optional`` may, by these names or by one of their ``aliases`` (the first that is there,
    case ignored). ``others`` is the kind of all further columns, which are not read when it is None. Raises DataError
    when the file is no table, a column is missing, a row has more or fewer cells than the header, a cell is not of its
    column's kind, or there is no row unless ``allow_empty``.
    """
    layout = _Layout(path, columns or {}, optional or {}, aliases or {}, others)
    parts = list(layout.chunks())
    if not len(parts[0]) and not allow_empty:
        raise DataError(f"{path}: the table has a header but no rows")
    table = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
    for column in layout.guessed:
        table[column] = _guessed(table[column])
    return table


def table_chunks(
    path: Path,
    columns: Mapping[str, Kind],
    rows: int,
    *,
    optional: Mapping[str, Kind] | None = None,
    aliases: Aliases | None = None,
    others: Kind | None = None,
) -> Iterator[pd.DataFrame]:
    """The table in pieces of at most ``rows`` rows, as :func:`read_table` reads it; at least one, which may be empty.

    The index counts the rows of the table from 0.
    """
    return _Layout(path, columns, optional or {}, aliases or {}, others).chunks(rows)


def read_header(path: Path) -> list[str]:
    """The names of a table's columns; raises DataError when the file is no table."""
    layout = _Layout(path, {}, {}, {}, None)
    next(layout.chunks())
    return layout.header


@dataclass
class _Layout:
    """Which columns of a file are read, and as what; filled from its header."""

    path: Path
    columns: Mapping[str, Kind]
    optional: Mapping[str, Kind]
    aliases: Aliases
    others: Kind | None
    separator: str = "\t"
    header: list[str] = field(default_factory=list)
    chosen: list[tuple[str, int, Kind]] = field(default_factory=list)  # name, place in the header, kind
    rows: int = 0
    comments: int = 0

    @property
    def guessed(self) -> list[str]:
        """Columns whose kind shows when all their cells are known."""
        return [name for name, _, kind in self.chosen if kind is GUESS]

    def chunks(self, rows: int | None = None) -> Iterator[pd.DataFrame]:
        """Pieces of at most ``rows`` rows; at least one."""
        with text_errors(self.path), open_text(self.path) as file:
            line, block = self._start(file)
            while block := block + file.read(_BLOCK):
                block += file.readline()
                table = self._typed(*self._tidy(block if block.endswith("\n") else block + "\n", line))
                for first in range(0, len(table), rows or len(table) or 1):
                    yield table[first : first + (rows or len(table))]
                self.rows += len(table)
                line, block = line + block.count("\n"), ""
            if not self.rows:
                yield self._typed(b"", self.separator, np.empty(0, np.int64))
        if self.comments:
            log.info("%s: %d lines that begin with # are comments", self.path, self.comments)

    def _start(self, file: TextIO) -> tuple[int, str]:
        """Read the header; the number and text of the first line after it (empty where none was read)."""
        commented = ""
        for number, line in enumerate(iter(file.readline, ""), 1):
            if not line.strip() or line.startswith("##"):
                continue
            if line.startswith("#"):
                if not commented or not self._is_header(commented, None):
                    commented = line
            elif commented and self._is_header(commented, line):
                self._take_header(commented)
                return number, line
            else:
                self._take_header(line)
                return number + 1, ""
        if not commented:
            wanted = ", ".join(self.columns) or "the names of columns"
            raise DataError(f"{self.path}: the file is empty; expected a header line with {wanted}")
        self._take_header(commented)
        return 0, ""

    def _is_header(self, line: str, following: str | None) -> bool:
        """Whether a line that begins with ``#`` is the header: it has all columns asked for, or as many as the next line."""
        found = self._header_cells(line)
        if self.columns:
            return all(self._column(name, found) is not None for name in self.columns)
        return following is not None and len(found) == len(self._header_cells(following))

    def _separator_of(self, header: str) -> str:
        """Tab, or comma where the header has one and no tab; of a single column that which the name of the file says."""
        csv_named = self.path.name.lower().endswith((".csv", ".csv.gz"))
        return "," if "\t" not in header and ("," in header or csv_named) else "\t"

    def _header_cells(self, line: str) -> list[str]:
        separator = self._separator_of(line)
        cells = [cell.strip().removeprefix("\ufeff").lstrip("#") for cell in _unquoted(line, separator, 0)]
        while cells and not cells[-1]:
            cells.pop()
        return cells

    def _column(self, name: str, header: Sequence[str]) -> int | None:
        """Where the header has a column of ours, by its name or an alias."""
        if name in header:
            return header.index(name)
        lower = [cell.lower() for cell in header]
        names = [alias.lower() for alias in (name, *self.aliases[name])] if name in self.aliases else []
        return next((lower.index(alias) for alias in names if alias in lower), None)

    def _take_header(self, line: str) -> None:
        self.separator = self._separator_of(line)
        if "\0" in line:
            raise DataError(f"{self.path}: not a text table; check that it is the file you mean")
        self.header = [cell or f"column {number}" for number, cell in enumerate(self._header_cells(line), 1)]
        twice = next((cell for place, cell in enumerate(self.header) if cell in self.header[:place]), None)
        if twice:
            raise DataError(f"{self.path}: column {twice} occurs twice; rename one")
        missing = []
        for name, kind in [*self.columns.items(), *self.optional.items()]:
            place = self._column(name, self.header)
            if place is not None:
                self.chosen.append((name, place, kind))
            elif name in self.columns:
                other = ", ".join(self.aliases.get(name, ()))
                missing.append(f"{name} (or {other})" if other else name)
        if missing:
            hint = "; columns are separated by tabs or commas" if len(self.header) == 1 else ""
            raise DataError(
                f"{self.path}: column {', '.join(missing)} is missing; found {', '.join(self.header)}{hint}"
            )
        if self.others is not None:
            taken, used = {name for name, _, _ in self.chosen}, {place for _, place, _ in self.chosen}
            self.chosen += [
                (name, place, self.others)
                for place, name in enumerate(self.header)
                if place not in used and name not in taken
            ]

    def _tidy(self, block: str, line: int) -> tuple[bytes, str, NDArray[np.int64]]:
        """Rows of a block of whole lines, the first of number ``line``, as bytes, their separator and line numbers.

        A block without quotes, comments, blanks at cells and odd rows is taken as it is, which is what makes large tables fast.
        """
        separator, width = self.separator, len(self.header)
        if "\0" in block or _SEPARATOR in block:
            raise DataError(f"{self.path}: not a text table; check that it is the file you mean")
        data = block.encode()
        codes = np.frombuffer(data, np.uint8)
        ends = np.flatnonzero(codes == _LINE_END)
        separators = np.flatnonzero(codes == ord(separator))
        even = (np.diff(np.searchsorted(separators, ends), prepend=0) == width - 1).all()
        if even and '"' not in block and not _odd_edges(codes, ends, separator):
            return data, separator, np.arange(line, line + len(ends))
        rows: list[str] = []
        numbers: list[int] = []
        for number, text in enumerate(block.split("\n")[:-1], line):
            if cells := self._cells(text, self.rows + len(rows) + 1, number):
                rows.append(_SEPARATOR.join(cells) + "\n")
                numbers.append(number)
        return "".join(rows).encode(), _SEPARATOR, np.array(numbers, np.int64)

    def _cells(self, line: str, row: int, number: int) -> list[str]:
        """Cells of a line; none of a blank line or a comment."""
        width = len(self.header)
        cells = _unquoted(line, self.separator, width) if '"' in line else line.split(self.separator)
        cells = [cell.strip().replace("\t", " ") for cell in cells]
        if not any(cells):
            return []
        if line.startswith("#"):
            self.comments += 1
            return []
        while len(cells) > width and not cells[-1]:
            cells.pop()
        if len(cells) != width:
            raise DataError(
                f"{self.path} row {row} (line {number}): has {len(cells)} cells, the header has {width}; "
                "give every row one cell a column"
            )
        return cells

    def _typed(self, rows: bytes, separator: str, numbers: NDArray[np.int64]) -> pd.DataFrame:
        """The chosen columns of tidy rows, as their kinds."""
        index = pd.RangeIndex(self.rows, self.rows + len(numbers))
        if not self.chosen:
            return pd.DataFrame(index=index)
        raw = _read_text(rows, separator, len(self.header), sorted({place for _, place, _ in self.chosen}))
        values = {}
        for name, place, kind in self.chosen:
            values[name], unread = _read_cells(raw[str(place)], kind)
            if unread is not None:
                cell = raw[str(place)].iloc[unread]
                shown = f"'{cell}'" if cell else "empty"
                problem = (
                    f"is {shown}; give {kind.what}" if cell in MISSING else f"{shown} is not {kind.what}; correct it"
                )
                raise DataError(
                    f"{self.path} row {self.rows + unread + 1} (line {numbers[unread]}), column {self.header[place]}: {problem}"
                )
        return pd.DataFrame(values).set_axis(index)


def _odd_edges(codes: NDArray[np.uint8], ends: NDArray[np.intp], separator: str) -> bool:
    """Whether a cell begins or ends in a blank, or a line begins as a comment, with an empty cell or is blank."""
    edges = (ord(separator), _LINE_END)
    first = codes[np.concatenate(([0], ends[:-1] + 1))]
    if np.isin(first, (*edges, ord("#"), ord(" "))).any():
        return True
    blanks = np.flatnonzero((codes == ord(" ")) | (codes == _UNICODE_BLANK))
    return bool(np.isin(codes[blanks - 1], edges).any() or np.isin(codes[blanks + 1], edges).any())


def _read_text(rows: bytes, separator: str, width: int, places: Sequence[int]) -> pd.DataFrame:
    """Some columns of rows without header and quotes, as text; the columns are their places."""
    if not rows:
        return pd.DataFrame({str(place): pd.Series([], dtype="str") for place in places})
    names, kind = [str(place) for place in range(width)], pa.large_string()
    table = read_csv(
        pa.py_buffer(rows),
        ReadOptions(use_threads=False, column_names=names, block_size=len(rows) + 1),
        ParseOptions(delimiter=separator, quote_char=False, ignore_empty_lines=False),
        ConvertOptions(include_columns=[str(place) for place in places], column_types=dict.fromkeys(names, kind)),
    )
    return pd.DataFrame(table.to_pandas(types_mapper={kind: pd.StringDtype(na_value=np.nan)}.get))


def _unquoted(line: str, separator: str, width: int) -> list[str]:
    """Cells of a line that holds quotes: by the rules of CSV where that gives ``width`` cells, else cell by cell."""
    cells = line.split(separator)
    if separator == "," or len(cells) != width:
        try:
            quoted = next(csv.reader([line], delimiter=separator, strict=True))
        except csv.Error:
            quoted = []
        if len(quoted) == width or (quoted and not width):
            return [cell.replace("\t", " ") for cell in quoted]
    return [_bare(cell) for cell in cells]


def _bare(cell: str) -> str:
    """A cell without the quotes around it, when it is wholly quoted."""
    inner = cell.strip()[1:-1].replace('""', "")
    whole = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner
    return cell[1:-1].replace('""', '"') if whole else cell


def _read_cells(cells: "pd.Series[str]", kind: Kind) -> tuple[Any, int | None]:
    """The values of cells, and the first cell that is not of the kind."""
    if kind.parse is None:
        empty = np.empty(0) if kind.gaps else np.flatnonzero(cells == "")
        return cells, int(empty[0]) if len(empty) else None
    values, read = kind.parse(cells)
    unread = np.flatnonzero(~read)
    wrong = next((int(at) for at in unread if not kind.gaps or cells.iloc[at] not in MISSING), None)
    if wrong is not None or not kind.whole:
        return values, wrong
    return (pd.array(np.where(read, values, np.nan), dtype="Int64") if kind.gaps else values.astype(np.int64)), None


def _guessed(cells: "pd.Series[str]") -> "pd.Series[Any]":
    """Numbers where every cell is one or missing, True and False as bool, else text; missing cells are NaN."""
    known = cells.where(~cells.isin(["", "NA"]))
    if len(cells) and cells.isin(["True", "False"]).all():
        return cells == "True"
    numbers = pd.to_numeric(known, errors="coerce")
    return numbers if numbers.notna().equals(known.notna()) else known


def _written(table: pd.DataFrame) -> pd.DataFrame:
    """The table as it is written: whole numbers with gaps stay whole (7 digits would move a position), cells are one line."""
    columns: dict[str, Any] = {}
    for column, values in table.items():
        if values.dtype.kind == "f":
            known = values.dropna()
            whole = len(known) and (known % 1 == 0).all() and (known.abs() < 2**53).all()
            columns[str(column)] = values.astype("Int64") if whole else _digits(values)
        elif values.dtype == "str":  # one search over the column; a cell at a time takes half of the writing
            if values.str.contains("[\t\r\n]", na=False).any():
                columns[str(column)] = values.map(_one_line)
        elif values.dtype.kind == "O" and any(_one_line(value) is not value for value in values):
            columns[str(column)] = values.map(_one_line)
    return (table.assign(**columns) if columns else table).rename(columns=_one_line)


def _digits(values: "pd.Series[float]") -> "pd.Series[Any]":
    """Floats as text of 7 significant digits, None where missing; pandas' own formatting takes ten times as long."""
    return pd.Series([None if value != value else f"{value:.7g}" for value in values.tolist()], values.index, object)


def _one_line(value: Any) -> Any:
    """Text without tabs and line ends; anything else as it is."""
    broken = isinstance(value, str) and ("\n" in value or "\t" in value or "\r" in value)
    return " ".join(value.split()) if broken else value


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a TSV (gzipped when the name ends in .gz) atomically; floats keep 7 significant digits."""
    with atomic_path(path) as partial:
        write_rows(table, partial)


def write_rows(table: pd.DataFrame, path: Path, *, append: bool = False) -> None:
    """Write a TSV, or add rows without a header to one; as :func:`write_table`, which makes it whole or not at all."""
    with ExitStack() as stack:
        file: Any = stack.enter_context(path.open("ab" if append else "wb"))
        if path.suffix == ".gz":  # without a name and a time, so that the same rows are the same bytes
            file = stack.enter_context(gzip.GzipFile("", "wb", fileobj=file, mtime=0))
        text = stack.enter_context(io.TextIOWrapper(file, encoding="utf-8", newline=""))
        _written(table).to_csv(
            text, sep="\t", index=False, header=not append, na_rep="NA", quoting=csv.QUOTE_NONE,
        )  # fmt: skip


def append_table(table: pd.DataFrame, path: Path) -> None:
    """Add rows to a TSV that grows in a folder not yet finished; the first call writes the header. As ``write_table``."""
    write_rows(table, path, append=path.exists())
