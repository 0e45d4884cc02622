"""Files of users as plain bytes or text: gzip and bgzip are told by their first bytes, never by the name."""

import io
import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from allelegro.errors import DataError

log = logging.getLogger(__name__)

GZIP = b"\x1f\x8b"
_OTHERS = {b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_CHUNK = 1 << 20


class _Gunzip(io.RawIOBase):
    """The members of a gzip file one after the other, as ``gunzip`` gives them.

    Bytes after the last member are no data (the genome of 1000 Genomes ends in the index of its RAZF format) and are
    ignored with a note. Raises DataError for a damaged member, a last member that ends early, and a bgzip file
    without its end-of-file block.
    """

    def __init__(self, file: io.BufferedReader, path: Path) -> None:
        self._file, self._path, self._input = file, path, b""
        self._is_bgzip = file.peek(14)[3:4] == b"\x04" and file.peek(14)[12:14] == b"BC"
        self._start_member()

    def _start_member(self) -> None:
        self._member, self._length = zlib.decompressobj(wbits=31), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        while not self._member.eof or self._has_next_member():
            data = self._input or self._file.read(_CHUNK)
            try:
                found = self._member.decompress(data, len(view))
            except zlib.error as error:
                raise DataError(f"{self._path}: the gzip stream is damaged ({error}); copy the file again") from None
            self._input = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if found:
                self._length += len(found)
                view[: len(found)] = found
                return len(found)
            if not data and not self._member.eof:
                raise DataError(f"{self._path}: the gzip stream ends early; the file is truncated, copy it again")
        return 0

    def _has_next_member(self) -> bool:
        if len(self._input) < len(GZIP):
            self._input += self._file.read(_CHUNK)
        if self._input.startswith(GZIP):
            self._start_member()
            return True
        if self._is_bgzip and self._length:
            raise DataError(f"{self._path}: the end-of-file block is missing; the file is truncated, copy it again")
        if self._input.strip(b"\0"):
            log.info("%s: bytes after the end of the gzip stream are ignored", self._path)
        self._input = b""
        return False

    def close(self) -> None:
        self._file.close()
        super().close()


def open_binary(path: Path) -> io.BufferedReader:
    """The bytes of a plain, gzip- or bgzip-compressed file.

    Raises DataError when the file is missing, a folder, not readable or compressed in another way, and while reading
    where a gzip stream is damaged or ends early.
    """
    try:
        file = path.open("rb")
        head = file.peek(8)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder, not a file; check the path") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None
    if head.startswith(GZIP):
        return io.BufferedReader(_Gunzip(file, path), _CHUNK)
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            file.close()
            raise DataError(f"{path}: compressed as {name}, which is not read here; unpack it, or use gzip")
    return file


def open_text(path: Path) -> TextIO:
    """The text of a file as :func:`open_binary` opens it: UTF-8 (or UTF-16 with its mark), any kind of line end.

    Read it inside :func:`text_errors`.
    """
    file = open_binary(path)
    encoding = "utf-16" if file.peek(2)[:2] in _UTF16 else "utf-8-sig"
    return io.TextIOWrapper(cast(BinaryIO, file), encoding=encoding)


@contextmanager
def text_errors(path: Path) -> Iterator[None]:
    """Turn what reading raises where a file is no text into DataError."""
    try:
        yield
    except UnicodeError:
        raise DataError(f"{path}: not text in UTF-8; save it as UTF-8, or check that it is the file you mean") from None


def text_lines(path: Path) -> Iterator[str]:
    """Lines of a text file without their ends; raises DataError as :func:`open_binary`, and for a file that is no text."""
    with text_errors(path), open_text(path) as file:
        for line in file:
            if "\0" in line:
                raise DataError(f"{path}: not a text file; check that it is the file you mean")
            yield line.rstrip("\n")
