"""Indices of BAM files: where the records of each contig begin and how many there are (SAM specification, section 5)."""

import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from allelegro.errors import DataError


class ContigRecords(NamedTuple):
    """Virtual offset of a contig's first record, and its number of records."""

    offset: int
    records: int


def contig_records(path: Path) -> dict[int, ContigRecords] | None:
    """Records of each contig (by its number in the header) from ``PATH.bai``, ``PATH.csi`` or the like; None without them.

    Contigs without records are absent. Raises DataError for a damaged index.
    """
    names = [Path(f"{path}.bai"), Path(f"{path}.csi"), path.with_suffix(".bai"), path.with_suffix(".csi")]
    index = next((name for name in names if name.is_file()), None)
    if index is None:
        return None
    data = index.read_bytes()
    try:
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return _parse(data)
    except (OSError, EOFError, zlib.error, struct.error, ValueError):
        raise DataError(f"{index}: not a readable index of a BAM file; run samtools index again") from None


def _parse(data: bytes) -> dict[int, ContigRecords] | None:
    is_csi = data[:4] == b"CSI\1"
    if not is_csi and data[:4] != b"BAI\1":
        raise ValueError("no index")
    at, summary = 4, 37_450
    if is_csi:
        depth, extra = struct.unpack_from("<4xii", data, at)
        at, summary = at + 12 + extra, ((1 << 3 * (depth + 1)) - 1) // 7 + 1
    (contigs,) = struct.unpack_from("<i", data, at)
    at += 4
    found = {}
    for contig, number, chunks in bins(data, at, contigs, is_csi):
        if number == summary and len(chunks) == 32:
            offset, _, mapped, unmapped = struct.unpack("<QQQQ", chunks)
            if mapped + unmapped:
                found[contig] = ContigRecords(offset, mapped + unmapped)
    return found or None


def bins(data: bytes, at: int, contigs: int, is_csi: bool) -> Iterator[tuple[int, int, bytes]]:
    """Contig, number and chunks (16 bytes each) of every bin of an index, whose first contig begins at ``at``.

    Raises struct.error where the data ends early.
    """
    for contig in range(contigs):
        (n_bins,) = struct.unpack_from("<i", data, at)
        at += 4
        for _ in range(n_bins):
            number, n_chunks = struct.unpack_from("<I8xi" if is_csi else "<Ii", data, at)
            at += 16 if is_csi else 8
            chunks = data[at : at + 16 * n_chunks]
            if len(chunks) != 16 * n_chunks:
                raise struct.error("a bin is cut")
            yield contig, number, chunks
            at += 16 * n_chunks
        if not is_csi:
            at += 4 + 8 * int(struct.unpack_from("<i", data, at)[0])
