"""SHA-256 of files, and the same data given twice."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from allelegro.errors import DataError


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def same_data(paths: Iterable[Path]) -> tuple[Path, Path] | None:
    """The first two of some existing files that are one file (by another spelling or a link) or have the same content."""
    by_size: dict[int, list[Path]] = {}
    for path in paths:
        alike = by_size.setdefault(path.stat().st_size, [])
        for other in alike:
            if path.samefile(other) or sha256(path) == sha256(other):
                return other, path
        alike.append(path)
    return None


def refuse_repeated(paths: Iterable[Path]) -> None:
    """Raise DataError when two of the files are the same data; those that do not exist are ignored."""
    if found := same_data(path for path in paths if path.is_file()):
        first, second = found
        what = f"{second}: given twice" if first == second else f"{second}: the same data as {first}"
        raise DataError(f"{what}; give each run of a library once")
