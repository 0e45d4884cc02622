"""bigWig in and out as whole arrays (format: Kent et al. 2010, doi:10.1093/bioinformatics/btq351, supplementary tables).

Written by hand rather than through a library because 5'-end signal is sparse single bases: two files of 2.0 million
positions are written in 0.2 s, by pybigtools in 1.6 s and by pyBigWig in 2.1 s (docs/benchmarks.md). Positions are 0-based.
"""

import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.intervals import Ints, run_starts
from allelegro.io.atomic import atomic_path
from allelegro.io.bed import LARGEST_POSITION
from allelegro.io.bgzf import InflateError

_MAGIC, _CHROM_MAGIC, _INDEX_MAGIC = 0x888FFC26, 0x78CA8C91, 0x2468ACE0
MAGIC, BIG_ENDIAN_MAGIC = struct.pack("<I", _MAGIC), struct.pack(">I", _MAGIC)
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
_LARGEST_BLOCK = 1 << 20  # bytes of 65,535 items, the most that a block can hold
EXACT = 1 << 24
"""Whole numbers up to here are exact in a bigWig, which holds 32-bit floats."""
ZOOM_IN_MEMORY = 1 << 20
"""Bytes of a zoom level that wait in memory; small files make no temporary ones."""
PIECE = _REDUCTIONS[-1]
"""Contigs may be written in pieces that end at multiples of this many bases (4 Mi)."""


# ---------------------------------------------------------------------------------------------------------- reading


class BigWig:
    """A bigWig for reading: ``contigs`` (name to length) and each contig's intervals.

    Raises DataError, here or when reading, for a file that is damaged, truncated or has contigs of 2 Gb and more.
    """

    sized = True

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._read_structure(file, path.stat().st_size)
        except (struct.error, ValueError, OverflowError):
            raise self._broken() from None
        longest = max(self.contigs.values(), default=0)
        if longest > LARGEST_POSITION:
            raise DataError(f"{path}: a contig of {longest:,} bp; at most {LARGEST_POSITION:,} bp are supported")

    def _broken(self) -> DataError:
        return DataError(f"{self.path}: not a complete bigWig (damaged or truncated); copy or write it again")

    def _read_structure(self, file: IO[bytes], size: int) -> None:
        header = _HEADER.unpack(file.read(_HEADER.size))
        _check(header[0] == _MAGIC)
        zooms = list(_ZOOM_HEADER.iter_unpack(file.read(header[2] * _ZOOM_HEADER.size)))
        _check(len(zooms) == header[2] and all(zoom[3] < size for zoom in zooms))
        chrom_offset, index_offset, self._compressed = header[3], header[5], header[10] > 0
        _check(max(chrom_offset, index_offset) < size)
        file.seek(chrom_offset)
        magic, _, key_size, _, count, _ = _CHROM_HEADER.unpack(file.read(_CHROM_HEADER.size))
        _check(magic == _CHROM_MAGIC and 0 < key_size <= _LARGEST_BLOCK)
        items = _read_tree(file, size, *_contig_items(key_size)) if count else np.empty(0, _contig_items(1)[0])
        items = items[np.argsort(items["id"], kind="stable")]
        self.contigs = {item["name"].decode(): int(item["length"]) for item in items}
        self._ids = dict(zip(self.contigs, items["id"].tolist(), strict=True))
        file.seek(index_offset)
        index = _INDEX_HEADER.unpack(file.read(_INDEX_HEADER.size))
        _check(index[0] == _INDEX_MAGIC)
        self._blocks = _read_tree(file, size, _LEAF, _BRANCH) if index[2] else np.empty(0, _LEAF)
        self.empty = not len(self._blocks)
        contig, offset, length = (self._blocks[field] for field in ("contig", "offset", "size"))
        _check(np.all(np.diff(contig.astype(np.int64)) >= 0))
        _check(np.all((offset < size) & (length < size)) and np.all(offset + length <= size))

    def intervals(self, contig: str) -> tuple[Ints, Ints, NDArray[np.float32]]:
        """Starts, ends (0-based, half-open) and values of a contig's intervals in file order; none when it is absent."""
        starts, ends, values = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        number = self._ids.get(contig, -1)
        first = np.searchsorted(self._blocks["last_contig"], number)  # blocks are in the order of contigs
        last = np.searchsorted(self._blocks["contig"], number, "right")
        with self.path.open("rb") as file:
            for block in self._blocks[first:last]:
                file.seek(int(block["offset"]))
                data = file.read(int(block["size"]))
                try:
                    if self._compressed:
                        data = isal_zlib.decompressobj().decompress(data, _LARGEST_BLOCK)
                    section, start, end, value = _decode_block(data)
                    _check(np.all(end > start))
                except (InflateError, ValueError):
                    raise self._broken() from None
                if section == number:
                    starts.append(start)
                    ends.append(end)
                    values.append(value)
        return np.concatenate(starts), np.concatenate(ends), np.concatenate(values)


def _check(sound: object) -> None:
    if not sound:
        raise ValueError


def _contig_items(key_size: int) -> tuple[np.dtype[np.void], np.dtype[np.void]]:
    """Leaf and branch items of the contig tree."""
    name = ("name", f"S{key_size}")
    return np.dtype([name, ("id", "<u4"), ("length", "<u4")]), np.dtype([name, ("offset", "<u8")])


def _read_tree(file: IO[bytes], size: int, leaf: np.dtype[np.void], branch: np.dtype[np.void]) -> NDArray[np.void]:
    """The leaf items, in order, of the tree that begins at the file's position; both of bigWig's trees share this layout."""
    waiting, seen, leaves = [file.tell()], set[int](), [np.empty(0, leaf)]
    while waiting:
        at = waiting.pop()
        _check(at < size and at not in seen)
        seen.add(at)
        file.seek(at)
        is_leaf, _, count = _NODE.unpack(file.read(_NODE.size))
        kind = leaf if is_leaf else branch
        items = np.frombuffer(file.read(count * kind.itemsize), kind, count)
        if is_leaf:
            leaves.append(items)
        else:
            waiting += items["offset"][::-1].tolist()
    return np.concatenate(leaves)


def _decode_block(data: bytes) -> tuple[int, Ints, Ints, NDArray[np.float32]]:
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


# ---------------------------------------------------------------------------------------------------------- writing


@dataclass
class _Index:
    """The blocks of one level of the file and where they are."""

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
            zooms: list[IO[bytes]] = [
                stack.enter_context(tempfile.SpooledTemporaryFile(ZOOM_IN_MEMORY, dir=str(path.parent)))
                for _ in _REDUCTIONS
            ]
            with partial.open("wb") as file:
                writer = cls(file, zooms, contigs)
                yield writer
                writer._finish()

    def add(self, contig: str, positions: Ints, values: NDArray[np.generic]) -> None:
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
        if values.max() > EXACT and np.any(inexact := values.astype("<f4").astype(np.float64) != values):
            at = int(np.argmax(inexact))
            raise DataError(
                f"{contig}:{positions[at] + 1}: {values[at]:,} reads at one base; a bigWig holds whole numbers exactly up to "
                f"{EXACT:,} only; exclude the place with --blacklist"
            )
        self._write_items(number, positions, values.astype("<f4"))
        self._write_zooms(number, positions, values.astype(np.float64))

    def _write_items(self, number: int, positions: Ints, values: NDArray[np.float32]) -> None:
        items = np.empty((len(positions), 2), "<u4")
        items[:, 0], items[:, 1] = positions, values.view("<u4")
        for low in range(0, len(items), _ITEMS_PER_BLOCK):
            block = items[low : low + _ITEMS_PER_BLOCK]
            start, end = int(block[0, 0]), int(block[-1, 0]) + 1
            section = np.array([(number, start, end, 0, 1, _VARIABLE_STEP, 0, len(block))], _SECTION)
            packed = _packed(section.tobytes() + block.tobytes())
            self._data.blocks.append((number, start, end, self._file.tell(), len(packed)))
            self._file.write(packed)

    def _write_zooms(self, number: int, positions: Ints, values: NDArray[np.float64]) -> None:
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
            packed = _packed(block.tobytes())
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


def _packed(data: bytes) -> bytes:
    """A compressed block. Level 1 of this library, as fast, gives other bytes for the same data in one process of a hundred."""
    packer = isal_zlib.compressobj(2)
    packed: bytes = packer.compress(data) + packer.flush()
    return packed


def _write_contigs(file: IO[bytes], contigs: Mapping[str, int]) -> None:
    """The contig tree: names sorted by bytes, as many levels as nodes of 256 need."""
    names = sorted((name.encode(), number, length) for number, (name, length) in enumerate(contigs.items()))
    key_size = max((len(name) for name, _, _ in names), default=1)
    file.write(_CHROM_HEADER.pack(_CHROM_MAGIC, _NODE_WIDTH, key_size, 8, len(names), 0))
    leaf, branch = _contig_items(key_size)
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
    """Write a tree of nodes of up to 256 items, root first."""
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


def write_bigwig(path: Path, contigs: Mapping[str, int], counts: Mapping[str, tuple[Ints, Ints]]) -> None:
    """Write a whole bigWig from the sparse counts (positions and values) of its contigs."""
    with BigWigWriter.create(path, contigs) as writer:
        for contig in contigs:
            if contig in counts:
                writer.add(contig, *counts[contig])
