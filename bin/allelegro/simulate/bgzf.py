"""Appending BGZF (the blocked gzip of BAM and VCF), so that a file can be written one chromosome at a time."""

from pathlib import Path
from struct import pack

from isal import isal_zlib

from allelegro.io.vcf import BGZF_END

BLOCK = 65_280


def append(path: Path, payload: bytes, *, last: bool = False) -> None:
    """Append ``payload`` as BGZF blocks; ``last`` adds the end-of-file marker."""
    view = memoryview(payload)
    with path.open("ab") as stream:
        for start in range(0, len(view), BLOCK):
            piece = view[start : start + BLOCK]
            packer = isal_zlib.compressobj(1, isal_zlib.DEFLATED, -15)
            body = packer.compress(piece) + packer.flush()
            stream.write(b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0\x42\x43\x02\0" + pack("<H", len(body) + 25))
            stream.write(body + pack("<II", isal_zlib.crc32(piece), len(piece)))
        if last:
            stream.write(BGZF_END)
