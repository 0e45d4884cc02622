"""Variant effects against every benchmark: how well each model ranks, sorts and sizes them."""

import re

import numpy as np
import pandas as pd

from allelegro.report import plots
from allelegro.report.comparisons import is_baseline
from allelegro.report.report import Figure, Report, Section, Table
from allelegro.report.results import Results

COSTS = {
    "parameters": "Weights of one network.",
    "checkpoints": "Networks of the ensemble; each scores both alleles on both strands.",
    "ms_per_variant": "Milliseconds from the first variant read to the last score written, by variant; without the start of Python and the loading of weights.",
    "memory_mib": "Largest resident memory of the process, MiB.",
    "gpu_memory_mib": "Largest allocation on the GPU, MiB.",
}
SHOWN = ("pearson", "spearman", "sign_accuracy", "auroc", "auprc")
MOST_PANELS = 6
FEWEST = 10  # variants for a row in a forest plot


def variant_effects(results: Results, report: Report) -> None:
    """What was scored and what was not; per benchmark a forest plot, right signs, calibration, scatter, ROC."""
    section = report.section("effects", "Variant effects")
    metrics = results.metrics[results.metrics["stage"] == "effects"]
    if metrics.empty:
        section.say("No benchmark of variant effects ran: no set with measured effects was given.")
        if scored := sorted({f"{record['set']} by {record['model']}" for record in results.scoring_costs}):
            section.say(f"Variants were scored: {', '.join(scored)}; the scores are in effects/scores.")
    else:
        section.say(
            "Measured against predicted effects of single variants, each model on the same variants. A positive effect means "
            "that the alternative allele increases activity. Intervals are bootstrapped by locus where variants cluster."
        )
        section.show(_overview(metrics))
    section.show(_not_scored(results, report))
    section.show(_costs(results))
    for dataset, rows in metrics.groupby("dataset", sort=False):
        _one_benchmark(results, section, str(dataset), rows)


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


def _not_scored(results: Results, report: Report) -> Table | None:
    """Variants that a model did not score, counted by reason; a set without any score is a warning."""
    scored = {(record["set"], record["model"]): record["variants"] for record in results.scoring_costs}
    for name in dict.fromkeys(name for name, _ in scored):
        if not any(count for (of, _), count in scored.items() if of == name):
            report.warn(f"No variant of {name} was scored by any model: the reasons are under Variant effects.")
    rows = [
        {"set": name, "model": model, "scored": scored.get((name, model)), "reason": reason.replace("_", " "), "variants": n}
        for (name, model), dropped in results.dropped_variants.items()
        for reason, n in dropped.most_common()
    ]  # fmt: skip
    return Table("Variants that were not scored", pd.DataFrame(rows)) if rows else None


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


def _one_benchmark(results: Results, section: Section, dataset: str, rows: pd.DataFrame) -> None:
    section.head(dataset)
    name = f"effects-{re.sub(r'[^A-Za-z0-9]+', '-', dataset).lower()}"
    chosen = rows[(rows["metric"] == "pearson") & rows["subset"].isin(["all", "significant"]) & (rows["n"] >= FEWEST)]
    chosen = chosen.assign(label=chosen["model"] + np.where(chosen["subset"] == "all", "", plots.SIGNIFICANT))
    if chosen.empty:
        section.say(f"{dataset}: fewer than {FEWEST} variants that every model scored; no figure is drawn.")
        return
    label = "Pearson r of predicted and measured effect"
    section.show(
        plots.forest(
            f"{name}-pearson",
            f"{dataset}: {label}",
            "Point and 95 % interval of each model, 0 is no relation.",
            chosen[["label", "value", "ci_low", "ci_high", "n"]],
            label,
        )
    )
    section.show(_all_models(dataset, rows))
    for _, row in rows[rows["metric"] == "excluded_seen"].iterrows():
        section.say(f"{int(row['value']):,} variants are excluded: training of {row['model']} saw their place.")
    points = results.benchmark_points.get(dataset)
    if points is None or points.empty:
        return
    models = [model for model in dict.fromkeys(chosen["model"].astype(str)) if model in points][:MOST_PANELS]
    curves = results.benchmark_curves.get(dataset, pd.DataFrame(columns=["model", "curve", "x", "y"]))
    curves = curves[curves["model"].isin(models)]
    section.show(_signs(name, dataset, curves, rows))
    section.show(_calibration(name, dataset, curves))
    section.show(
        plots.density_panels(
            f"{name}-scatter",
            f"{dataset}: predicted and measured effects",
            "One point a variant, log2 alternative over reference. Each model has its own scale of predicted effects.",
            {model: (points[model], points["measured"]) for model in models},
            "predicted effect (log2)",
            "measured effect (log2)",
            own_scales=True,
        )
    )
    section.show(_ranking(name, dataset, rows, points, curves))
    groups = rows[(rows["metric"] == "pearson") & ~rows["subset"].isin(["all", "significant", "active"])]
    if not groups.empty:
        wide = groups.pivot_table(index="subset", columns="model", values="value", sort=False).reset_index()
        section.show(Table(f"{dataset}: Pearson r by group", wide))


def _ranking(name: str, dataset: str, rows: pd.DataFrame, points: pd.DataFrame, curves: pd.DataFrame) -> Figure | None:
    """ROC and precision-recall curves of significant against other variants, by the size of the predicted effect."""
    drawn = curves[curves["curve"].isin(["roc", "precision_recall"])]
    if drawn.empty:
        return None
    areas = rows[rows["subset"] == "all"].set_index(["model", "metric"])["value"]
    labels = {
        model: f"{model} " + " / ".join(f"{areas.get((model, area), np.nan):.2f}" for area in ("auroc", "auprc"))
        for model in drawn["model"].unique()
    }
    known = points["significant"].dropna().astype(float) == 1
    return plots.ranking(
        f"{name}-ranking",
        f"{dataset}: which variants have an effect",
        f"Significant against other variants, ranked by the size of the predicted effect: {known.sum():,} significant and "
        f"{(~known).sum():,} controls (n = {len(known):,}). After each model auROC / auPRC; with no skill they are 0.50 / {known.mean():.2f}, "
        "the share of significant variants (dashed).",
        drawn.assign(model=drawn["model"].map(labels)),
        float(known.mean()),
    )


def _signs(name: str, dataset: str, curves: pd.DataFrame, rows: pd.DataFrame) -> Figure | None:
    majority = rows[(rows["model"] == "baseline_majority") & (rows["subset"] == "all")]["value"]
    chance = float(majority.iloc[0]) if len(majority) else None
    return plots.lines(
        f"{name}-sign",
        f"{dataset}: right sign by predicted effect size",
        "Share of variants with the right direction among the variants with the largest predicted effects."
        + (f" Always guessing the majority sign is right for {chance:.2f} of all variants (dashed)." if chance else ""),
        _series(curves, "right_sign"),
        "share of variants kept, largest predictions first",
        "share with the right sign",
        log_x=True,
        chance=chance,
    )


def _all_models(dataset: str, rows: pd.DataFrame) -> Table | None:
    """Every model and every baseline by every metric, with intervals: what has no sign (distance) has no r."""
    of = rows[(rows["subset"] == "all") & rows["metric"].isin(SHOWN)].dropna(subset=["value"])
    if of.empty:
        return None
    told = [
        f"{value:z.2f}" + ("" if pd.isna(low) else f" ({low:z.2f} to {high:z.2f})")
        for value, low, high in zip(of["value"], of["ci_low"], of["ci_high"], strict=True)
    ]
    wide = of.assign(told=told).pivot_table(index="model", columns="metric", values="told", aggfunc="first", sort=False)
    wide = wide.reindex(columns=[metric for metric in SHOWN if metric in wide]).reset_index()
    last = wide["model"].map(is_baseline)
    return Table(f"{dataset}: every model and baseline (95 % interval)", pd.concat([wide[~last], wide[last]]))


def _calibration(name: str, dataset: str, curves: pd.DataFrame) -> Figure | None:
    return plots.lines(
        f"{name}-calibration",
        f"{dataset}: calibration",
        "Mean measured effect in tenths of the predicted effect; on the dashed line sizes agree, not only ranks.",
        _series(curves, "calibration"),
        "mean predicted effect (log2)",
        "mean measured effect (log2)",
        diagonal=True,
    )


def _series(curves: pd.DataFrame, curve: str) -> dict[str, tuple[pd.Series, pd.Series]]:
    chosen = curves[curves["curve"] == curve].groupby("model", sort=False)
    return {str(model): (rows["x"], rows["y"]) for model, rows in chosen}
