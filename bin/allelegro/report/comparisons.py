"""What the metrics of a run say of two models, and of one: values with their intervals, in words that follow them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from allelegro.report.results import Results

MINUS = "_minus_"  # pearson_minus_reference: of the row's model, less that of reference
EFFECT_METRICS = ("true_effect_r", "pearson")  # the known truth is asked first, where there is one
SUBSETS = ("unseen", "all")  # variants that some model saw are no evidence


def no_interval(metric: str) -> str:
    """Why a metric has no interval."""
    few = "fewer than 10 donors" if metric.startswith("between_donors") else "too little to resample"
    return f"no interval: {few}"


def interval(row: Mapping[str, Any] | pd.Series) -> str:
    """``95 % low to high, n = …``; n alone where there is no interval."""
    n = f"n = {int(row['n']):,}"
    return n if pd.isna(row["ci_low"]) else f"95 % {row['ci_low']:z.2f} to {row['ci_high']:z.2f}, {n}"


@dataclass(frozen=True)
class Difference:
    """A paired difference between two models, with its 95 % interval, on one set of loci or variants."""

    where: str
    metric: str
    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        told = f"95 % {self.low:+z.2f} to {self.high:+z.2f}" if self.bounded else no_interval(self.metric)
        return f"difference of r {self.value:+z.2f}, {told}, n = {self.n:,}"

    @property
    def bounded(self) -> bool:
        """Whether it has an interval; without one it says nothing."""
        return not math.isnan(self.low)

    def word(self, better: str, worse: str, same: str) -> str:
        """Which of the three the interval says of the first model; without one, why there is none."""
        if not self.bounded:
            return no_interval(self.metric)
        return better if self.low > 0 else worse if self.high < 0 else same

    def turned(self) -> "Difference":
        """The second model less the first."""
        return Difference(self.where, self.metric, -self.value, -self.high, -self.low, self.n)


def figure_of_model(results: Results, model: str | None, subset: str, metric: str) -> dict[str, Any] | None:
    """The first row of a model's metric that has a value."""
    table = results.metrics
    rows = table[(table["model"] == model) & (table["subset"] == subset) & (table["metric"] == metric)]
    rows = rows.dropna(subset=["value"])
    return None if rows.empty else {str(key): value for key, value in rows.iloc[0].items()}


def signal_difference(
    results: Results, first: str | None, second: str | None, metric: str, cells: Iterable[str]
) -> Difference | None:
    """On held-out PRO-cap: the first model less the second, in the first of the cells with an interval, else with a value."""
    table = results.metrics[results.metrics["metric"] == f"{metric}_difference"].dropna(subset=["value"])
    found = []
    for cell in cells:
        rows = table[table["subset"] == cell].set_index("model")
        for name, turn in ((f"{first} - {second}", False), (f"{second} - {first}", True)):
            if name in rows.index:
                one = _difference(rows.loc[[name]].iloc[0], cell, metric)
                found.append(one.turned() if turn else one)
    return next((one for one in found if one.bounded), found[0] if found else None)


def effect_differences(results: Results, first: str | None, second: str | None) -> list[Difference]:
    """On benchmarks of variant effects: the first model less the second, one a benchmark, the known truth and the largest first."""
    table = results.metrics[results.metrics["stage"] == "effects"].dropna(subset=["value", "ci_low"])
    found: dict[str, Difference] = {}
    for metric in EFFECT_METRICS:
        for subset in SUBSETS:
            for model, other, turn in ((first, second, False), (second, first, True)):
                same = (table["model"] == model) & (table["metric"] == f"{metric}{MINUS}{other}")
                for _, row in table[same & (table["subset"] == subset)].iterrows():
                    one = _difference(row, str(row["dataset"]), metric)
                    found.setdefault(one.where, one.turned() if turn else one)
    simulated = results.truth is not None
    return sorted(found.values(), key=lambda one: (not (simulated and one.where == "truth"), -one.n))


def _difference(row: pd.Series, where: str, metric: str) -> Difference:
    return Difference(where, metric, float(row["value"]), float(row["ci_low"]), float(row["ci_high"]), int(row["n"]))


def headline_benchmark(results: Results) -> str | None:
    """The benchmark that conclusions rest on: the known truth, else that with the most variants."""
    table = results.metrics
    rows = table[(table["stage"] == "effects") & table["subset"].isin(SUBSETS) & table["metric"].isin(EFFECT_METRICS)]
    rows = rows.dropna(subset=["value", "ci_low"])
    if rows.empty:
        return None
    if results.truth is not None and (rows["dataset"] == "truth").any():
        return "truth"
    return str(rows.sort_values("n", kind="stable")["dataset"].iloc[-1])


def is_baseline(model: str) -> bool:
    """Whether a row of a benchmark is of a baseline, or of the measurements themselves, and not of a model."""
    return model.startswith("baseline_") or model in ("measured", "-")


def is_mixture(model: str) -> bool:
    """Whether a row of a benchmark is of the mean of two models."""
    return " + " in model
