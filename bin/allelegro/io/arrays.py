"""Arrays of stores (``.npy``), which may be damaged in any way."""

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from allelegro.errors import DataError

# What numpy raises on a header that is none, which is read as a literal of Python, and on an archive (.npz) that is none.
UNREADABLE = (
    ValueError, TypeError, LookupError, EOFError, OSError, OverflowError, MemoryError, SyntaxError, RecursionError,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def save_array(path: Path, values: NDArray[Any]) -> None:
    """Write an array as ``np.save`` does, into this very path.

    numpy writes through a buffer of C, whose last write it does not check: on a full disk the end of the array is lost
    without a word. Raises OSError instead.
    """
    values = np.ascontiguousarray(values)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(values))
        append_array(file, values)


def append_array(file: IO[bytes], values: NDArray[Any]) -> None:
    """Write the numbers of an array into an open file; raises OSError where ``ndarray.tofile`` may say nothing."""
    file.write(np.ascontiguousarray(values).data)


def load_array(path: Path, advice: str) -> NDArray[Any]:
    """A read-only memory map as a plain array, which indexes faster than ``np.memmap``.

    Raises DataError with the ``advice`` when the file is missing, no array of numbers, or damaged.
    """
    try:
        try:
            return np.asarray(np.load(path, mmap_mode="r"))
        except ValueError:  # an empty array cannot be mapped
            return np.asarray(np.load(path))
    except UNREADABLE:
        raise DataError(f"{path}: missing, damaged or no array; {advice}") from None
