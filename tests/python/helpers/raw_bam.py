"""BAM files byte by byte, so that records can be what no library would write."""

import struct
from pathlib import Path

from allelegro.io import bgzf

CONTIGS = {"chr1": 1_000, "chr2": 500}


def header(contigs: dict[str, int] | list[tuple[str, int]] = CONTIGS, text: bytes = b"") -> bytes:
    """The header of a BAM; contigs may repeat and have any length."""
    pairs = list(contigs.items()) if isinstance(contigs, dict) else contigs
    parts = [struct.pack("<i", len(name) + 1) + name.encode() + b"\0" + struct.pack("<i", size) for name, size in pairs]
    return b"BAM\1" + struct.pack("<i", len(text)) + text + struct.pack("<i", len(pairs)) + b"".join(parts)


def record(
    contig: int = 0,
    position: int = 10,
    *,
    name: bytes = b"read",
    mapq: int = 60,
    flag: int = 0,
    cigar: list[tuple[int, str]] | None = None,
    bases: int = 10,
    tags: bytes = b"",
) -> bytes:
    """One record of ``bases`` As; by default it is aligned along its whole length."""
    operations = [(bases, "M")] if cigar is None else cigar
    body = struct.pack(
        "<iiBBHHHiiii", contig, position, len(name) + 1, mapq, 0, len(operations), flag, bases, -1, -1, 0
    )
    body += name + b"\0" + b"".join(struct.pack("<I", size << 4 | "MIDNSHP=X".index(kind)) for size, kind in operations)
    body += b"\x11" * ((bases + 1) // 2) + b"\x28" * bases + tags
    return struct.pack("<i", len(body)) + body


def write(path: Path, payload: bytes, *, last: bool = True) -> Path:
    """Write ``payload`` as BGZF, with or without the end-of-file block."""
    path.unlink(missing_ok=True)
    bgzf.append(path, payload, last=last)
    return path
