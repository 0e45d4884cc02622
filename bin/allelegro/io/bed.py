"""BED as users have it: three columns or more, tabs or blanks, comments and track lines anywhere, a header row or none."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from allelegro.errors import DataError
from allelegro.io.compression import text_lines

LARGEST_POSITION = (1 << 31) - 1
_COLUMNS = ("chrom", "start", "end", "name", "score", "strand")


def data_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each data line: no blank, comment, ``track`` or ``browser`` lines.

    Cells are separated by tabs where the line has any, else by blanks. Raises DataError for a missing or unreadable file.
    """
    for number, line in enumerate(text_lines(path), 1):
        line = line.strip()
        if line and not line.startswith("#") and line.split(None, 1)[0] not in ("track", "browser"):
            yield number, [cell.strip() for cell in line.split("\t" if "\t" in line else None)]


def is_header(cells: list[str]) -> bool:
    """Whether the cells of a first line are column names."""
    return len(cells) > 2 and cells[1].lower() in ("start", "chromstart", "begin")


def has_header(path: Path) -> bool:
    """Whether the first line with columns, after comment and track lines, is a header row (it may begin with #)."""
    for line in text_lines(path):
        names = line.replace('"', "").lstrip("# ")
        cells = names.split(next((separator for separator in "\t," if separator in names), None))
        if is_header([cell.strip() for cell in cells]):
            return True
        if cells and not line.startswith(("#", "track", "browser")):
            return False
    return False


def read_bed(path: Path) -> pd.DataFrame:
    """Rows of a BED, 0-based and half-open: ``chrom start end name score strand`` (text, "" where absent) and ``line``.

    The first data line may be a header row. Raises DataError, with the line and the value, for a row that is no interval,
    and for a file without rows.
    """
    rows: list[tuple[str, int, int, str, str, str, int]] = []
    for number, cells in data_lines(path):
        if rows or not is_header(cells):
            name, score, strand = (*cells[3:6], "", "", "")[:3]
            rows.append((cells[0], *interval(cells, path, number), name, score, strand, number))
    if not rows:
        raise DataError(f"{path}: no row of contig, start and end; expected BED")
    return pd.DataFrame(rows, columns=[*_COLUMNS, "line"])


def whole_number(text: str) -> int:
    """A whole number as users write it (``1000``, ``1e3``, ``1000.0``); raises ValueError for anything else."""
    if not set(text) <= set("0123456789+-.eE") or not float(text).is_integer():
        raise ValueError
    return int(float(text))


def interval(cells: list[str], path: Path, number: int) -> tuple[int, int]:
    """Start and end of a BED line; raises DataError unless 0 ≤ start ≤ end."""
    try:
        start, end = whole_number(cells[1]), whole_number(cells[2])
    except (IndexError, ValueError):
        shown = " ".join(cells[:3])
        raise DataError(f"{path} line {number}: not a BED line of contig, start and end ('{shown[:60]}')") from None
    if not 0 <= start <= end <= LARGEST_POSITION:
        raise DataError(f"{path} line {number}: {start} to {end} is no interval (0 ≤ start ≤ end); correct or drop it")
    return start, end
