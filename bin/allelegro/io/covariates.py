"""The sheet of covariates: what else sets donors apart (batch, sex, numbers), one row a donor."""

from pathlib import Path

import numpy as np
import pandas as pd

from allelegro.errors import DataError
from allelegro.io.tables import NAME, TEXT, read_table

CATEGORIES = ("batch", "sex")  # groups even where they are written as numbers


def read_covariates(path: Path) -> pd.DataFrame:
    """The sheet, indexed by donor: numbers as float64, groups as text.

    Columns called ``batch`` and ``sex``, and those with a cell that is no number, are groups. Raises DataError when a donor
    occurs twice, a cell is empty, a number is not finite, there is no column besides ``donor``, or one says nothing:
    the same for everybody, or a group of its own for each donor.
    """
    table = read_table(path, {"donor": NAME}, others=TEXT)
    columns = [column for column in table.columns if column != "donor"]
    if not columns:
        raise DataError(f"{path}: no column besides donor; give covariates (batch, sex, numbers)")
    twice = table["donor"][table["donor"].duplicated()]
    if len(twice):
        raise DataError(
            f"{path} row {twice.index[0] + 1}: donor '{twice.iloc[0]}' occurs twice; give each donor one row"
        )
    return pd.DataFrame({column: _column(path, table, column) for column in columns}).set_index(table["donor"])


def _column(path: Path, table: pd.DataFrame, column: str) -> pd.Series:
    cells = table[column]
    empty = cells.index[cells == ""]
    if len(empty):
        donor = table["donor"][empty[0]]
        raise DataError(f"{path} row {empty[0] + 1}, column {column}: empty for donor '{donor}'; fill it in")
    numbers = pd.to_numeric(cells, errors="coerce")
    if column.lower() in CATEGORIES or numbers.isna().any():
        if len(cells) > 2 and cells.nunique() == len(cells):
            raise DataError(f"{path}, column {column}: every donor is a group of its own ('{cells[0]}', …); remove it")
        values = cells
    else:
        infinite = numbers.index[~np.isfinite(numbers)]
        if len(infinite):
            row = infinite[0]
            raise DataError(f"{path} row {row + 1}, column {column}: '{cells[row]}' is no finite number; correct it")
        values = numbers.astype(float)
    if values.nunique() == 1 and len(values) > 1:
        raise DataError(f"{path}, column {column}: '{cells[0]}' for every donor, which says nothing; remove it")
    return values


def of_donors(table: pd.DataFrame, path: Path, donors: list[str]) -> pd.DataFrame:
    """The rows of ``donors`` in their order; DataError names those that the sheet lacks."""
    lacking = [donor for donor in donors if donor not in table.index]
    if lacking:
        raise DataError(
            f"{path}: no row for {len(lacking)} of {len(donors)} donors with libraries "
            f"({', '.join(lacking[:5])}{', …' if len(lacking) > 5 else ''}); add them"
        )
    return table.loc[donors]
