"""``windows.bed``: fixed-width loci with a fold, the table that ties every stage together."""

from pathlib import Path

import pandas as pd

from allelegro.errors import DataError
from allelegro.io.tables import COUNT, GUESS, NAME, TEXT, WHOLE, read_table, write_table

_KINDS = {"chrom": NAME, "start": COUNT, "end": COUNT, "name": NAME, "score": GUESS, "strand": TEXT, "fold": WHOLE}
WINDOW_COLUMNS = list(_KINDS)


def read_windows(path: Path) -> pd.DataFrame:
    """Read windows (BED coordinates: 0-based, half-open; header ``#chrom start end name score strand fold``).

    Raises DataError when rows are missing, widths differ, a start is no position or a name is repeated.
    """
    windows = read_table(path, _KINDS)
    widths = windows["end"] - windows["start"]
    if widths.nunique() != 1:
        row = int((widths != widths.iloc[0]).to_numpy().argmax())
        raise DataError(
            f"{path} row {row + 1}: window is {widths.iloc[row]} bp wide, the first is {widths.iloc[0]}; "
            "all windows must have one width (merge_peaks.py --width)"
        )
    if windows["name"].duplicated().any():
        raise DataError(f"{path}: window name {windows['name'][windows['name'].duplicated()].iloc[0]} occurs twice")
    return windows[WINDOW_COLUMNS]


def write_windows(windows: pd.DataFrame, path: Path) -> None:
    """Write windows with their ``#chrom`` header, atomically."""
    write_table(windows[WINDOW_COLUMNS].rename(columns={"chrom": "#chrom"}), path)
