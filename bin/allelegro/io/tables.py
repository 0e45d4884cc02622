"""Tab-separated tables: checked reading, atomic writing, and the one tidy-metrics layout."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from allelegro.errors import DataError
from allelegro.io.atomic import atomic_path


@contextmanager
def table_errors(path: Path, expected: str) -> Iterator[None]:
    """Turn what pandas raises on an empty, truncated or malformed table into DataError."""
    try:
        yield
    except pd.errors.EmptyDataError:
        raise DataError(f"{path}: the file is empty; expected {expected}") from None
    except EOFError:
        raise DataError(f"{path}: the gzip stream ends early; the file is truncated, copy it again") from None
    except (pd.errors.ParserError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path}: not a readable table ({error})") from None


def read_table(
    path: Path, required: Sequence[str] = (), *, allow_empty: bool = False, as_text: bool = False
) -> pd.DataFrame:
    """Read a TSV (optionally gzipped) or CSV by suffix; a leading ``#`` of the header is dropped.

    ``as_text`` keeps every cell as written (an empty one is ``""``), so that a donor called 007 stays 007.

    Raises DataError when the file is missing, empty, truncated, not a table, or lacks a required column.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the path")
    separator = "," if ".csv" in path.suffixes else "\t"
    with table_errors(path, f"a header line with {', '.join(required)}"):
        table = pd.read_csv(
            path, sep=separator, low_memory=False, dtype=str if as_text else None, keep_default_na=not as_text
        )
    table.columns = [str(column).lstrip("#").strip() for column in table.columns]
    missing = [column for column in required if column not in table.columns]
    if missing:
        raise DataError(f"{path}: column {', '.join(missing)} is missing; found {', '.join(table.columns)}")
    if table.empty and not allow_empty:
        raise DataError(f"{path}: the table has a header but no rows")
    return table


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a TSV (gzipped when the name ends in .gz) atomically; floats keep 7 significant digits."""
    with atomic_path(path) as partial:
        table.to_csv(partial, sep="\t", index=False, float_format="%.7g", na_rep="NA", compression="infer")


def append_table(table: pd.DataFrame, path: Path) -> None:
    """Add rows to a TSV that grows in a folder not yet finished; the first call writes the header. As ``write_table``."""
    fresh = not path.exists()
    table.to_csv(
        path, sep="\t", index=False, header=fresh, mode="a", float_format="%.7g", na_rep="NA", compression="infer"
    )
