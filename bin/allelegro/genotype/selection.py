"""Choosing donors and windows by name on the command line."""

import os
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
        if os.path.isfile(item):  # noqa: PTH113 (Path.is_file raises when a long list of names is no possible path)
            lines = (line.split() for line in Path(item).read_text().splitlines() if not line.startswith("#"))
            names += [fields[0] for fields in lines if fields]
        else:
            names += [name for name in item.split(",") if name]
    if not names:
        raise DataError(f"{given[0]}: names nothing; give names, or a file with one name a line")
    return names
