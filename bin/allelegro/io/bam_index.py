"""Indices of BAM files: where the records of each contig begin and how many there are (SAM specification, section 5)."""

import gzip
import struct
import zlib
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
    for contig in range(contigs):
        (bins,) = struct.unpack_from("<i", data, at)
        at += 4
        for _ in range(bins):
            number, chunks = struct.unpack_from("<I8xi" if is_csi else "<Ii", data, at)
            at += 16 if is_csi else 8
            if number == summary and chunks == 2:
                offset, _, mapped, unmapped = struct.unpack_from("<QQQQ", data, at)
                if mapped + unmapped:
                    found[contig] = ContigRecords(offset, mapped + unmapped)
            at += 16 * chunks
        if not is_csi:
            at += 4 + 8 * int(struct.unpack_from("<i", data, at)[0])
    return found or None
