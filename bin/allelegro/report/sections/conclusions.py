"""The first page: what a reader asks, answered in one line each, worded by the interval behind it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from allelegro.report.comparisons import (
    EFFECT_METRICS,
    SUBSETS,
    Difference,
    effect_differences,
    figure_of_model,
    headline_benchmark,
    interval,
    is_baseline,
    is_mixture,
    no_interval,
    signal_difference,
)
from allelegro.report.glossary import GLOSSARY
from allelegro.report.report import Answer, Report, Table
from allelegro.report.results import Results, Training
from allelegro.report.sections.training import CELLS, HARDEST

SIGNAL = (HARDEST, "unseen_loci/seen_donors")
PUBLISHED_EPOCHS = 200  # of CLIPNET: at most, stopped after 10 without progress
RIVALS = (("reference", "reference genome"), ("lentimpra", "lentiMPRA only"))


def conclusions(results: Results, report: Report) -> None:
    """Four answers about training on people's genomes, the evidence behind them, and the best model of each benchmark."""
    if results.finetuned:
        report.answers.append(_personal_genomes(results))
        report.answers.append(_clipnet(results))
    if results.finetuned or headline_benchmark(results) is not None:
        report.answers.append(_trusted(results))
        report.answers.append(_held_out(results))
    for table in (_evidence(results), _best_models(results)):
        if table is not None:
            report.evidence.append(table)


# ------------------------------------------------------------------------------------------------- personal genomes


def _personal_genomes(results: Results) -> Answer:
    """Against the reference genome and lentiMPRA only; the shuffled model is no yardstick, for shuffling harms."""
    question = "Do personal genomes help?"
    personal = results.roles.get("personal")
    found = {role: _headline_difference(results, personal, results.roles.get(role)) for role, _ in RIVALS}
    said = [
        f"Personal − {name}: {_said(one)}." if one else f"Personal − {name}: not compared in this run."
        for (role, name), one in zip(RIVALS, found.values(), strict=True)
    ]
    answer = _verdict(found["reference"], found["lentimpra"])
    if not any(found.values()) and results.roles.keys() & {role for role, _ in RIVALS}:
        answer = "Cannot be said: too little was held out to compare models."
    return Answer(question, answer, " ".join([*said, *_between_donors(results, personal)]))


def _headline_difference(results: Results, first: str | None, second: str | None) -> Difference | None:
    """On variant effects where they were measured, else on alleles of held-out PRO-cap, else on its donors."""
    for one in effect_differences(results, first, second):
        return one
    found = [
        signal_difference(results, first, second, metric, SIGNAL) for metric in ("allele_effect_r", "between_donors_r")
    ]
    known = [one for one in found if one is not None]
    return next((one for one in known if one.bounded), known[0] if known else None)


def _verdict(reference: Difference | None, lentimpra: Difference | None) -> str:
    if reference is None and lentimpra is None:
        return "Cannot be said: no control model was compared."
    words = [one.word("more", "less", "same") if one and one.bounded else None for one in (reference, lentimpra)]
    if not any(words):
        return "Cannot be said: the differences have no interval."
    match words:
        case ["more", "more"]:
            return "Yes."
        case ["more", None]:
            return "Yes, against the reference genome."
        case [None, "more"]:
            return "More than lentiMPRA alone, but there is no control model on the reference genome."
        case ["more", rest]:
            return f"In part: more than the reference genome, {'less' if rest == 'less' else 'not measurably more'} than lentiMPRA alone."
        case [rest, "more"]:
            return f"No: more than lentiMPRA alone, but {'less' if rest == 'less' else 'not measurably more'} than the reference genome."
    return "No, they harm." if "less" in words else "Not measurably."


def _said(one: Difference) -> str:
    kind = CELLS.get(one.where) or f"effects of {one.where}"
    return f"{one} ({kind})"


def _between_donors(results: Results, personal: str | None) -> Iterator[str]:
    """Differences between donors whom no model saw; permuting the donors at test time must take them away."""
    row = figure_of_model(results, personal, HARDEST, "between_donors_r")
    if row is None:
        return
    if pd.isna(row["ci_low"]):
        yield (
            f"Differences between unseen donors at unseen loci: r = {row['value']:z.2f} ({no_interval('between_donors_r')}, "
            f"{interval(row)}), from which nothing can be concluded."
        )
        return
    verb = "are predicted" if row["ci_low"] > 0 else "are not measurably predicted"
    permuted = signal_difference(results, personal, "permuted_donors", "between_donors_r", [HARDEST])
    without = f"; less itself with donors permuted: {permuted}" if permuted else ""
    yield f"Differences between unseen donors at unseen loci {verb} (r = {row['value']:z.2f}, {interval(row)}{without})."


# ---------------------------------------------------------------------------------------------------------- CLIPNET


def _clipnet(results: Results) -> Answer:
    question = "Does LegNet beat CLIPNET?"
    personal, clipnet = results.roles.get("personal"), results.roles.get("clipnet")
    if clipnet is None:
        return Answer(question, "Not asked:", "CLIPNET was not trained in this run.")
    across = _across_loci(results, clipnet)
    shortened = _shortened([model for model in results.finetuned if model.model == clipnet])
    if across is None:
        return Answer(question, "Cannot be said:", f"CLIPNET was not evaluated on held-out loci.{shortened}")
    if not _learned(across):
        said = f"Its r across unseen loci is {across['value']:z.2f} ({interval(across)}), so this run says nothing about CLIPNET."
        return Answer(question, "Cannot be said: CLIPNET did not learn here.", said + shortened)
    loci = signal_difference(results, personal, clipnet, "across_loci_r", SIGNAL)
    effects = next(iter(effect_differences(results, personal, clipnet)), None) or signal_difference(
        results, personal, clipnet, "allele_effect_r", SIGNAL
    )
    words = [_against_clipnet("across unseen loci", loci), _against_clipnet("on allele effects", effects)]
    said = " ".join(f"{start}, fine-tuned LegNet {rest}." for start, rest in words)
    return Answer(question, _clipnet_verdict(loci, effects), said + shortened)


def _across_loci(results: Results, model: str | None) -> dict[str, Any] | None:
    found = (figure_of_model(results, model, cell, "across_loci_r") for cell in SIGNAL)
    return next((row for row in found if row is not None), None)


def _learned(across: Mapping[str, Any] | None) -> bool:
    """Whether a model tells unseen loci apart; one that cannot is no rival. Without an interval nobody knows."""
    return across is None or not bool(across["ci_low"] <= 0)


def _against_clipnet(what: str, one: Difference | None) -> tuple[str, str]:
    if one is None:
        return what.capitalize(), "was not compared"
    if not one.bounded:
        return what.capitalize(), f"cannot be told from CLIPNET ({_said(one)})"
    word = one.word("better than", "worse than", "not distinguishable from")
    return what.capitalize(), f"is {word} CLIPNET ({_said(one)})"


def _clipnet_verdict(*found: Difference | None) -> str:
    words = {one.word("yes", "no", "open") for one in found if one is not None and one.bounded}
    if not words:
        return "Cannot be said:"
    return {frozenset({"yes"}): "Yes.", frozenset({"no"}): "No.", frozenset({"open"}): "Not measurably."}.get(
        frozenset(words), "In part."
    )


def _shortened(models: list[Training]) -> str:
    """What was cut of the published recipe: where settings depart from it, or the epochs ran out before the patience."""
    departures = list(
        dict.fromkeys(text for model in models for text in model.config["training"].get("departures") or [])
    )
    if departures:
        return f" Its recipe was shortened: {', '.join(map(_departure, departures))}."
    cut = [model for model in models if _ran_out(model)]
    epochs = max((len(model.history) for model in cut), default=PUBLISHED_EPOCHS)
    if epochs >= PUBLISHED_EPOCHS:
        return ""
    return (
        f" Its recipe was shortened: {epochs} epochs, where its authors allow {PUBLISHED_EPOCHS} and stop by patience."
    )


def _departure(text: str) -> str:
    """``clipnet_steps 8, published: None`` as people say it."""
    own, _, published = text.removeprefix("clipnet_").replace("_", " ").partition(", published: ")
    told = {"published": "", "None": " (published without a limit)"}.get(published, f" (published {published})")
    return own + told


def _ran_out(model: Training) -> bool:
    """Whether a training ended with its last epoch."""
    training = model.config["training"]
    if "ended_by" in training:
        return bool(training["ended_by"] == "epochs")
    return bool(len(model.history) >= training.get("epochs", PUBLISHED_EPOCHS))


# ------------------------------------------------------------------------------------------------------------ trust


def _trusted(results: Results) -> Answer:
    """By distance to the summit and by the size of the predicted effect, on one benchmark."""
    question = "Which variants can be trusted?"
    for dataset in _by_strata(results):
        rows = results.metrics[(results.metrics["dataset"] == dataset) & (results.metrics["stage"] == "effects")]
        model = results.roles.get("personal") or _best(rows)
        mine = rows[rows["model"] == model].dropna(subset=["value"])
        signs = mine[(mine["metric"] == "sign_accuracy") & mine["subset"].astype(str).str.startswith("strength_")]
        signs = signs.sort_values("subset")
        answer, said = "", []
        if len(signs):
            top, bottom = signs.iloc[-1], signs.iloc[0]
            majority = rows[(rows["model"] == "baseline_majority") & (rows["subset"] == "all")]["value"]
            chance = float(majority.iloc[0]) if len(majority) else 0.5
            answer = (
                "Those with large predicted effects."
                if top["ci_low"] > max(chance, 0.5)
                else "None measurably, not even those with large predicted effects."
            )
            said.append(
                f"The sign is right for {_share(top)} of the fifth with the largest predicted effects and {_share(bottom)} of the "
                f"fifth with the smallest; always guessing the majority sign is right for {chance:.0%}."
            )
        said += _near_and_far(mine)
        if not said:
            continue
        return Answer(
            question, answer or "See by distance:", f"{' '.join(said)} Measured on {dataset}, scored by {model}."
        )
    return Answer(
        question,
        "Not measured in this run:",
        "no benchmark has enough variants to tell by size of effect or distance to the summit.",
    )


def _share(row: pd.Series) -> str:
    if pd.isna(row["ci_low"]):
        return f"{row['value']:.0%} (n = {int(row['n']):,})"
    return f"{row['value']:.0%} (95 % {row['ci_low']:.0%} to {row['ci_high']:.0%}, n = {int(row['n']):,})"


def _by_strata(results: Results) -> list[str]:
    """Benchmarks that tell variants apart by strength or distance, the headline first, then by size."""
    table = results.metrics[results.metrics["stage"] == "effects"]
    told = table[table["subset"].astype(str).str.match(r"strength_|near$|far$")]
    sizes = told.groupby("dataset")["n"].sum().sort_values(ascending=False)
    first = headline_benchmark(results)
    return sorted((str(name) for name in sizes.index), key=lambda name: name != first)


def _near_and_far(mine: pd.DataFrame) -> Iterator[str]:
    """r of variants near the summit of their window and of those far from it."""
    for metric in EFFECT_METRICS:
        rows = mine[(mine["metric"] == metric) & mine["subset"].isin(["near", "far"])]
        parts = [f"{row['subset']} r = {row['value']:z.2f} ({interval(row)})" for _, row in rows.iterrows()]
        if parts:
            yield f"By distance to the summit: {', '.join(parts)}."
            return


# --------------------------------------------------------------------------------------------------------- held out


def _held_out(results: Results) -> Answer:
    question = "What was held out?"
    if not results.finetuned:
        scored = "the models came from outside this run; a variant that a model saw in training has no score of it"
        return Answer(question, "Nothing by this run:", f"{scored} (see the counts of unscored variants).")
    windows = 0 if results.windows is None else len(results.windows)
    folds = ", ".join(map(str, results.test_folds)) or "unknown"
    answer = (
        f"{results.test_loci:,} of {windows:,} windows and {len(results.test_donors)} of {len(results.donors)} donors."
    )
    said = (
        f"Test fold{'s' if len(results.test_folds) > 1 else ''} {folds}. A window is predicted, and a variant scored, only by "
        "checkpoints that held it out."
    )
    if results.pretrained:
        unknown = any(model.config["training"].get("overlap_unknown") for model in results.pretrained)
        said += (
            " Whether lentiMPRA sequences of pretraining overlap the held-out windows is unknown."
            if unknown
            else " lentiMPRA sequences that overlap the held-out windows were excluded from pretraining."
        )
    return Answer(question, answer, said)


# --------------------------------------------------------------------------------------------------------- evidence


def _evidence(results: Results) -> Table | None:
    """Every paired difference that bears on the first two questions."""
    personal = results.roles.get("personal")
    rows: list[tuple[str, str, Difference]] = []
    rows += list(_with_lentimpra(results, personal))
    rivals = [(results.roles.get(role), name) for role, name in (*RIVALS, ("clipnet", "CLIPNET"))]
    for other, name in (*rivals, ("permuted_donors", "itself with donors permuted")):
        found: Iterable[Difference | None] = [
            *effect_differences(results, personal, other),
            *(
                signal_difference(results, personal, other, metric, SIGNAL)
                for metric in ("allele_effect_r", "between_donors_r", "across_loci_r")
            ),
        ]
        rows += [(f"personal − {name}", CELLS.get(one.where, one.where), one) for one in found if one is not None]
    if not rows:
        return None
    learned = _learned(_across_loci(results, results.roles.get("clipnet")))

    def word(name: str, one: Difference) -> str:
        unlearned = name.endswith("CLIPNET") and not learned
        return "CLIPNET did not learn" if unlearned else one.word("better", "worse", "no difference")

    columns = ["comparison", "measured on", "metric", "difference", "ci_low", "ci_high", "n", "conclusion"]
    table = pd.DataFrame(
        [(name, where, one.metric, one.value, one.low, one.high, one.n, word(name, one)) for name, where, one in rows],
        columns=columns,
    )
    about = {"conclusion": "better or worse where the 95 % interval excludes 0"}
    return Table("The comparisons behind these answers", table, about, folded=True)


def _with_lentimpra(results: Results, personal: str | None) -> Iterator[tuple[str, str, Difference]]:
    """What the mean of the personal and the lentiMPRA networks gains, over the latter and over its control of equal size."""
    start, reference = results.roles.get("lentimpra"), results.roles.get("reference")
    for other, said in ((start, "lentiMPRA only"), (f"{reference} + {start}", "(reference + lentiMPRA)")):
        for one in effect_differences(results, f"{personal} + {start}", other):
            yield f"(personal + lentiMPRA) − {said}", one.where, one


def _best(rows: pd.DataFrame) -> str | None:
    """The model (no baseline) with the highest r on a benchmark."""
    asked = rows[rows["metric"].isin(EFFECT_METRICS) & rows["subset"].isin(SUBSETS)].dropna(subset=["value"])
    asked = asked[~asked["model"].astype(str).map(lambda model: is_baseline(model) or is_mixture(model))]
    for metric in EFFECT_METRICS:
        of = asked[asked["metric"] == metric]
        if len(of):
            return str(of["model"].iloc[int(np.argmax(of["value"]))])
    return None


def _best_models(results: Results) -> Table | None:
    """Of each benchmark: the best model, and what the strongest baseline reaches, by r and by right signs."""
    table = results.metrics[(results.metrics["stage"] == "effects") & (results.metrics["subset"] == "all")]
    rows = []
    for dataset, of in table.dropna(subset=["value"]).groupby("dataset", sort=False):
        best = _best(of)
        r = of[of["metric"] == "pearson"].set_index("model")[["value", "ci_low", "ci_high", "n"]].astype(float)
        signs = of[of["metric"] == "sign_accuracy"].set_index("model")["value"]
        if best is None or best not in r.index:
            continue
        baselines = r[r.index.map(is_baseline)]["value"]
        rows.append(
            {
                "benchmark": dataset,
                "variants": int(r["n"][best]),
                "best model": best,
                "pearson": r["value"][best],
                "ci_low": r["ci_low"][best],
                "ci_high": r["ci_high"][best],
                "best baseline": str(baselines.idxmax()).removeprefix("baseline_") if len(baselines) else None,
                "its r": baselines.max() if len(baselines) else None,
                "sign_accuracy": signs.get(best),
                "majority sign": signs.get("baseline_majority"),
            }
        )
    about = {
        "best model": "Highest r with the known truth where there is one, else with the measured effects; models whose intervals overlap are not told apart.",
        "best baseline": GLOSSARY["baseline"],
        "majority sign": GLOSSARY["baseline_majority"],
    }
    return Table("Best model of each benchmark", pd.DataFrame(rows), about) if rows else None
