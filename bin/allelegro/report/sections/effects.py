"""Variant effects against every benchmark: how well each model ranks, sorts and sizes them."""

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.report import plots
from allelegro.report.report import Book, Figure, Section, Table
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
    "matched",
}
COSTS = {
    "parameters": "Weights of one network.",
    "checkpoints": "Networks of the ensemble; each scores both alleles on both strands.",
    "ms_per_variant": "Milliseconds from the first variant read to the last score written, by variant; without the start of Python and the loading of weights.",
    "memory_mib": "Largest resident memory of the process, MiB.",
    "gpu_memory_mib": "Largest allocation on the GPU, MiB.",
}
MOST_PANELS = 6
FEWEST = 10  # variants for a row in a forest plot


def variant_effects(results: Results, book: Book) -> None:
    """Per benchmark: a forest plot of all models, scatter, sign accuracy by effect size, calibration, ROC."""
    section = book.section("effects", "Variant effects")
    metrics = results.metrics[results.metrics["stage"] == "effects"]
    if metrics.empty:
        scores = sorted(path.name for path in results.path("effects", "scores").glob("*.tsv"))
        scores = [name for name in scores if not name.endswith(".dropped.tsv")]
        section.say("No benchmark of variant effects ran: no variant set was given.")
        if scores:
            section.say(f"Variants were scored: {', '.join(scores)} in effects/scores.")
        return
    section.say(
        "Measured against predicted effects of single variants, each model on the same variants. A positive effect means "
        "that the alternative allele increases activity. Intervals are bootstrapped by locus where variants cluster."
    )
    section.show(_overview(metrics))
    section.show(_costs(results))
    for dataset, rows in metrics.groupby("dataset", sort=False):
        _one_benchmark(section, str(dataset), rows, results.benchmark_points.get(str(dataset)))


def models_of(points: pd.DataFrame) -> list[str]:
    """The model columns of a points table."""
    return [c for c in points.columns if c not in POINT_COLUMNS and pd.api.types.is_numeric_dtype(points[c])]


def _overview(metrics: pd.DataFrame) -> Figure | None:
    """All models on all benchmarks at once."""
    rows = metrics[(metrics["metric"] == "pearson") & (metrics["subset"] == "all") & (metrics["n"] >= FEWEST)]
    return plots.forest_panels(
        "effects-all",
        "All models, all benchmarks",
        "Pearson r of predicted and measured effect with its 95 % interval; 0 is no relation. Only variants that every model of a benchmark scored.",
        rows.rename(columns={"dataset": "panel", "model": "label"}),
        "Pearson r",
    )


def _costs(results: Results) -> Table | None:
    """What scoring costs with each model, over all sets it scored."""
    # A model that saw every locus of a set scores none of its variants.
    records = pd.DataFrame([record for record in results.scoring_costs if record["variants"]])
    if records.empty:
        return None
    models = records.groupby("model", sort=False)
    table = models[["architecture", "parameters", "checkpoints"]].first()
    table["ms_per_variant"] = 1000 * models["seconds"].sum() / models["variants"].sum()
    table["memory_mib"] = models["peak_memory_mib"].max()
    table["gpu_memory_mib"] = pd.to_numeric(models["device_memory_mib"].max(), errors="coerce")
    table[["threads", "device", "precision"]] = models[["threads", "device", "precision"]].first()
    return Table("What scoring costs", table.dropna(axis=1, how="all").reset_index(), COSTS)


def _one_benchmark(section: Section, dataset: str, rows: pd.DataFrame, points: pd.DataFrame | None) -> None:
    section.head(dataset)
    name = re.sub(r"[^A-Za-z0-9]+", "-", dataset).lower()
    chosen = rows[(rows["metric"] == "pearson") & rows["subset"].isin(["all", "significant"]) & (rows["n"] >= FEWEST)]
    chosen = chosen.assign(label=chosen["model"] + np.where(chosen["subset"] == "all", "", " (significant)"))
    if chosen.empty:
        section.say(f"{dataset}: fewer than {FEWEST} variants that every model scored; no figure is drawn.")
        return
    label = "Pearson r of predicted and measured effect"
    section.show(
        plots.forest(
            f"effects-{name}-pearson",
            f"{dataset}: {label}",
            "Point and 95 % interval of each model, 0 is no relation.",
            chosen[["label", "value", "ci_low", "ci_high", "n"]].assign(group=chosen["model"]),
            label,
        )
    )
    if points is None or points.empty:
        return
    models = models_of(points)[:MOST_PANELS]
    section.show(_sign_by_size(name, dataset, points, models))
    section.show(_calibration(name, dataset, points, models))
    section.show(
        plots.density_panels(
            f"effects-{name}-scatter",
            f"{dataset}: predicted and measured effects",
            "One point a variant, log2 alternative over reference. Each model has its own scale of predicted effects.",
            {model: (points[model], points["measured"]) for model in models},
            "predicted effect (log2)",
            "measured effect (log2)",
            own_scales=True,
        )
    )
    section.show(_ranking(name, dataset, rows, points, models))
    groups = rows[(rows["metric"] == "pearson") & ~rows["subset"].isin(["all", "significant", "active"])]
    if not groups.empty:
        wide = groups.pivot_table(index="subset", columns="model", values="value", sort=False).reset_index()
        section.show(Table(f"{dataset}: Pearson r by group", wide))


def _ranking(name: str, dataset: str, rows: pd.DataFrame, points: pd.DataFrame, models: list[str]) -> Figure | None:
    """ROC and precision-recall curves of significant against other variants, by the size of the predicted effect."""
    known = points.dropna(subset=["significant"])
    positive = known["significant"].to_numpy(float) == 1
    if not 0 < positive.sum() < len(known):
        return None
    curves = {}
    for model in models:
        areas = rows[(rows["model"] == model) & (rows["subset"] == "all")].set_index("metric")
        measured = [f"{areas['value'].get(metric, np.nan):.2f}" for metric in ("auroc", "auprc")]
        curves[f"{model} {measured[0]} / {measured[1]}"] = ranking_curve(known[model].abs().to_numpy(float), positive)
    share = positive.mean()
    return plots.ranking(
        f"effects-{name}-ranking",
        f"{dataset}: which variants have an effect",
        f"Significant against other variants, ranked by the size of the predicted effect: {positive.sum():,} significant and "
        f"{(~positive).sum():,} controls (n = {len(known):,}). Beside each model auROC / auPRC; with no skill they are 0.50 / {share:.2f}, the share "
        "of significant variants (dashed).",
        curves,
        share,
    )


def ranking_curve(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> pd.DataFrame:
    """``false_positive_rate recall precision`` at each distinct score, the highest first; tied scores enter together."""
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    hits = np.cumsum(positive[order])[ends]
    called = ends + 1
    return pd.DataFrame(
        {
            "false_positive_rate": (called - hits) / (~positive).sum(),
            "recall": hits / positive.sum(),
            "precision": hits / called,
        }
    )


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
