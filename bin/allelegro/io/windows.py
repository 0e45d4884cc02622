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
    if has_header(path):
        windows = read_table(path, _INTERVAL | (_MORE if folds else {}), optional={} if folds else _MORE)
    elif folds:
        raise DataError(f"{path}: no header row; windows with folds are written by merge_peaks.py")
    else:
        windows = read_bed(path)
    places = windows["chrom"] + ":" + (windows["start"] + 1).astype(str) + "-" + windows["end"].astype(str)
    names = windows.get("name", places)
    windows = windows.assign(name=names.where(names != "", places))
    for column, value in (("score", 0), ("strand", "."), ("fold", NO_FOLD)):
        if column not in windows:
            windows[column] = value
    widths = windows["end"] - windows["start"]
    if widths.nunique() != 1 or widths.iloc[0] <= 0:
        row = int(((widths != widths.iloc[0]) | (widths <= 0)).to_numpy().argmax())
        raise DataError(
            f"{path} row {row + 1}: window is {widths.iloc[row]} bp wide, the first is {widths.iloc[0]}; "
            "all windows must have one width (merge_peaks.py --width)"
        )
    if windows["name"].duplicated().any():
        raise DataError(f"{path}: window {windows['name'][windows['name'].duplicated()].iloc[0]} occurs twice")
    return windows[WINDOW_COLUMNS]


def write_windows(windows: pd.DataFrame, path: Path) -> None:
    """Write windows with their ``#chrom`` header, atomically."""
    write_table(windows[WINDOW_COLUMNS].rename(columns={"chrom": "#chrom"}), path)
