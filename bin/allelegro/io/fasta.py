"""FASTA, plain or bgzip-compressed, read by pyfaidx as DNA codes; a stale index is found on opening.

The index is that of ``samtools faidx``: alongside the file or, for a symbolic link, alongside the file that it points to;
where there is none it is made. What is compressed is told by content, never by name.
"""

import bisect
import contextlib
import os
import struct
import tempfile
import warnings
import zlib
from pathlib import Path
from types import TracebackType

import numpy as np
import pyfaidx
import pysam
from numpy.typing import NDArray
from pysam.utils import SamtoolsError

from allelegro.errors import DataError
from allelegro.io import bgzf
from allelegro.io.atomic import atomic_path
from allelegro.io.contigs import contig_hint
from allelegro.io.dna import encode_reference

GZIP_MAGIC = b"\x1f\x8b"
# What pyfaidx and its bgzip reader raise on bytes that are no index, or an index of another file.
_UNREADABLE = (
    OSError, ValueError, TypeError, LookupError, AssertionError, ArithmeticError, RuntimeError, zlib.error, struct.error,
    pyfaidx.FastaIndexingError,
)  # fmt: skip
READ_BEFORE = 4096  # bytes before a contig's first base that surely hold the end of its name line


class Fasta:
    """A genome: contig ``lengths`` (bp) and random access to codes.

    Raises DataError on opening when the file is missing, empty, truncated or gzip but not bgzip, when it has no index
    (``.fai``, and ``.gzi`` for bgzip) and none can be made, or when the index does not describe this file.
    """

    def __init__(self, path: Path) -> None:
        _require(path, "check the path")
        self.path = path
        compressed = _is_bgzip(path)
        self.index = find_index(path, compressed)
        self._handle = _open(path, self.index, compressed)
        self.lengths: dict[str, int] = {name: record.rlen for name, record in self._handle.index.items()}
        try:
            _check_index(path, self.index, self._handle)
        except DataError:
            self.close()
            raise

    def codes(self, chrom: str, start: int, end: int) -> NDArray[np.uint8]:
        """Codes of ``chrom:[start, end)`` (0-based, half-open), shape ``(end - start,)``; IUPAC letters as VCF has them.

        Raises DataError when the contig is absent or the interval leaves it.
        """
        length = self.lengths.get(chrom)
        if length is None:
            raise DataError(f"{self.path}: no contig {chrom}; {contig_hint([chrom], self.lengths)}")
        if not 0 <= start <= end <= length:
            raise DataError(f"{self.path}: {chrom}:{start + 1}-{end} leaves the contig, which has {length} bp")
        try:
            sequence = self._handle.fetch(chrom, start + 1, end) if end > start else ""
        except _UNREADABLE:
            sequence = ""
        if len(sequence) != end - start:
            raise DataError(f"{self.path}: {chrom}:{start + 1}-{end} cannot be read; the file is truncated or damaged")
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


def find_index(path: Path, compressed: bool) -> Path:
    """The ``.fai`` of a FASTA: alongside it, alongside a file that it is a link to, or made now alongside it.

    Raises DataError when there is none and it cannot be made.
    """
    here = path
    while True:
        index = Path(f"{here}.fai")
        if index.is_file() and (not compressed or Path(f"{here}.gzi").is_file()):
            _require(index, f"make it with: samtools faidx {path}")
            return index
        if not here.is_symlink():
            return _make_index(path, compressed)
        here = here.parent / here.readlink()


def _make_index(path: Path, compressed: bool) -> Path:
    """``samtools faidx``, whole or not at all, as several tasks may make it at once."""
    advice = f"make it with: samtools faidx {path}"
    if not os.access(path.parent, os.W_OK):
        raise DataError(f"{path}.fai: no such file; {advice}")
    suffixes = (".gzi", ".fai") if compressed else (".fai",)
    quiet = pysam.set_verbosity(0)
    try:
        with contextlib.ExitStack() as stack:
            partial = {
                suffix: stack.enter_context(atomic_path(Path(f"{path}{suffix}"), at_once=True)) for suffix in suffixes
            }
            options = [text for suffix in suffixes for text in (f"--{suffix[1:]}-idx", str(partial[suffix]))]
            pysam.faidx(*options, str(path))
    except (OSError, SamtoolsError) as error:
        problem = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be indexed as FASTA ({problem}); correct the file, then {advice}") from None
    finally:
        pysam.set_verbosity(quiet)
    return Path(f"{path}.fai")


def _open(path: Path, index: Path, compressed: bool) -> pyfaidx.Faidx:
    """pyfaidx on a file; as it takes a name for the kind, one that misleads is given by way of a link."""
    with contextlib.ExitStack() as stack:
        named = path
        if compressed != path.name.lower().endswith((".gz", ".bgz")) or path.suffix.lower() in (".bz2", ".zip"):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            named = folder / ("genome.fa.gz" if compressed else "genome.fa")
            named.symlink_to(path.absolute())
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # of time stamps; whether the index fits is found from the content
        try:
            return pyfaidx.Faidx(
                str(named),
                indexname=str(index),
                gzi_indexname=str(index.with_suffix(".gzi")),
                rebuild=False,
                build_index=False,
                as_raw=True,
            )
        except _UNREADABLE as error:
            raise DataError(
                f"{index}: not the index of {path.name} ({error}); make it again: samtools faidx {path}"
            ) from None


def _is_bgzip(path: Path) -> bool:
    """Whether a file is bgzip-compressed; raises DataError for other gzip, which has no random access."""
    with path.open("rb") as handle:
        start = handle.read(18)
    if start[:4] == bgzf.MAGIC and start[12:14] == b"BC":
        return True
    if start[:2] == GZIP_MAGIC:
        raise DataError(
            f"{path}: compressed by gzip, which has no random access; compress it by bgzip: "
            f"gzip -dc {path} | bgzip > NEW.fa.gz, then samtools faidx NEW.fa.gz"
        )
    return False


def _require(path: Path, advice: str) -> None:
    if not path.is_file():
        raise DataError(f"{path}: no such file; {advice}")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty; {advice}")


def _check_index(path: Path, index: Path, handle: pyfaidx.Faidx) -> None:
    """Compare the index with the file at a few places of every contig: cheap, and independent of time stamps."""
    stale = f"{index}: stale index, it does not fit {path.name} at contig %s; make it again: samtools faidx {path}"
    previous_end = 0
    for name, (length, offset, bases, stride, *_) in handle.index.items():
        try:
            before = _read(handle, max(0, offset - READ_BEFORE), min(offset, READ_BEFORE))
            header = before.rsplit(b"\n", 2)[-2] if before.endswith(b"\n") else b""
            last = offset + (length - 1) // bases * stride + (length - 1) % bases if length else offset - 1
            first_break = _read(handle, offset + bases, 1) if length > bases else b"\n"
            tail = _read(handle, last, 4) if length else b"A"
        except _UNREADABLE:  # an offset in the middle of nowhere
            raise DataError(stale % name) from None
        fits = header.split()[:1] == [f">{name}".encode()] and first_break in (b"\r", b"\n") and tail[:1].isalpha()
        if not fits or tail[1:].lstrip(b"\r\n")[:1] not in (b"", b">"):
            raise DataError(stale % name)
        gap = max(0, offset - len(header) - 1 - previous_end)
        if previous_end and _read(handle, previous_end, gap).strip():
            raise DataError(
                f"{path}: before contig {name} there is a sequence that {index.name} lacks, so one name occurs twice; "
                f"rename or drop it, then make the index again: samtools faidx {path}"
            )
        previous_end = last + 1
    if previous_end and _read(handle, previous_end, READ_BEFORE).strip():
        raise DataError(
            f"{path}: behind the last contig of {index.name} there is another, so one name occurs twice, or it is a stale "
            f"index; rename or drop it, then make the index again: samtools faidx {path}"
        )


def _read(handle: pyfaidx.Faidx, offset: int, size: int) -> bytes:
    """Bytes of the uncompressed file."""
    if hasattr(handle, "gzi_index"):
        block = handle.gzi_index[max(0, bisect.bisect_left(handle.gzi_index, offset + 1) - 1)]
        offset = pyfaidx.make_virtual_offset(block.cstart, offset - block.ustart)
    handle.file.seek(offset)
    return bytes(handle.file.read(size))
