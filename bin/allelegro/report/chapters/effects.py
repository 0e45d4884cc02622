"""Variant effects against every benchmark: how well each model ranks, sorts and sizes them."""

import re

import numpy as np
import pandas as pd

from allelegro.report import plots
from allelegro.report.book import Book, Figure, Section, Table
from allelegro.report.results import Results

POINT_COLUMNS = {
    "chrom",
    "pos",
    "ref",
    "alt",
    "id",
    "group",
    "measured",
    "significant",
    "active",
    "cluster",
    "af",
    "seen",
}
MOST_PANELS = 6
FEWEST = 10  # variants for a row in a forest plot


def variant_effects(results: Results, book: Book) -> None:
    """Per benchmark: a forest plot of all models, scatter, sign accuracy by effect size, calibration, ROC."""
    section = book.section("effects", "Variant effects")
    metrics = results.metrics[results.metrics["stage"] == "effects"]
    if metrics.empty:
        scores = sorted(path.name for path in results.path("effects", "scores").glob("*.tsv"))
        section.say("No benchmark of variant effects ran: no variant set was given.")
        if scores:
            section.say(f"Variants were scored: {', '.join(scores)} in effects/scores.")
        return
    section.say(
        "Measured against predicted effects of single variants, each model on the same variants. A positive effect means "
        "that the alternative allele increases activity. Intervals are bootstrapped by locus where variants cluster."
    )
    for dataset, rows in metrics.groupby("dataset", sort=False):
        _one_benchmark(section, str(dataset), rows, results.benchmark_points.get(str(dataset)))


def models_of(points: pd.DataFrame) -> list[str]:
    """The model columns of a points table."""
    return [c for c in points.columns if c not in POINT_COLUMNS and pd.api.types.is_numeric_dtype(points[c])]


def _one_benchmark(section: Section, dataset: str, rows: pd.DataFrame, points: pd.DataFrame | None) -> None:
    name = re.sub(r"[^A-Za-z0-9]+", "-", dataset).lower()
    for metric, label in (("pearson", "Pearson r of predicted and measured effect"), ("auroc", "AUROC of |effect|")):
        chosen = rows[(rows["metric"] == metric) & rows["subset"].isin(["all", "significant"]) & (rows["n"] >= FEWEST)]
        if chosen.empty:
            continue
        chosen = chosen.assign(label=chosen["model"] + np.where(chosen["subset"] == "all", "", " (significant)"))
        section.show(
            plots.forest(
                f"effects-{name}-{metric}",
                f"{dataset}: {label}",
                "Point and 95 % interval of each model" + (", 0 is no relation." if metric == "pearson" else "."),
                chosen[["label", "value", "ci_low", "ci_high", "n"]].assign(group=chosen["model"]),
                label,
                zero=metric == "pearson",
            )
        )
    if points is None or points.empty:
        return
    models = models_of(points)[:MOST_PANELS]
    section.show(
        plots.density_panels(
            f"effects-{name}-scatter",
            f"{dataset}: predicted and measured effects",
            "One point a variant, log2 alternative over reference.",
            {model: (points[model], points["measured"]) for model in models},
            "predicted effect (log2)",
            "measured effect (log2)",
        )
    )
    section.show(_sign_by_size(name, dataset, points, models))
    section.show(_calibration(name, dataset, points, models))
    groups = rows[(rows["metric"] == "pearson") & ~rows["subset"].isin(["all", "significant", "active"])]
    if not groups.empty:
        wide = groups.pivot_table(index="subset", columns="model", values="value", sort=False).reset_index()
        section.show(Table(f"{dataset}: Pearson r by group", wide))


def _sign_by_size(name: str, dataset: str, points: pd.DataFrame, models: list[str]) -> Figure | None:
    """Share of right signs among variants whose predicted effect is at least as large as a quantile."""
    series = {}
    for model in models:
        kept = points[[model, "measured"]].dropna()
        kept = kept[kept["measured"] != 0].sort_values(model, key=np.abs, ascending=False)
        if len(kept) < 20:
            continue
        right = (np.sign(kept[model]) * np.sign(kept["measured"]) + 1) / 2
        top = np.unique(np.geomspace(10, len(kept), 12).astype(int))
        series[model] = (top / len(kept), [float(right.iloc[:k].mean()) for k in top])
    return plots.lines(
        f"effects-{name}-sign",
        f"{dataset}: right sign by predicted effect size",
        "Share of variants with the right direction among the variants with the largest predicted effects; 0.5 is a coin.",
        series,
        "share of variants kept, largest predictions first",
        "share with the right sign",
        log_x=True,
    )


def _calibration(name: str, dataset: str, points: pd.DataFrame, models: list[str]) -> Figure | None:
    """Mean measured effect in ten equally filled bins of the predicted effect."""
    series = {}
    for model in models:
        kept = points[[model, "measured"]].dropna()
        if len(kept) < 50 or kept[model].nunique() < 10:
            continue
        bins = pd.qcut(kept[model], 10, duplicates="drop")
        means = kept.groupby(bins, observed=True)[[model, "measured"]].mean()
        series[model] = (means[model].tolist(), means["measured"].tolist())
    return plots.lines(
        f"effects-{name}-calibration",
        f"{dataset}: calibration",
        "Mean measured effect in tenths of the predicted effect; on the dashed line sizes agree, not only ranks.",
        series,
        "mean predicted effect (log2)",
        "mean measured effect (log2)",
        diagonal=True,
    )
