"""Controls matched to significant variants, so that a ranking of the two cannot rest on frequency, position or coverage.

Significant variants of QTL studies are more frequent (power) and nearer to the element or promoter than others, those of
allele-specific tables are covered by more reads. A control of the same bins differs from them in none of these.
"""

import logging

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FREQUENCY_EDGES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45)
QUANTILE_BINS = 10  # bins of the significant variants' distances and coverages, each of as many
MOST_CONTROLS = 10  # for one significant variant
LEAST_SHARE = 0.9  # of the significant variants that have any control keep theirs

logger = logging.getLogger(__name__)


def minor_frequency(table: pd.DataFrame) -> NDArray[np.float64]:
    """Frequency of the rarer allele, NaN where unknown."""
    frequency = table["af"].to_numpy(dtype=np.float64)
    return np.asarray(np.minimum(frequency, 1 - frequency))


def distance_from_centre(table: pd.DataFrame) -> NDArray[np.float64]:
    """Distance in bp as the table gives it, else from the middle of the group's variants (an element); NaN without."""
    middle = table.groupby("group")["pos"].transform(lambda pos: (pos.min() + pos.max()) / 2)
    from_middle = (table["pos"] - middle).where(table["group"] != "")
    return np.asarray(table["distance"].fillna(from_middle).abs(), dtype=np.float64)


def matched_subset(table: pd.DataFrame, seed: int) -> NDArray[np.bool_] | None:
    """Which rows are significant variants and their matched controls; None when the table has nothing to match on.

    A table with a ``match`` column brings its own sets: all rows of the sets that hold both classes. Otherwise rows are
    binned by minor allele frequency, ``distance`` and ``coverage`` (each where known), and every significant variant gets the same
    number of controls from its bin, drawn without replacement. That number is the largest, up to ``MOST_CONTROLS``, for which
    ``LEAST_SHARE`` of the significant variants with any control keep theirs; one number for all bins keeps the share of
    significant variants, and so the chance level of average precision, the same in all of them.
    """
    positive, control = (table["significant"] == value for value in (1, 0))
    strata, names = _given(table) if (table["match"] != "").any() else _bins(table, positive, control)
    if not names:
        return None
    stratum = strata.where(positive | control).dropna()
    count = pd.crosstab(stratum, positive[stratum.index]).reindex(columns=[True, False], fill_value=0)
    ups, downs = count[True].to_numpy(), count[False].to_numpy()
    chosen = np.zeros(len(table), bool)
    if names == ["given sets"]:
        chosen[:] = strata.isin(count.index[(ups > 0) & (downs > 0)]) & (positive | control)
        each = None
    else:
        kept = {n: np.minimum(ups, downs // n) for n in range(1, MOST_CONTROLS + 1)}
        each = max(n for n in kept if kept[n].sum() >= LEAST_SHARE * kept[1].sum())
        rng = np.random.default_rng(seed)
        places = pd.Series(np.arange(len(table)), table.index)
        for label, n in zip(count.index, kept[each], strict=True):
            members = stratum.index[stratum == label]
            for kind, size in ((positive, n), (control, n * each)):
                chosen[rng.choice(places[members[kind[members]]].to_numpy(), size, replace=False)] = True
    if not chosen.any():
        return None
    logger.info(
        "matched by %s: %s of %s significant variants with %s controls%s", " and ".join(names),
        f"{int(chosen[positive].sum()):,}", f"{int(positive.sum()):,}", f"{int(chosen[control].sum()):,}",
        "" if each is None else f" ({each} each)",
    )  # fmt: skip
    return chosen


def _given(table: pd.DataFrame) -> tuple["pd.Series[str]", list[str]]:
    return table["match"].where(table["match"] != ""), ["given sets"]


def _bins(
    table: pd.DataFrame, positive: "pd.Series[bool]", control: "pd.Series[bool]"
) -> tuple["pd.Series[float]", list[str]]:
    """Stratum of each row, NaN where what is matched on is unknown, and the names of what is matched on."""
    stratum, names = pd.Series(0.0, table.index), []
    frequency, distance = pd.Series(minor_frequency(table), table.index), table["distance"].abs()
    coverage = table["coverage"] if "coverage" in table else pd.Series(np.nan, table.index)
    for name, values in (("allele frequency", frequency), ("distance", distance), ("coverage", coverage)):
        if not (values[positive].notna().any() and values[control].notna().any()):
            continue
        names.append(name)
        inner = np.linspace(0, 1, QUANTILE_BINS + 1)[1:-1]
        edges = FREQUENCY_EDGES if name == "allele frequency" else values[positive].quantile(inner).to_numpy()
        bins = np.searchsorted(edges, values.fillna(0), side="right")
        stratum = (stratum * 100 + bins).where(values.notna())
    return stratum, names
