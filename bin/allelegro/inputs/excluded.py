"""Libraries that cannot be used: recorded one by one, so that the rest of a cohort goes on without them."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from allelegro.errors import DataError
from allelegro.io.atomic import together
from allelegro.io.tables import TEXT, read_table, write_table

EXCLUDED_COLUMNS = ["library", "reason"]

log = logging.getLogger(__name__)


def write_excluded(reasons: Mapping[str, str], path: Path) -> None:
    """Write ``library reason``, one row an excluded library."""
    write_table(pd.DataFrame(list(reasons.items()), columns=EXCLUDED_COLUMNS), path)


def read_excluded(folders: Iterable[Path]) -> dict[str, str]:
    """Reasons by library from every ``*.excluded.tsv`` in ``folders``."""
    tables = [
        read_table(path, dict.fromkeys(EXCLUDED_COLUMNS, TEXT), allow_empty=True)
        for folder in folders
        for path in sorted(folder.glob("*.excluded.tsv"))
    ]
    return {row["library"]: row["reason"] for table in tables for row in table.to_dict("records")}


@contextmanager
def exclude_on_error(library: str, note: Path | None) -> Iterator[None]:
    """Name the library in a DataError of the block; with ``note``, write it there and go on instead of raising it."""
    try:
        with together():  # of a library that is excluded, none of its outputs is left
            yield
    except DataError as error:
        reason = " ".join(str(error).split())
        if note is None:
            raise DataError(f"library {library}: {reason}") from None
        log.warning("library %s is excluded: %s", library, reason)
        write_excluded({library: reason}, note)
