"""Indexed FASTA, plain or bgzip-compressed, read as DNA codes; a stale index is found on opening."""

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import numpy as np
import pysam
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.io.dna import encode_reference

BGZF_MAGIC = b"\x1f\x8b\x08\x04"


class Fasta:
    """A genome: contig lengths and random access to codes.

    Raises DataError on opening when the file or its ``.fai`` (``.gzi`` too for bgzip) is missing, empty, truncated
    or does not describe this file.
    """

    def __init__(self, path: Path) -> None:
        _require(path, "check the path")
        index = Path(f"{path}.fai")
        _require(index, f"make it with: samtools faidx {path}")
        self.path = path
        _check_index(path, _read_index(index))
        try:
            self._handle = pysam.FastaFile(str(path))
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: not a readable FASTA ({error}); plain or bgzip-compressed is needed") from None
        self.lengths: dict[str, int] = dict(zip(self._handle.references, self._handle.lengths, strict=True))

    def codes(self, chrom: str, start: int, end: int) -> NDArray[np.uint8]:
        """Codes of ``chrom:[start, end)`` (0-based, half-open), shape ``(end - start,)``.

        Raises DataError when the contig is absent or the interval leaves it.
        """
        length = self.lengths.get(chrom)
        if length is None:
            raise DataError(f"{self.path}: no contig {chrom}; {contig_hint([chrom], self.lengths)}")
        if not 0 <= start <= end <= length:
            raise DataError(f"{self.path}: {chrom}:{start + 1}-{end} leaves the contig, which has {length} bp")
        sequence = self._handle.fetch(chrom, start, end)
        if len(sequence) != end - start:
            raise DataError(f"{self.path}: {chrom}:{start + 1}-{end} cannot be read; the file is truncated")
        return encode_reference(sequence)

    def close(self) -> None:
        """Close the file."""
        self._handle.close()

    def __enter__(self) -> "Fasta":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def contig_hint(wanted: Iterable[str], present: Iterable[str]) -> str:
    """What to do about contigs that are absent: recognises ``chr1`` against ``1``."""
    wanted, present = list(wanted), list(present)
    bare = {name.removeprefix("chr") for name in present}
    if any(name.removeprefix("chr") in bare for name in wanted):
        return (
            f"names differ by the prefix chr (here {wanted[0]}, there {present[0]}); "
            "use one naming, for example with bcftools annotate --rename-chrs"
        )
    return f"it has {', '.join(present[:5]) or 'none'}{' …' if len(present) > 5 else ''}"


def check_contigs(wanted: Iterable[str], what: str, present: Iterable[str], path: Path) -> None:
    """Raise DataError when a contig used by ``what`` (a file name) is not among those ``present`` in ``path``."""
    present = list(present)
    missing = [name for name in dict.fromkeys(wanted) if name not in set(present)]
    if missing:
        raise DataError(f"{what}: contig {missing[0]} is not in {path}; {contig_hint(missing, present)}")


def _require(path: Path, advice: str) -> None:
    if not path.is_file():
        raise DataError(f"{path}: no such file; {advice}")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty; {advice}")


def _read_index(index: Path) -> list[tuple[str, int, int, int, int]]:
    rows = []
    for number, line in enumerate(index.read_text().splitlines(), 1):
        fields = line.split("\t")
        try:
            name, (length, offset, bases, stride) = fields[0], map(int, fields[1:5])
        except ValueError:
            raise DataError(f"{index} row {number}: not a FASTA index; make it again with samtools faidx") from None
        rows.append((name, length, offset, bases, stride))
    return rows


def _check_index(path: Path, rows: list[tuple[str, int, int, int, int]]) -> None:
    """Compare the index with the file at a few places of every contig: cheap, and independent of time stamps."""
    read = _BgzipBytes(path) if path.open("rb").read(4) == BGZF_MAGIC else _PlainBytes(path)
    stale = f"{path}.fai: stale index, it does not fit {path.name} at contig %s; make it again: samtools faidx {path}"
    for name, length, offset, bases, stride in rows:
        header = f">{name}"
        before = read(max(0, offset - 4096), min(offset, 4096))
        if not before.endswith(b"\n") or before.rsplit(b"\n", 2)[-2].split()[:1] != [header.encode()]:
            raise DataError(stale % name)
        if length == 0:
            continue
        last = offset + (length - 1) // bases * stride + (length - 1) % bases
        first_break = read(offset + bases, 1) if length > bases else b"\n"
        tail = read(last, 4)
        if first_break not in b"\r\n" or not tail[:1].isalpha() or tail[1:].lstrip(b"\r\n")[:1] not in (b"", b">"):
            raise DataError(stale % name)


class _PlainBytes:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, offset: int, size: int) -> bytes:
        with self.path.open("rb") as handle:
            handle.seek(offset)
            return handle.read(size)


class _BgzipBytes:
    """Bytes of the uncompressed stream by way of the ``.gzi`` index."""

    def __init__(self, path: Path) -> None:
        index = Path(f"{path}.gzi")
        _require(index, f"make it with: samtools faidx {path}")
        raw = index.read_bytes()
        (n,) = struct.unpack_from("<Q", raw)
        if len(raw) != 8 + 16 * n:
            raise DataError(f"{index}: not a bgzip index; make it again with: samtools faidx {path}")
        table = np.frombuffer(raw, "<u8", offset=8).reshape(-1, 2)
        self.blocks = np.vstack([np.zeros((1, 2), np.uint64), table]).astype(np.int64)
        self.path, self.index = path, index

    def __call__(self, offset: int, size: int) -> bytes:
        block = int(np.searchsorted(self.blocks[:, 1], offset, "right")) - 1
        skip = offset - int(self.blocks[block, 1])
        found = b""
        with self.path.open("rb") as handle:
            handle.seek(int(self.blocks[block, 0]))
            data = handle.read((skip + size) // 65280 * 65536 + 3 * 65536)
        while len(found) < skip + size and data:
            stream = zlib.decompressobj(wbits=31)
            try:
                found += stream.decompress(data)
            except zlib.error:
                raise DataError(f"{self.index}: stale index; make it again with: samtools faidx {self.path}") from None
            data = stream.unused_data
        return found[skip : skip + size]
