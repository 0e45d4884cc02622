"""Arrays of stores (``.npy``), which may be damaged in any way."""

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allelegro.errors import DataError

# What numpy raises on a header that is none, which is read as a literal of Python, and on an archive (.npz) that is none.
UNREADABLE = (
    ValueError, TypeError, LookupError, EOFError, OSError, OverflowError, MemoryError, SyntaxError, RecursionError,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


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
