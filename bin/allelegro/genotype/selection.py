"""Choosing donors and windows by name on the command line."""

from collections.abc import Sequence
from pathlib import Path

from allelegro.errors import DataError


def read_names(given: Sequence[str] | None) -> list[str] | None:
    """Names from options: each is a file with one name a line (its first column), or names separated by commas.

    None stays None (all). Raises DataError when nothing is named.
    """
    if given is None or not given:
        return None
    names: list[str] = []
    for item in given:
        path = Path(item)
        if path.is_file():
            lines = (line.split() for line in path.read_text().splitlines() if not line.startswith("#"))
            names += [fields[0] for fields in lines if fields]
        else:
            names += [name for name in item.split(",") if name]
    if not names:
        raise DataError(f"{given[0]}: names nothing; give names, or a file with one name a line")
    return names
