"""Learning curves, and how well each model predicts loci and donors it has not seen."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from allelegro.report import plots
from allelegro.report.comparisons import signal_difference
from allelegro.report.glossary import GLOSSARY
from allelegro.report.report import Figure, Report, Section, Table
from allelegro.report.results import Results, Training

CELLS = {
    "unseen_loci/unseen_donors": "unseen loci, unseen donors",
    "unseen_loci/seen_donors": "unseen loci, seen donors",
    "seen_loci/unseen_donors": "seen loci, unseen donors",
    "seen_loci/seen_donors": "seen loci, seen donors (training data)",
}
HARDEST = "unseen_loci/unseen_donors"
CEILING = "unseen_loci/replicated_donors"
QUESTIONS = (
    ("across_loci_r", "Across loci", "Pearson r over windows"),
    ("between_donors_r", "Between donors within a locus", "Pearson r of deviations from the locus mean"),
    ("allele_effect_r", "Effect of an allele", "Pearson r over loci"),
    ("allelic_imbalance_r", "Allelic imbalance", "weighted Pearson r over windows of donors"),
    ("profile_r_median", "Shape of initiation", "median Pearson r of profiles"),
)


# Columns of history.tsv worth a curve; all but the first are measured on the validation fold.
MEASURES = {
    "train_loss": "training loss",
    "loss": "validation loss",
    "pearson": "validation Pearson r",
    "across_loci_r": "validation r across loci",
    "between_donors_r": "validation r between donors",
}


def learning_curves(results: Results, report: Report) -> None:
    """Learning curves of pretraining and fine-tuning, one line a member, and a table of models."""
    section = report.section("training", "Training")
    if not results.pretrained and not results.finetuned:
        section.say("No model was trained in this run.")
        return
    for kind, models in (("pretraining", results.pretrained), ("fine-tuning", results.finetuned)):
        if not models:
            section.say(f"No {kind} in this run.")
        for measure in _measures(models):
            shown = [model for model in models if measure in model.history and _comparable(model, measure)]
            section.show(
                plots.lines(
                    f"{kind}-{measure}".replace("_", "-"),
                    f"{kind.capitalize()}: {MEASURES[measure]}",
                    "One line for each fold and seed of a model; the checkpoint kept is the epoch best on validation.",
                    {model.name: _curve(model.history, measure) for model in shown},
                    "epoch",
                    MEASURES[measure],
                )
            )
    section.show(Table("Models", _model_table(results)))


def _measures(models: list[Training]) -> list[str]:
    """Training loss and what is measured on validation, in the order of the history."""
    columns = [column for model in models for column in model.history.columns]
    return [column for column in dict.fromkeys(columns) if column in MEASURES]


def _comparable(model: Training, measure: str) -> bool:
    """CLIPNET's own loss has another scale than a likelihood; its correlations can be compared."""
    return not (measure.endswith("loss") and model.config["architecture"] == "clipnet")


def _curve(history: pd.DataFrame, column: str) -> tuple[list[float], list[float]]:
    kept = history.dropna(subset=[column])
    return kept["epoch"].tolist(), kept[column].tolist()


def _model_table(results: Results) -> pd.DataFrame:
    rows = []
    for stage, models in (("pretrained", results.pretrained), ("fine-tuned", results.finetuned)):
        for model in models:
            training = model.config["training"]
            rows.append(
                {
                    "model": model.model,
                    "fold and seed": model.member,
                    "stage": stage,
                    "architecture": model.config["architecture"],
                    "input bp": model.config["width"],
                    "genotypes": training.get("genotypes"),
                    "starts from": _start(training.get("init")),
                    "test fold": training.get("test_fold"),
                    "epochs": len(model.history),
                }
            )
    return pd.DataFrame(rows)


def _start(init: object) -> object:
    """The checkpoint that a training started from, as model/member."""
    return "/".join(Path(str(init)).parts[-2:]) if init else None


def held_out(results: Results, report: Report) -> None:
    """The four cells, the three questions, and scatter plots of the hardest cell."""
    section = report.section("held-out", "Held-out performance")
    metrics = results.metrics[results.metrics["stage"] == "training"]
    metrics = metrics[metrics["subset"].str.contains("/", na=False)]
    if metrics.empty:
        section.say("No model was evaluated on held-out PRO-cap in this run.")
        return
    section.say(
        "Three questions that are never pooled: does a model rank loci, does it rank donors within a locus, and does it get "
        "the effect of an allele? Control models show where an advantage comes from; the replicate ceiling shows what is possible."
    )
    section.say(_pooling(results))
    _control(results, report, section)
    for metric, title, axis in QUESTIONS:
        section.show(_by_model(metrics, metric, title, axis))
    if not metrics["metric"].eq("allelic_imbalance_r").any():
        section.say("No reads told haplotypes apart, so that allelic imbalance within donors was not asked about.")
    section.show(_scatter(results.predictions))
    section.show(_cells_table(metrics))
    section.show(_differences(metrics))


def _control(results: Results, report: Report, section: Section) -> None:
    """Shuffled genotypes must help no more than the reference genome; when they do, that is a warning, not a footnote.

    Both control models start from the same lentiMPRA model and learn differences between loci, so neither is expected at zero.
    """
    shuffled, reference = results.roles.get("shuffled"), results.roles.get("reference")
    for metric, what in (("between_donors_r", "differences between donors"), ("allele_effect_r", "allele effects")):
        found = signal_difference(results, shuffled, reference, metric, list(CELLS)[:2])
        if found is None:
            continue
        if not found.bounded:
            section.say(f"What LegNet learned about {what} from shuffled genotypes cannot be judged: {found}.")
        elif found.low > 0:
            report.warn(
                f"The control failed: LegNet trained on shuffled genotypes predicts {what} better than LegNet trained on "
                f"the reference genome ({found}); something leaks between training and test."
            )
        else:
            section.say(
                f"The control holds: LegNet learned no more about {what} from shuffled genotypes than from the reference genome ({found})."
            )


def _pooling(results: Results) -> str:
    """Which loci are unseen, and which checkpoints predicted them."""
    folds = results.test_folds
    most = max(Counter(model.model for model in results.finetuned).values(), default=1)
    said = f"Unseen loci are the windows of test fold{'s' if len(folds) > 1 else ''} {', '.join(map(str, folds)) or 'unknown'}."
    if most > 1:
        said += (
            f" A model has up to {most} checkpoints (folds and seeds); each locus is predicted by the mean of those that "
            "held it out, and the loci of all test folds are pooled."
        )
    return said


def _by_model(metrics: pd.DataFrame, metric: str, title: str, axis: str) -> Figure | None:
    """One line a model in the hardest cell that has values, with the replicate ceiling where there is one."""
    of = metrics[metrics["metric"] == metric].assign(label=metrics["model"].str.replace("_", " "))
    cell = next((cell for cell in list(CELLS)[:2] if of["subset"].eq(cell).any()), None)
    if cell is None:
        return None
    return plots.forest(
        f"held-out-{metric}".replace("_", "-"),
        f"{title} ({CELLS[cell]})",
        GLOSSARY[metric],
        of.loc[of["subset"].isin([cell, CEILING]), ["label", "value", "ci_low", "ci_high", "n"]],
        axis,
    )


def _scatter(predictions: pd.DataFrame | None) -> Figure | None:
    """Observed against predicted signal of loci nobody trained on, one panel a model."""
    if predictions is None:
        return None
    held = predictions[predictions["cell"].astype(str).str.startswith("unseen_loci")]
    models = [c for c in held.columns if c not in ("window", "donor", "fold", "cell", "observed")]
    models = [model for model in models if held[model].notna().any()]
    means = held.groupby("window", observed=True)[["observed", *models]].mean()
    logs = np.log1p(means)
    return plots.density_panels(
        "held-out-scatter",
        "Predicted and observed initiation at unseen loci",
        "One point a window, mean over donors, log1p RPM; r and n above each panel.",
        {model.replace("_", " "): (logs[model], logs["observed"]) for model in models[:9]},
        "predicted, log(1 + RPM)",
        "observed, log(1 + RPM)",
    )


def _cells_table(metrics: pd.DataFrame) -> Table:
    """r across loci, between donors and of allelic imbalance, with what else is known of this, in the four cells."""
    asked = [
        "across_loci_r",
        "between_donors_r",
        "allelic_imbalance_r",
        "allelic_imbalance_slope",
        "allelic_imbalance_right_sign",
    ]
    rows = metrics[metrics["metric"].isin(asked) & metrics["subset"].isin(CELLS)]
    wide = rows.assign(cell=rows["subset"].map(CELLS)).pivot_table(
        index=["metric", "model"], columns="cell", values="value", sort=False
    )
    return Table("The questions, in the four cells", wide.reset_index())


def _differences(metrics: pd.DataFrame) -> Table | None:
    """Paired differences between models at unseen loci."""
    questions = ("across_loci_r", "between_donors_r", "allele_effect_r", "allelic_imbalance_r")
    asked = [f"{metric}_difference" for metric in questions]
    rows = metrics[metrics["metric"].isin(asked) & metrics["subset"].eq(HARDEST)]
    if rows.empty:
        return None
    rows = rows.assign(
        metric=rows["metric"].str.removesuffix("_difference"), model=rows["model"].str.replace(" - ", " − ")
    )
    shown = rows[["metric", "model", "value", "ci_low", "ci_high", "n"]]
    return Table(f"Paired differences between models ({CELLS[HARDEST]})", shown)
