"""Stranded signal: raw 5'-end counts from bigWig or bedGraph files, as sparse positions (0-based) and whole numbers."""

import csv
import io
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.intervals import Ints, concatenated_ranges
from allelegro.io.bed import LARGEST_POSITION, data_lines, interval, is_header
from allelegro.io.bigwig import BIG_ENDIAN_MAGIC, MAGIC, BigWig
from allelegro.io.checksums import refuse_repeated
from allelegro.io.compression import open_binary
from allelegro.io.contigs import check_shared

if TYPE_CHECKING:
    import pandas as pd

MOST_READS = (1 << 32) - 1  # at one base
_NO_DATA = frozenset(["nan", "na"])
_NO_ROW = re.compile(rb"^[ \t]*(?:#|track\b|browser\b)[^\n]*", re.MULTILINE)
_LIKE_A_FRACTION = 1e-3  # how far from a whole number a value may be

log = logging.getLogger(__name__)


class Counts(NamedTuple):
    """Sparse counts of one contig: sorted 0-based positions and their counts > 0, both int64 of one length."""

    positions: Ints
    counts: Ints


class _Intervals(Protocol):
    """A file of values over intervals."""

    contigs: dict[str, int]
    sized: bool  # whether the lengths are those of the genome
    empty: bool  # whether there is no value on any contig

    def intervals(self, contig: str) -> tuple[Ints, Ints, NDArray[np.floating]]:
        """Starts, ends and values of a contig; none when it is absent."""


class Signal:
    """The counts of one strand in a bigWig or bedGraph, told by its content; ``contigs`` are names and lengths.

    In a bedGraph the length of a contig is its last covered base. Raises DataError when the file is missing, empty,
    truncated or neither format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_binary(path) as file:
            magic = file.peek(4)[:4]
            if not magic:
                raise DataError(f"{path}: the file is empty; expected a bigWig or bedGraph")
            if magic == BIG_ENDIAN_MAGIC:
                raise DataError(f"{path}: a big-endian bigWig is not supported; write it again with bedGraphToBigWig")
            self._source: _Intervals = BigWig(path) if magic == MAGIC else BedGraph(path, file.read())
        self.contigs, self.sized, self.empty = self._source.contigs, self._source.sized, self._source.empty

    def counts(self, contig: str) -> Counts:
        """Raw counts of a contig (none when it is absent); see :func:`counts_of_intervals` for what is refused."""
        length = self.contigs.get(contig) if self.sized else None
        return counts_of_intervals(self.path, contig, *self._source.intervals(contig), length)


class StrandedSignal:
    """Both strands of one library from its runs, pairs of plus and minus files that are summed.

    ``contigs`` holds those of all files, in order; one that a file does not list is empty there. ``lengths`` are those that
    the files know (a bedGraph knows none). Raises DataError when files
    share no contig, differ in the length of one for which ``counted`` is true, or are given twice.
    """

    def __init__(self, *pairs: tuple[Path, Path], counted: Callable[[str], bool] = lambda contig: True) -> None:
        self.strands = tuple([Signal(pair[strand]) for pair in pairs] for strand in (0, 1))
        files = [signal for pair in zip(*self.strands, strict=True) for signal in pair if signal.contigs]
        for strand in self.strands:
            refuse_repeated(signal.path for signal in strand if not signal.empty)
        for plus, minus in pairs:
            if plus.samefile(minus):
                raise DataError(f"{minus}: given for both strands; give one file a strand")
        self.contigs: dict[str, int] = {}
        self.lengths = {name: length for file in files if file.sized for name, length in file.contigs.items()}
        for file in files:
            if self.contigs:
                check_shared(file.contigs, str(file.path), self.contigs, files[0].path)
            self.contigs |= {name: max(length, self.contigs.get(name, 0)) for name, length in file.contigs.items()}
        _check_lengths(files, counted)

    def strand(self, number: int, contig: str) -> Counts:
        """Raw counts of the plus (0) or minus (1) strand on a contig, both positive."""
        return add_counts([signal.counts(contig) for signal in self.strands[number]])

    def counts(self, contig: str) -> tuple[Counts, Counts]:
        """Raw counts of both strands on a contig."""
        return self.strand(0, contig), self.strand(1, contig)


def _check_lengths(files: Sequence[Signal], counted: Callable[[str], bool]) -> None:
    """Raise DataError where a file that knows the length of a contig differs from another, or is exceeded by one."""
    known: dict[str, Signal] = {}
    for file in sorted(files, key=lambda file: not file.sized):
        for name in filter(counted, file.contigs):
            other = known.setdefault(name, file)
            length, expected = file.contigs[name], other.contigs[name]
            if other.sized and (length != expected if file.sized else length > expected):
                raise DataError(
                    f"{file.path}: {name} is {length} bp long, in {other.path} {expected} bp; "
                    "the strands must come from one genome"
                )


def add_counts(parts: Sequence[Counts]) -> Counts:
    """The sum of several sparse counts of one contig (runs of one library)."""
    if len(parts) == 1:
        return parts[0]
    positions, where = np.unique(np.concatenate([part.positions for part in parts]), return_inverse=True)
    counts = np.zeros(len(positions), np.int64)
    np.add.at(counts, where, np.concatenate([part.counts for part in parts]))
    return Counts(positions, counts)


class BedGraph:
    """A bedGraph of one strand: any order of rows, tabs or blanks, comment and track lines anywhere, with or without a header row.

    Rows whose value is NaN are no data; their number is logged. A file with nothing but comment and track lines is a strand
    without reads. Raises DataError, with the line, for any other row that is not contig, start, end and value.
    """

    sized = False

    def __init__(self, path: Path, text: bytes) -> None:
        self.path = path
        table = self._parse(text)
        if table is None:
            table = self._parse_lines()
        self._rows = dict(tuple(table.groupby("chrom", sort=False, observed=True)))
        self.contigs = {str(contig): int(rows["end"].max()) for contig, rows in self._rows.items()}
        self.empty = not self.contigs

    def _parse(self, text: bytes) -> "pd.DataFrame | None":
        """All rows at once; None when one of them needs a closer look."""
        import pandas as pd  # half a second that reading bigWig does not need

        types: dict[str, Any] = {
            "chrom": "category",
            "start": np.int64,
            "end": np.int64,
            "value": np.float64,
            "more": "category",
        }
        try:
            table = pd.read_csv(
                io.BytesIO(_NO_ROW.sub(b"", text)), sep=r"\s+", names=list(types), dtype=types, na_filter=False,
                index_col=False, quoting=csv.QUOTE_NONE,
            )  # fmt: skip
        except (ValueError, pd.errors.ParserError, UnicodeDecodeError):
            return None
        sound = (table["start"] >= 0) & (table["end"] > table["start"]) & (table["end"] <= LARGEST_POSITION)
        return table if sound.all() and (table["more"] == "").all() else None

    def _parse_lines(self) -> "pd.DataFrame":
        """Row by row, to name the one that is wrong."""
        import pandas as pd

        rows: list[tuple[str, int, int, float]] = []
        empty = 0
        for number, cells in data_lines(self.path):
            if not (rows or empty) and is_header(cells):
                continue
            start, end = interval(cells, self.path, number)
            if len(cells) != 4:
                raise DataError(
                    f"{self.path} line {number}: has {len(cells)} columns; a bedGraph has contig, start, end and value"
                )
            if start == end:
                raise DataError(f"{self.path} line {number}: the interval is empty; correct or drop it")
            if cells[3].lower() in _NO_DATA:
                empty += 1
                continue
            try:
                rows.append((cells[0], start, end, float(cells[3].replace("_", "x"))))
            except ValueError:
                raise DataError(f"{self.path} line {number}: the value '{cells[3]}' is not a number") from None
        if empty:
            log.warning("%s: %d rows have the value NaN and are no data", self.path, empty)
        return pd.DataFrame(rows, columns=["chrom", "start", "end", "value"])

    def intervals(self, contig: str) -> tuple[Ints, Ints, NDArray[np.float64]]:
        """Starts, ends and values of a contig in file order; none when it is absent."""
        if contig not in self._rows:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
        rows = self._rows[contig]
        return rows["start"].to_numpy(), rows["end"].to_numpy(), rows["value"].to_numpy()


def counts_of_intervals(
    path: Path, contig: str, starts: Ints, ends: Ints, values: NDArray[np.floating], length: int | None = None
) -> Counts:
    """Single-base counts of intervals; a strand stored as negative numbers becomes positive, zeros and NaN are no data.

    Raises DataError when a value is not a whole number (a normalised track) or too large, signs are mixed, intervals overlap
    or one is beyond the contig's ``length``.
    """
    known = ~np.isnan(values)
    starts, ends, values = starts[known], ends[known], values[known]
    whole = np.rint(values)
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(~(np.abs(values - whole) < _LIKE_A_FRACTION))
    if len(wrong):
        raise DataError(
            f"{path} {contig}:{starts[wrong[0]] + 1}: the value {values[wrong[0]]:.6g} is not a whole number; "
            "give raw 5'-end counts, not normalised (RPM) signal"
        )
    if len(whole) and whole.min() < 0 < whole.max():
        raise DataError(f"{path} {contig}: positive and negative values in one file; give one strand a file")
    keep = whole != 0
    starts, ends, whole = starts[keep], ends[keep], np.abs(whole[keep])
    if len(whole) and whole.max() > MOST_READS:
        raise DataError(
            f"{path} {contig}: {whole.max():.0f} reads at one base, more than can be counted ({MOST_READS:,})"
        )
    counts = whole.astype(np.int64)
    if np.any(starts[1:] < starts[:-1]):
        order = np.argsort(starts, kind="stable")
        starts, ends, counts = starts[order], ends[order], counts[order]
    overlap = np.flatnonzero(starts[1:] < ends[:-1])
    if len(overlap):
        raise DataError(f"{path} {contig}:{starts[overlap[0] + 1] + 1}: two intervals cover this base; merge them")
    if length is not None and len(ends) and ends[-1] > length:
        raise DataError(f"{path} {contig}:{ends[-1]}: beyond the end of the contig ({length} bp)")
    spans = ends - starts
    if np.all(spans == 1):
        return Counts(starts, counts)
    return Counts(concatenated_ranges(starts, spans), np.repeat(counts, spans))
