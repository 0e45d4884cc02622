"""Libraries that cannot be used: noted one by one, so that the rest of a cohort goes on without them."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from allelegro.errors import DataError
from allelegro.io.tables import read_table, write_table

LEFT_OUT_COLUMNS = ["library", "reason"]

log = logging.getLogger(__name__)


def write_left_out(reasons: Mapping[str, str], path: Path) -> None:
    """Write ``library reason``, one row a library left out."""
    write_table(pd.DataFrame(list(reasons.items()), columns=LEFT_OUT_COLUMNS), path)


def read_left_out(folders: Iterable[Path]) -> dict[str, str]:
    """Reasons by library from every ``*.left_out.tsv`` in ``folders``."""
    tables = [
        read_table(path, LEFT_OUT_COLUMNS, as_text=True)
        for folder in folders
        for path in sorted(folder.glob("*.left_out.tsv"))
    ]
    return {row["library"]: row["reason"] for table in tables for row in table.to_dict("records")}


@contextmanager
def library_or_note(library: str, note: Path | None) -> Iterator[None]:
    """Name the library in a DataError of the block; with ``note``, write it there and go on instead of raising it."""
    try:
        yield
    except DataError as error:
        reason = " ".join(str(error).split())
        if note is None:
            raise DataError(f"library {library}: {reason}") from None
        log.warning("library %s is left out: %s", library, reason)
        write_left_out({library: reason}, note)
