"""``windows.bed``: fixed-width loci with a fold, the table that ties every stage together."""

from pathlib import Path

import pandas as pd

from allelegro.errors import DataError
from allelegro.io.bed import has_header, read_bed
from allelegro.io.tables import COUNT, GUESS, NAME, TEXT, WHOLE, read_table, write_table

_INTERVAL = {"chrom": NAME, "start": COUNT, "end": COUNT}
_MORE = {"name": NAME, "score": GUESS, "strand": TEXT, "fold": WHOLE}
WINDOW_COLUMNS = [*_INTERVAL, *_MORE]
NO_FOLD = -1


def read_windows(path: Path, *, folds: bool = True) -> pd.DataFrame:
    """Read windows (0-based, half-open): ``chrom start end name score strand fold``, or, without ``folds``, any BED.

    Where a BED has no names they are ``chrom:first-last`` (1-based); score, strand and fold are then 0, "." and
    ``NO_FOLD``. Raises DataError when rows are missing, widths differ, a row is no interval or a name is repeated.
    """
    windows = read_regions(path, folds=folds)
    widths = windows["end"] - windows["start"]
    if widths.nunique() != 1 or widths.iloc[0] <= 0:
        row = int(((widths != widths.iloc[0]) | (widths <= 0)).to_numpy().argmax())
        raise DataError(
            f"{path} row {row + 1}: window is {widths.iloc[row]} bp wide, the first is {widths.iloc[0]}; "
            "all windows must have one width: prepare_windows.py makes them so"
        )
    return unique_names(windows, path)


def read_regions(path: Path, *, folds: bool = False) -> pd.DataFrame:
    """The rows of :func:`read_windows`, of any width."""
    if has_header(path):
        windows = read_table(path, _INTERVAL | (_MORE if folds else {}), optional={} if folds else _MORE)
    elif folds:
        raise DataError(f"{path}: no header row; prepare_windows.py gives the windows of any BED folds")
    else:
        windows = read_bed(path)
        windows = windows.assign(score=windows["score"].replace("", "0"), strand=windows["strand"].replace("", "."))
    for column, value in (("name", ""), ("score", 0), ("strand", "."), ("fold", NO_FOLD)):
        if column not in windows:
            windows[column] = value
    return windows[WINDOW_COLUMNS]


def unique_names(windows: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Windows with ``chrom:first-last`` (1-based) where they have no name; DataError for a name that is repeated."""
    places = windows["chrom"] + ":" + (windows["start"] + 1).astype(str) + "-" + windows["end"].astype(str)
    names = windows["name"].where(~windows["name"].isin(["", "."]), places)
    if names.duplicated().any():
        raise DataError(f"{path}: window {names[names.duplicated()].iloc[0]} occurs twice")
    return windows.assign(name=names)


def write_windows(windows: pd.DataFrame, path: Path) -> None:
    """Write windows with their ``#chrom`` header, atomically."""
    write_table(windows[WINDOW_COLUMNS].rename(columns={"chrom": "#chrom"}), path)
