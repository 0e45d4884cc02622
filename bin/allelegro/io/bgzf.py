"""BGZF, the blocked gzip of BAM and VCF (SAM specification, section 4.1): read block by block, written by appending."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from isal import isal_zlib

from allelegro.errors import DataError

InflateError: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # the stub says instance, it is a class
MAGIC = b"\x1f\x8b\x08\x04"
_EXTRA = b"\x06\0BC\x02\0"  # the extra field that holds a block's size
_HEADER, _TRAILER, _EXTRA_AT = 18, 8, 10  # bytes of a block before and after its data, and before the extra field
BLOCK_SIZE = 65_280  # bytes of content in a block
END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty block that ends a whole file."""
_READ_AT_ONCE = 1 << 20  # compressed bytes


def ends_whole(path: Path) -> bool:
    """Whether a file ends with the end-of-file block; one that was cut does not."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(END)))
        return file.read() == END


def inflate(file: IO[bytes], path: Path) -> Iterator[bytes]:
    """The content of a BGZF stream in pieces of some megabytes; ``path`` names it in messages.

    Raises DataError for other data, a block whose checksum is wrong, and a stream without its end-of-file block.
    """
    waiting, last_size = b"", -1
    while chunk := file.read(_READ_AT_ONCE):
        data = waiting + chunk
        at, parts = 0, []
        while at + _HEADER <= len(data):
            if data[at : at + len(MAGIC)] != MAGIC or data[at + _EXTRA_AT : at + 16] != _EXTRA:
                raise DataError(f"{path}: not block-gzipped as BAM is; the file is damaged, copy or write it again")
            end = at + int.from_bytes(data[at + 16 : at + _HEADER], "little") + 1
            if end > len(data):
                break
            parts.append(_inflate_block(data[at:end], path))
            last_size = len(parts[-1])
            at = end
        waiting = data[at:]
        yield b"".join(parts)
    if waiting or last_size != 0:
        raise DataError(f"{path}: ends without the BAM end-of-file block; the file is truncated, copy it again")


def _inflate_block(block: bytes, path: Path) -> bytes:
    if len(block) < _HEADER + _TRAILER:
        raise DataError(f"{path}: a block is too short; the file is damaged, copy it again")
    checksum, size = struct.unpack("<II", block[-_TRAILER:])
    try:
        content = isal_zlib.decompress(block[_HEADER:-_TRAILER], wbits=-15, bufsize=min(size, 1 << 16) or 1)
    except InflateError:
        raise DataError(f"{path}: a damaged block cannot be inflated; copy the file again") from None
    if len(content) != size or isal_zlib.crc32(content) != checksum:
        raise DataError(f"{path}: a block's checksum is wrong; the file is damaged, copy it again")
    return content


def append(path: Path, payload: bytes, *, last: bool = False) -> None:
    """Append ``payload`` as BGZF blocks, so that a file can be written in parts; ``last`` adds the end-of-file block."""
    view = memoryview(payload)
    with path.open("ab") as stream:
        for start in range(0, len(view), BLOCK_SIZE):
            piece = view[start : start + BLOCK_SIZE]
            # Level 1 of this library, as fast, gives other bytes for the same data in one process of a hundred.
            packer = isal_zlib.compressobj(2, isal_zlib.DEFLATED, -15)
            body = packer.compress(piece) + packer.flush()
            stream.write(MAGIC + b"\0\0\0\0\0\xff" + _EXTRA + struct.pack("<H", len(body) + _HEADER + _TRAILER - 1))
            stream.write(body + struct.pack("<II", isal_zlib.crc32(piece), len(piece)))
        if last:
            stream.write(END)
