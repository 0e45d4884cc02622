"""Tidy metrics: the one layout in which every stage writes its figures."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from allelegro.io.tables import NUMBER, TEXT, maybe, read_table, write_table

_KINDS = dict.fromkeys(["stage", "dataset", "model", "subset", "metric"], TEXT) | dict.fromkeys(
    ["value", "ci_low", "ci_high", "n"], maybe(NUMBER)
)
METRIC_COLUMNS = list(_KINDS)


NO_MODEL = "none"  # the model of a figure that is of the data


def metric_row(
    stage: str, dataset: str, model: str, subset: str, metric: str, estimate: Sequence[object]
) -> dict[str, object]:
    """One row of ``METRIC_COLUMNS``; ``estimate`` is value, ci_low, ci_high, n (``statistics.Estimate``, or None where unknown)."""
    return dict(zip(METRIC_COLUMNS, (stage, dataset, model, subset, metric, *estimate), strict=True))


def write_metrics(rows: Iterable[dict[str, object]] | pd.DataFrame, path: Path) -> None:
    """Write tidy metrics; every row has ``METRIC_COLUMNS``, an absent interval or n is NA."""
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows), columns=METRIC_COLUMNS)
    write_table(frame[METRIC_COLUMNS], path)


def read_metrics(paths: Iterable[Path]) -> pd.DataFrame:
    """Concatenate tidy metrics files."""
    return pd.concat([read_table(path, _KINDS, allow_empty=True) for path in paths], ignore_index=True)
