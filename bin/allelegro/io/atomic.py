"""Outputs appear whole or not at all: write alongside, then rename."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from allelegro.errors import DataError


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path alongside ``target`` (same suffixes) that replaces it when the block succeeds.

    The parent folder is made when absent. On any error the temporary file is removed and ``target`` is untouched.
    Raises DataError for a target that is a folder or a device (``/dev/null``), which a file must not replace.
    """
    if target.exists() and not target.is_file():
        raise DataError(f"{target}: is not a regular file, so no file can take its place; give another path")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".partial-{os.getpid()}-{target.name}")
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path, marker: str) -> Iterator[Path]:
    """Yield a temporary folder alongside ``target`` that takes its place when the block succeeds.

    ``marker`` is a file that every finished folder of this kind holds. A folder that has other files and no marker is
    user data: it is never replaced, DataError is raised instead.
    """
    if target.exists() and not (target / marker).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target}: holds other files (no {marker}) and is not replaced; give an empty or new folder")
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".partial-{os.getpid()}-{target.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if target.exists():
            shutil.rmtree(target)
        partial.replace(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
