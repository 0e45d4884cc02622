"""Base-resolution signal on disk: bigWig in and out, bedGraph in, as sparse positions and raw counts.

bigWig is read and written here rather than through a library because 5'-end signal is sparse single bases: whole arrays
of positions go to and from the file's blocks without a Python object per value (format: Kent et al. 2010,
doi:10.1093/bioinformatics/btq351, supplementary tables). Positions are 0-based.
"""

import gzip
import io
import struct
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.intervals import concatenated_ranges, run_starts
from allelegro.io.atomic import atomic_path

if TYPE_CHECKING:
    import pandas as pd

_InflateError: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # the stub says instance, it is a class
_MAGIC, _CHROM_MAGIC, _INDEX_MAGIC = 0x888FFC26, 0x78CA8C91, 0x2468ACE0
_HEADER = struct.Struct("<IHHQQQHHQQIQ")
_ZOOM_HEADER = struct.Struct("<IIQQ")
_SUMMARY = struct.Struct("<Qdddd")
_CHROM_HEADER = struct.Struct("<IIIIQQ")
_INDEX_HEADER = struct.Struct("<IIQIIIIQII")
_NODE = struct.Struct("<BBH")
_SECTION = np.dtype(
    [("contig", "<u4"), ("start", "<u4"), ("end", "<u4"), ("step", "<u4"), ("span", "<u4"), ("kind", "u1"), ("_", "u1"),
     ("items", "<u2")]
)  # fmt: skip
_LEAF = np.dtype(
    [("contig", "<u4"), ("start", "<u4"), ("last_contig", "<u4"), ("end", "<u4"), ("offset", "<u8"), ("size", "<u8")]
)
_BRANCH = np.dtype([("contig", "<u4"), ("start", "<u4"), ("last_contig", "<u4"), ("end", "<u4"), ("offset", "<u8")])
_ZOOM = np.dtype(
    [("contig", "<u4"), ("start", "<u4"), ("end", "<u4"), ("bases", "<u4"), ("min", "<f4"), ("max", "<f4"),
     ("sum", "<f4"), ("sum_squares", "<f4")]
)  # fmt: skip
_BEDGRAPH, _VARIABLE_STEP, _FIXED_STEP = 1, 2, 3
_ITEMS_PER_BLOCK, _NODE_WIDTH = 1024, 256
# Browsers read raw blocks below twice the first reduction a pixel; sparse single bases need nothing finer than 256.
_REDUCTIONS = tuple(256 * 4**level for level in range(8))
PIECE = _REDUCTIONS[-1]
"""Contigs may be written in pieces that end at multiples of this many bases (4 Mi)."""


class Counts(NamedTuple):
    """Sparse counts of one contig: sorted 0-based positions and their counts > 0, both int64 of one length."""

    positions: NDArray[np.int64]
    counts: NDArray[np.int64]


class Signal(Protocol):
    """One strand's signal: contig lengths and, contig by contig, its raw counts."""

    path: Path
    contigs: dict[str, int]

    def counts(self, contig: str) -> Counts:
        """Raw counts of a contig (none when it is absent)."""


def open_signal(path: Path) -> Signal:
    """Open a bigWig, bedGraph or gzipped bedGraph by its content.

    Raises DataError when the file is missing, empty, truncated or neither format.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    with path.open("rb") as file:
        magic = file.read(4)
    if not magic:
        raise DataError(f"{path}: the file is empty; expected a bigWig or bedGraph")
    if magic == struct.pack("<I", _MAGIC):
        return BigWig(path)
    if magic == struct.pack(">I", _MAGIC):
        raise DataError(f"{path}: a big-endian bigWig is not supported; write it again with bedGraphToBigWig")
    return BedGraph(path)


class StrandPair:
    """The two strands of one library: the contigs of both and, contig by contig, raw counts of plus and minus.

    Raises DataError when a contig has two lengths or the files share no contig. A contig that only one file lists is empty
    on the other strand.
    """

    def __init__(self, plus: Path, minus: Path) -> None:
        self.plus, self.minus = open_signal(plus), open_signal(minus)
        ours, theirs = self.plus.contigs, self.minus.contigs
        if ours and theirs and not ours.keys() & theirs.keys():
            raise DataError(
                f"{plus} and {minus} share no contig ({next(iter(ours))} against {next(iter(theirs))}); "
                "the strands must come from one alignment"
            )
        if isinstance(self.plus, BigWig) and isinstance(self.minus, BigWig):
            for contig in ours.keys() & theirs.keys():
                if ours[contig] != theirs[contig]:
                    raise DataError(
                        f"{minus}: {contig} is {theirs[contig]} bp long, in {plus} {ours[contig]} bp; "
                        "the strands must come from one genome"
                    )
        self.contigs = {
            contig: max(ours.get(contig, 0), theirs.get(contig, 0)) for contig in dict.fromkeys([*ours, *theirs])
        }

    def counts(self, contig: str) -> tuple[Counts, Counts]:
        """Raw counts of the plus and the minus strand, both positive."""
        return self.plus.counts(contig), self.minus.counts(contig)


def add_counts(parts: Sequence[Counts]) -> Counts:
    """The sum of several sparse counts of one contig (runs of one library)."""
    if len(parts) == 1:
        return parts[0]
    positions, where = np.unique(np.concatenate([part.positions for part in parts]), return_inverse=True)
    counts = np.zeros(len(positions), np.int64)
    np.add.at(counts, where, np.concatenate([part.counts for part in parts]))
    return Counts(positions, counts)


# ---------------------------------------------------------------------------------------------------------- reading


class BigWig:
    """A bigWig for reading: ``contigs`` (name to length) and each contig's intervals or raw counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._read_structure()
        except (struct.error, ValueError, UnicodeDecodeError, IndexError):
            raise self._broken() from None

    def _broken(self) -> DataError:
        return DataError(f"{self.path}: not a complete bigWig (damaged or truncated); copy or write it again")

    def _read_structure(self) -> None:
        with self.path.open("rb") as file:
            header = _HEADER.unpack(file.read(_HEADER.size))
            zooms = list(_ZOOM_HEADER.iter_unpack(file.read(header[2] * _ZOOM_HEADER.size)))
            if len(zooms) < header[2] or any(zoom[3] >= file.seek(0, io.SEEK_END) for zoom in zooms):
                raise ValueError
            chrom_offset, index_offset, self._compressed = header[3], header[5], header[10] > 0
            file.seek(chrom_offset)
            magic, _, key_size, _, count, _ = _CHROM_HEADER.unpack(file.read(_CHROM_HEADER.size))
            if magic != _CHROM_MAGIC or key_size == 0:
                raise ValueError
            ids = dict(_walk_contigs(file, file.tell(), key_size)) if count else {}
            self._ids = {name: contig for name, (contig, _) in ids.items()}
            self.contigs = {name: length for name, (_, length) in sorted(ids.items(), key=lambda item: item[1][0])}
            file.seek(index_offset)
            index = _INDEX_HEADER.unpack(file.read(_INDEX_HEADER.size))
            if index[0] != _INDEX_MAGIC:
                raise ValueError
            leaves = list(_walk_index(file, file.tell())) if index[2] else []
        self._blocks = np.concatenate(leaves) if leaves else np.empty(0, _LEAF)

    def intervals(self, contig: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Starts, ends (0-based, half-open) and values of a contig's intervals in file order."""
        starts, ends, values = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        number = self._ids.get(contig, -1)
        first = np.searchsorted(self._blocks["last_contig"], number)  # blocks lie in the order of contigs
        last = np.searchsorted(self._blocks["contig"], number, "right")
        with self.path.open("rb") as file:
            for block in self._blocks[first:last]:
                file.seek(int(block["offset"]))
                raw = file.read(int(block["size"]))
                try:
                    data = isal_zlib.decompress(raw) if self._compressed else raw
                    section, start, end, value = _decode_block(data)
                except (_InflateError, ValueError, IndexError):
                    raise self._broken() from None
                if section == number:
                    starts.append(start)
                    ends.append(end)
                    values.append(value)
        return np.concatenate(starts), np.concatenate(ends), np.concatenate(values)

    def counts(self, contig: str) -> Counts:
        """Raw counts of a contig; see :func:`counts_of_intervals` for what is refused."""
        return counts_of_intervals(self.path, contig, *self.intervals(contig), self.contigs.get(contig))


def _walk_contigs(file: IO[bytes], offset: int, key_size: int) -> Iterator[tuple[str, tuple[int, int]]]:
    file.seek(offset)
    leaf, _, count = _NODE.unpack(file.read(_NODE.size))
    fields = [("name", f"S{key_size}"), *([("id", "<u4"), ("length", "<u4")] if leaf else [("child", "<u8")])]
    dtype = np.dtype(fields)
    items = np.frombuffer(file.read(count * dtype.itemsize), dtype, count)
    for item in items:
        if leaf:
            yield item["name"].decode(), (int(item["id"]), int(item["length"]))
        else:
            yield from _walk_contigs(file, int(item["child"]), key_size)


def _walk_index(file: IO[bytes], offset: int) -> Iterator[NDArray[np.void]]:
    file.seek(offset)
    leaf, _, count = _NODE.unpack(file.read(_NODE.size))
    dtype = _LEAF if leaf else _BRANCH
    items = np.frombuffer(file.read(count * dtype.itemsize), dtype, count)
    if leaf:
        yield items
    else:
        for item in items:
            yield from _walk_index(file, int(item["offset"]))


def _decode_block(data: bytes) -> tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    section = np.frombuffer(data, _SECTION, 1)[0]
    count, body = int(section["items"]), data[_SECTION.itemsize :]
    if section["kind"] == _BEDGRAPH:
        items = np.frombuffer(body, "<u4", 3 * count).reshape(-1, 3)
        start, end, value = items[:, 0].astype(np.int64), items[:, 1].astype(np.int64), items[:, 2]
    elif section["kind"] == _VARIABLE_STEP:
        items = np.frombuffer(body, "<u4", 2 * count).reshape(-1, 2)
        start, value = items[:, 0].astype(np.int64), items[:, 1]
        end = start + int(section["span"])
    elif section["kind"] == _FIXED_STEP:
        value = np.frombuffer(body, "<u4", count)
        start = int(section["start"]) + int(section["step"]) * np.arange(count, dtype=np.int64)
        end = start + int(section["span"])
    else:
        raise ValueError
    return int(section["contig"]), start, end, np.ascontiguousarray(value).view(np.float32)


class BedGraph:
    """A bedGraph (plain or gzipped, any order of contigs) for reading; contig lengths are the last covered base."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
                text = file.read()
        except (EOFError, zlib.error):
            raise DataError(f"{path}: the gzip stream ends early; the file is truncated, copy it again") from None
        except OSError as error:
            raise DataError(f"{path}: not readable as gzip ({error})") from None
        table = self._parse(text)
        self._rows = dict(tuple(table.groupby("chrom", sort=False, observed=True)))
        self.contigs = {str(contig): int(rows["end"].max()) for contig, rows in self._rows.items()}

    def _parse(self, text: bytes) -> "pd.DataFrame":
        import pandas as pd  # half a second that reading bigWig does not need

        skipped = 0
        while text[:5] in (b"track", b"brows") or text[:1] == b"#":
            text, skipped = text.partition(b"\n")[2], skipped + 1
        types = {"chrom": "category", "start": np.int64, "end": np.int64, "value": np.float64}
        if not text.strip():
            raise DataError(f"{self.path}: the bedGraph has no rows")
        try:
            table = pd.read_csv(io.BytesIO(text), sep=r"\s+", names=list(types), dtype=types, na_filter=False)  # type: ignore[arg-type]
        except (ValueError, pd.errors.ParserError, UnicodeDecodeError) as error:
            raise DataError(
                f"{self.path}: neither a bigWig nor a bedGraph of contig, start, end and value ({error})"
            ) from None
        wrong = np.flatnonzero((table["start"] < 0) | (table["end"] <= table["start"]))
        if len(wrong):
            raise DataError(f"{self.path} line {skipped + wrong[0] + 1}: the interval is empty or negative")
        return table

    def counts(self, contig: str) -> Counts:
        """Raw counts of a contig; see :func:`counts_of_intervals` for what is refused."""
        rows = self._rows.get(contig)
        if rows is None:
            return Counts(np.empty(0, np.int64), np.empty(0, np.int64))
        starts, ends = rows["start"].to_numpy(), rows["end"].to_numpy()
        return counts_of_intervals(self.path, contig, starts, ends, rows["value"].to_numpy())


def counts_of_intervals(
    path: Path,
    contig: str,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    values: NDArray[np.float32] | NDArray[np.float64],
    length: int | None = None,
) -> Counts:
    """Single-base counts of intervals; a strand stored as negative numbers becomes positive, zeros are left out.

    Raises DataError when a value is not a whole number (a normalised track), signs are mixed, or intervals overlap.
    """
    whole = np.rint(values)
    wrong = np.flatnonzero(~(np.abs(values - whole) < 1e-3))
    if len(wrong):
        raise DataError(
            f"{path} {contig}:{starts[wrong[0]] + 1}: the value {values[wrong[0]]:.6g} is not a whole number; "
            "give raw 5'-end counts, not normalised (RPM) signal"
        )
    if len(whole) and whole.min() < 0 < whole.max():
        raise DataError(f"{path} {contig}: positive and negative values in one file; give one strand a file")
    keep = whole != 0
    starts, ends, counts = starts[keep], ends[keep], np.abs(whole[keep]).astype(np.int64)
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


# ---------------------------------------------------------------------------------------------------------- writing


@dataclass
class _Index:
    """The blocks of one level of the file and where they lie."""

    blocks: list[tuple[int, int, int, int, int]]  # contig, start, end, offset, size

    def array(self, shift: int) -> NDArray[np.void]:
        leaves = np.zeros(len(self.blocks), _LEAF)
        if self.blocks:
            contig, start, end, offset, size = np.array(self.blocks, np.int64).T
            leaves["contig"], leaves["last_contig"], leaves["start"], leaves["end"] = contig, contig, start, end
            leaves["offset"], leaves["size"] = offset + shift, size
        return leaves


class BigWigWriter:
    """Writes a bigWig contig by contig from sparse single-base values, holding one contig. Made by :meth:`create`."""

    def __init__(self, file: IO[bytes], zooms: Sequence[IO[bytes]], contigs: Mapping[str, int]) -> None:
        self._file, self._zooms, self._contigs = file, zooms, dict(contigs)
        self._ids = {name: number for number, name in enumerate(self._contigs)}
        self._lengths = list(self._contigs.values())
        self._last = (-1, -1)
        self._records = [0] * len(zooms)
        self._data, self._zoom_index = _Index([]), [_Index([]) for _ in zooms]
        self._bases, self._sum, self._squares, self._min, self._max = 0, 0.0, 0.0, np.inf, -np.inf
        self._summary_at = _HEADER.size + _ZOOM_HEADER.size * len(zooms)
        file.write(bytes(self._summary_at + _SUMMARY.size))
        self._chroms_at = file.tell()
        _write_contigs(file, self._contigs)
        self._data_at = file.tell()
        file.write(bytes(8))

    @classmethod
    @contextmanager
    def create(cls, path: Path, contigs: Mapping[str, int]) -> Iterator["BigWigWriter"]:
        """Open ``path`` for writing; the file appears under its name only when the ``with`` block succeeds.

        ``contigs`` gives names and lengths in the order in which :meth:`add` will be called; contigs may be skipped.
        """
        with ExitStack() as stack:
            partial = stack.enter_context(atomic_path(path))
            zooms = [stack.enter_context(tempfile.TemporaryFile(dir=path.parent)) for _ in _REDUCTIONS]
            with partial.open("wb") as file:
                writer = cls(file, zooms, contigs)
                yield writer
                writer._finish()

    def add(self, contig: str, positions: NDArray[np.int64], values: NDArray[np.generic]) -> None:
        """Add a contig's values at sorted, distinct 0-based positions, or its next piece (pieces end at :data:`PIECE`)."""
        number = self._ids[contig]
        if not len(positions):
            return
        here = (number, int(positions[0]) // PIECE)
        if here <= self._last:
            raise ValueError(f"{contig} piece {here[1]} comes after {self._last}")
        self._last = (number, int(positions[-1]) // PIECE)
        if positions[0] < 0 or positions[-1] >= self._contigs[contig]:
            raise ValueError(f"position outside of {contig}")
        self._write_items(number, positions, values.astype("<f4"))
        self._write_zooms(number, positions, values.astype(np.float64))

    def _write_items(self, number: int, positions: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        items = np.empty((len(positions), 2), "<u4")
        items[:, 0], items[:, 1] = positions, values.view("<u4")
        for low in range(0, len(items), _ITEMS_PER_BLOCK):
            block = items[low : low + _ITEMS_PER_BLOCK]
            start, end = int(block[0, 0]), int(block[-1, 0]) + 1
            section = np.array([(number, start, end, 0, 1, _VARIABLE_STEP, 0, len(block))], _SECTION)
            packed = isal_zlib.compress(section.tobytes() + block.tobytes(), 1)
            self._data.blocks.append((number, start, end, self._file.tell(), len(packed)))
            self._file.write(packed)

    def _write_zooms(self, number: int, positions: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        length = self._lengths[number]
        starts, bases = positions, np.ones(len(positions))
        low, high, total, squares = values, values, values, values * values
        self._bases += len(positions)
        self._sum, self._squares = self._sum + float(total.sum()), self._squares + float(squares.sum())
        self._min, self._max = min(self._min, float(low.min())), max(self._max, float(high.max()))
        for level, reduction in enumerate(_REDUCTIONS):
            bins = starts // reduction
            cut = run_starts(bins)
            starts, bases = bins[cut] * reduction, np.add.reduceat(bases, cut)
            low, high = np.minimum.reduceat(low, cut), np.maximum.reduceat(high, cut)
            total, squares = np.add.reduceat(total, cut), np.add.reduceat(squares, cut)
            records = np.empty(len(starts), _ZOOM)
            records["contig"], records["start"] = number, starts
            records["end"], records["bases"] = np.minimum(starts + reduction, length), bases
            records["min"], records["max"], records["sum"], records["sum_squares"] = low, high, total, squares
            self._spool_zoom(level, number, records)

    def _spool_zoom(self, level: int, number: int, records: NDArray[np.void]) -> None:
        file = self._zooms[level]
        self._records[level] += len(records)
        for first in range(0, len(records), _ITEMS_PER_BLOCK):
            block = records[first : first + _ITEMS_PER_BLOCK]
            packed = isal_zlib.compress(block.tobytes(), 1)
            start, end = int(block["start"][0]), int(block["end"][-1])
            self._zoom_index[level].blocks.append((number, start, end, file.tell(), len(packed)))
            file.write(packed)

    def _finish(self) -> None:
        file = self._file
        index_at = file.tell()
        _write_index(file, self._data.array(0))
        zooms = []
        for reduction, spool, records, index in zip(
            _REDUCTIONS, self._zooms, self._records, self._zoom_index, strict=True
        ):
            data_at = file.tell()
            file.write(struct.pack("<I", records))
            spool.seek(0)
            while chunk := spool.read(1 << 20):
                file.write(chunk)
            zooms.append(_ZOOM_HEADER.pack(reduction, 0, data_at, file.tell()))
            _write_index(file, index.array(data_at + 4))
        file.write(struct.pack("<I", _MAGIC))
        file.seek(0)
        buffer = max(_SECTION.itemsize + 8 * _ITEMS_PER_BLOCK, _ZOOM.itemsize * _ITEMS_PER_BLOCK)
        file.write(
            _HEADER.pack(
                _MAGIC, 4, len(zooms), self._chroms_at, self._data_at, index_at, 0, 0, 0, self._summary_at, buffer, 0
            )
        )
        file.write(b"".join(zooms))
        low, high = (self._min, self._max) if self._bases else (0.0, 0.0)
        file.write(_SUMMARY.pack(self._bases, low, high, self._sum, self._squares))
        file.seek(self._data_at)
        file.write(struct.pack("<Q", len(self._data.blocks)))


def _write_contigs(file: IO[bytes], contigs: Mapping[str, int]) -> None:
    """The contig tree: names sorted by bytes, as many levels as nodes of 256 need."""
    names = sorted((name.encode(), number, length) for number, (name, length) in enumerate(contigs.items()))
    key_size = max((len(name) for name, _, _ in names), default=1)
    file.write(_CHROM_HEADER.pack(_CHROM_MAGIC, _NODE_WIDTH, key_size, 8, len(names), 0))
    leaf = np.dtype([("name", f"S{key_size}"), ("id", "<u4"), ("length", "<u4")])
    branch = np.dtype([("name", f"S{key_size}"), ("offset", "<u8")])
    _write_tree(file, np.array(names, leaf), branch)


def _write_index(file: IO[bytes], leaves: NDArray[np.void]) -> None:
    """The R tree over sorted, non-overlapping blocks."""
    first, last = (leaves[0], leaves[-1]) if len(leaves) else (np.zeros(1, _LEAF)[0],) * 2
    file.write(
        _INDEX_HEADER.pack(
            _INDEX_MAGIC, _NODE_WIDTH, len(leaves), int(first["contig"]), int(first["start"]), int(last["last_contig"]),
            int(last["end"]), file.tell(), _ITEMS_PER_BLOCK, 0,
        )
    )  # fmt: skip
    _write_tree(file, leaves, _BRANCH)


def _write_tree(file: IO[bytes], leaves: NDArray[np.void], branch: np.dtype[np.void]) -> None:
    """Write a tree of nodes of up to 256 items, root first; both of bigWig's trees share this layout."""
    levels = [leaves]
    while len(levels[0]) > _NODE_WIDTH:
        below = levels[0]
        heads = np.arange(0, len(below), _NODE_WIDTH)
        tails = np.minimum(heads + _NODE_WIDTH, len(below)) - 1
        above = np.zeros(len(heads), branch)
        for field in branch.names or ():
            if field != "offset":
                above[field] = below[field][tails if field in ("last_contig", "end") else heads]
        levels.insert(0, above)
    at = file.tell()
    for depth, items in enumerate(levels):
        nodes = max(1, -(-len(items) // _NODE_WIDTH))
        below_at = at + nodes * _NODE.size + items.nbytes
        leaf = depth == len(levels) - 1
        if not leaf:
            child = levels[depth + 1]
            items["offset"] = below_at + np.arange(len(items)) * (_NODE.size + _NODE_WIDTH * child.dtype.itemsize)
        for low in range(0, max(1, len(items)), _NODE_WIDTH):
            node = items[low : low + _NODE_WIDTH]
            file.write(_NODE.pack(leaf, 0, len(node)) + node.tobytes())
        at = below_at


@contextmanager
def stranded_writers(
    plus: Path, minus: Path, contigs: Mapping[str, int]
) -> Iterator[tuple[BigWigWriter, BigWigWriter]]:
    """Writers of a strand pair: both files appear, or neither."""
    with BigWigWriter.create(plus, contigs) as plus_writer, BigWigWriter.create(minus, contigs) as minus_writer:
        yield plus_writer, minus_writer


def write_bigwig(path: Path, contigs: Mapping[str, int], counts: Mapping[str, Counts]) -> None:
    """Write a whole bigWig from the sparse counts of its contigs."""
    with BigWigWriter.create(path, contigs) as writer:
        for contig in contigs:
            if contig in counts:
                writer.add(contig, *counts[contig])
