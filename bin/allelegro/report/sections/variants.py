"""The variants that a user asked about: every one with its score or the reason why it has none, the top ones as cards."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from allelegro.report import plots, tracks
from allelegro.report.plots import colour_of
from allelegro.report.report import Answer, Figure, Report, Section, Table, figure_of
from allelegro.report.results import Results
from allelegro.report.sections.loci import by_genotype
from allelegro.report.svg import WIDTH, Axes, Drawing, limits

MOST_ROWS = 500  # of the table: the rest is in the scores
MOST_CARDS = 12
SCORED = "scored"
SURE = 0.9
RARE = 0.95  # null quantile of an effect that few random SNVs reach
KEY = ["chrom", "pos", "ref", "alt"]
NOTHING = (".", "", "nan")
EXPECTED = {"seen": "no"}  # a column of which this is all is not shown
# Columns of the table: of a set's variants, and as readers see them.
SHOWN = {
    "best_score": "effect", "id": "id", "best_model": "model", "seen": "seen in training",
    "sign_probability": "P(sign right)", "null_quantile": "null quantile", "effect_sd": "spread",
    "gene": "gene", "tss_distance": "bp from its start", "motif": "motif", "motif_change": "by alt",
    "motif_bits": "bits", "af": "allele frequency", "window": "window", "distance": "bp from its centre",
    "window_expression": "RPM of the window",
}  # fmt: skip
ABOUT = {
    "effect": "log2 of predicted activity, alternative over reference allele; positive: the alternative allele increases activity.",
    "model": "The model with the largest r with measured effects of those that scored the variant, without measured effects legnet.",
    "seen in training": "yes: training of the networks behind the effect saw this element, so it is no held-out prediction.",
    "P(sign right)": "Probability that the sign of the effect is right, calibrated on measured effects that the model did not see.",
    "null quantile": "Share of random SNVs of the variant's class with a smaller effect; uniform where nothing happens.",
    "spread": "Standard deviation of the effect over checkpoints, strands and shifts.",
    "gene": "Of the nearest transcription start in the annotation.",
    "bp from its start": "Negative: upstream of the transcription start.",
    "motif": "The motif whose hit changes most between the alleles.",
    "by alt": "Whether the alternative allele made, broke, strengthened or weakened the motif.",
    "bits": "Log-odds score of the motif, alternative less reference allele.",
    "allele frequency": "INFO/AF of the VCF.",
    "window": "The PRO-cap window that the variant is in, and was scored in.",
    "bp from its centre": "Negative: left of the window's centre.",
    "RPM of the window": "Observed reads per million in the window, both strands, the mean over libraries (by size factors).",
}


def scored_variants(results: Results, report: Report) -> None:
    """A section where variants were given to be scored; nothing otherwise."""
    if not results.scored_sets:
        return
    section = report.section("variants", "Scored variants")
    section.say(
        "Effects are log2 of predicted activity, alternative over reference allele: positive means that the alternative allele "
        "increases activity. Where scripts run, a click on a heading sorts and the field above a table filters it."
    )
    for name, table in results.scored_sets.items():
        section.head(name)
        report.answers += _answers(name, table)
        section.show(_unscored(name, table))
        top = top_variants(table)
        if top.empty:
            report.warn(f"No variant of {name} was scored by any model: the reasons are under Scored variants.")
            continue
        section.show(_table(name, top))
        section.show(_sign_calibration(name, top, results.sign_calibrations.get(name)))
        _cards(results, section, name, top.head(MOST_CARDS))


def top_variants(table: pd.DataFrame) -> pd.DataFrame:
    """Scored variants in the order that their table gives, each once."""
    return table[table["rank"].notna()]


def _unscored(name: str, table: pd.DataFrame) -> Table | None:
    """Variants without a score by reason."""
    counts = _reasons(table)
    return (
        Table(f"{name}: variants without a score, by reason", counts.rename_axis("reason").reset_index(name="variants"))
        if len(counts)
        else None
    )


def _reasons(table: pd.DataFrame) -> pd.Series:
    """How many variants have no score for each reason, the most frequent first."""
    lost = table[table["status"] != SCORED]
    return lost["reason"].where(lost["reason"] != "", lost["status"].str.replace("_", " ")).value_counts()


def _answers(name: str, table: pd.DataFrame) -> Iterator[Answer]:
    """How many have a score and why others have none, how far to trust them, and which stand out."""
    lost = _reasons(table)
    reasons = "; ".join(f"{reason} ({n:,})" for reason, n in lost.items())
    models = table.loc[table["status"] == SCORED, "best_model"].value_counts()
    by = " and ".join(f"{model} ({n:,})" for model, n in models.items()) if len(models) > 1 else "".join(models.index)
    done = len(table) - int(lost.sum())
    why = f"Without a score: {reasons}." if reasons else "None is without a score."
    yield Answer(f"What was scored of {name}?", f"{done:,} of {len(table):,} variants{f' by {by}' if by else ''}.", why)
    top = top_variants(table)
    if top.empty:
        return
    yield _trust(name, top)
    said = "; ".join(f"{place(row)} {row['best_score']:+.2f}{_spread(row)}" for _, row in top.head(3).iterrows())
    largest = float(top["best_score"].iloc[0])
    yield Answer(
        f"Which variants of {name} stand out?",
        f"The largest: {2 ** abs(largest):.2g}-fold {'more' if largest > 0 else 'less'} activity.",
        f"Predicted effects of the alternative allele (log2): {said}.",
    )


def _spread(row: pd.Series) -> str:
    return "" if pd.isna(row.get("effect_sd")) else f" ± {row['effect_sd']:.2f}"


def _trust(name: str, top: pd.DataFrame) -> Answer:
    """How many signs are sure and how many effects stand out of random SNVs; without measured effects, of their spread."""
    question, because = f"How far can the scores of {name} be trusted?", _seen_said(top)
    sure, quantile, sd = (_figures(top, column) for column in ("sign_probability", "null_quantile", "effect_sd"))
    if quantile.notna().any():
        because += (
            f"{int((quantile > RARE).sum()):,} of {int(quantile.notna().sum()):,} effects are larger than those of 95 % of random "
            f"SNVs of their class, where chance gives {(1 - RARE) * quantile.notna().sum():,.0f}. "
        )
    if sure.notna().any():
        answer = f"{int((sure >= SURE).sum()):,} of {len(top):,} have the right sign with probability {SURE} or more."
        return Answer(question, answer, f"{because}The probability is calibrated on held-out measured effects.")
    if sd.notna().any():
        clear = int((top["best_score"].abs() > 2 * sd).sum())
        answer = f"{clear:,} of {len(top):,} effects are larger than twice their spread."
        because = f"The spread is over checkpoints, strands and shifts. {because}"
    else:
        answer = "Nothing of this run says."
    return Answer(question, answer, f"{because}Whether these signs are right was not measured in this run.")


def _seen_said(top: pd.DataFrame) -> str:
    """How many scores are no held-out predictions, or may be none."""
    said = ""
    if seen := int((top.get("seen", pd.Series("no", top.index)) == "yes").sum()):
        said += (
            f"{seen:,} of {len(top):,} lie where training saw the element (column seen): the model knows its activity, though not "
            "necessarily this allele's, and no held-out figure says how good these scores are. "
        )
    if unknown := int((top.get("seen", pd.Series("no", top.index)) == "unknown").sum()):
        said += f"Of {unknown:,} it is unknown whether training saw them. "
    return said


def _figures(table: pd.DataFrame, column: str) -> pd.Series:
    return table[column].astype(float) if column in table else pd.Series(np.nan, table.index)


def place(row: pd.Series) -> str:
    """A variant as people write it: chr1:12,345 A>G."""
    ref, alt = (
        allele if len(allele) <= 12 else f"{allele[:9]}…{len(allele)} bp"
        for allele in (str(row["ref"]), str(row["alt"]))
    )
    return f"{row['chrom']}:{int(row['pos']):,} {ref}>{alt}"


def _table(name: str, top: pd.DataFrame) -> Table:
    """The top variants with all that is known of them, and the effects by each model where there are several."""
    shown = top.head(MOST_ROWS)
    columns: dict[str, object] = {"variant": [place(row) for _, row in shown.iterrows()]}
    for column, title in SHOWN.items():
        if column in shown and not shown[column].isin([*NOTHING, np.nan, EXPECTED.get(column)]).all():
            columns[title] = shown[column].mask(shown[column].isin(NOTHING), None).to_numpy()
    by_model = [column for column in map(str, shown.loc[:, "reason":]) if column.startswith("effect_")]
    if len(by_model) > 1:
        columns |= {f"effect by {column.removeprefix('effect_')}": shown[column].to_numpy() for column in by_model}
    more = "" if len(top) <= MOST_ROWS else f", the {MOST_ROWS} largest of {len(top):,}"
    return Table(f"{name}: effects{more}", pd.DataFrame(columns), ABOUT, folded=False, search=True)


def _sign_calibration(name: str, top: pd.DataFrame, bins: pd.DataFrame | None) -> Figure | None:
    """Probabilities of a right sign against what they came to, of the model that most scores are of."""
    if bins is None or bins.empty:
        return None
    model = str(top["best_model"].mode().iloc[0])
    mine = bins[bins["model"] == model]  # of each class and of all; a single class is all
    of_all = mine[mine["class"] == "all"]
    if of_all.empty:
        return None
    error = float(np.average((of_all["predicted"] - of_all["observed"]).abs(), weights=of_all["n"]))
    series = {
        f"{group} (n = {int(rows['n'].sum()):,})": (rows["predicted"], rows["observed"])
        for group, rows in (mine if mine["class"].nunique() > 2 else of_all).groupby("class", sort=False)
    }
    return plots.lines(
        f"sign-calibration-{_slug(name)}",
        f"{name}: is the probability of a right sign right?",
        f"Measured variants that {model} did not see, in tenths of the probability, each held out of its calibration; on the dashed "
        f"line the probability is what it says. Expected calibration error {error:.3f}. near: within 115 bp of a window's centre; "
        "far: further away; outside: in no window.",
        series, "probability that the sign is right", "share of right signs", diagonal=True,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- cards


def _cards(results: Results, section: Section, name: str, top: pd.DataFrame) -> None:
    """One card a variant: what is predicted for both alleles, which bases matter in each, and what donors show."""
    importance = results.importance.get(name)
    for number, (_, row) in enumerate(top.iterrows(), 1):
        slug = f"{_slug(name)}-{number}"
        section.head(f"{place(row)}{_named(row)}", small=True)
        section.say(_facts(row))
        section.show(_alleles(slug, row, str(row["best_model"])))
        if importance is not None:
            mine = importance[(importance[KEY].astype(str) == row[KEY].astype(str).to_numpy()).all(axis=1)]
            if len(mine):
                section.show(allele_logos(slug, row, mine))
        section.show(by_genotype(results, slug, row))


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name)


def _named(row: pd.Series) -> str:
    return f" ({row['id']})" if str(row.get("id", ".")) not in NOTHING else ""


def _facts(row: pd.Series) -> str:
    """All that is known of a variant, in one paragraph: effect, trust, place, gene, motif."""
    return " ".join(f"{said[0].upper()}{said[1:]}." for said in _said(row))


def _said(row: pd.Series) -> Iterator[str]:
    score = float(row["best_score"])
    yield f"effect {score:+.3f}{_spread(row)} log2 ({2**score:.2f}-fold) by {row['best_model']}"
    if row.get("seen") == "yes":
        yield "training saw this element, so this is no held-out prediction"
    if (sure := _known(row, "sign_probability")) is not None:
        yield f"the sign is right with probability {sure:.2f}"
    if (quantile := _known(row, "null_quantile")) is not None:
        yield f"larger than {100 * quantile:.3g} % of random SNVs of its class"
    if (gene := _known(row, "gene")) is not None and (tss := _known(row, "tss_distance")) is not None:
        yield f"{abs(tss):,.0f} bp {'up' if tss < 0 else 'down'}stream of the nearest start of transcription, of {gene}"
    if (motif := _known(row, "motif")) is not None:
        verb = {"made": "makes", "broken": "breaks", "stronger": "strengthens", "weaker": "weakens"}
        change = str(row["motif_change"])
        yield f"the alternative allele {verb.get(change, change)} motif {motif} ({row['motif_bits']:+.1f} bits)"
    if (frequency := _known(row, "af")) is not None:
        yield f"allele frequency {frequency:.3g}"
    if (window := _known(row, "window")) is not None:
        distance, rpm = _known(row, "distance"), _known(row, "window_expression")
        where = "" if distance is None else f", {abs(distance):,.0f} bp from its centre"
        yield f"in window {window}{where}" + ("" if rpm is None else f"; {rpm:.3g} RPM are observed in it")


def _known(row: pd.Series, column: str) -> Any:
    """A value of a row, or None where the run does not know it."""
    value = row.get(column)
    return None if pd.isna(value) or str(value) in NOTHING else value


def _alleles(slug: str, row: pd.Series, model: str) -> Figure | None:
    """Predicted activity of both alleles with their spread."""
    if pd.isna(row.get("ref_prediction")) or pd.isna(row.get("alt_prediction")):
        return None
    data = pd.DataFrame(
        {
            "allele": [f"{kind} {str(row[kind])[:10]}" for kind in ("ref", "alt")],
            "prediction": [row["ref_prediction"], row["alt_prediction"]],
            "sd": [row.get("ref_sd", np.nan), row.get("alt_sd", np.nan)],
        }
    ).astype({"prediction": float, "sd": float})
    spread = data["sd"].fillna(0)
    drawing = Drawing(104)
    axes = Axes(
        drawing,
        92,
        4,
        WIDTH - 132,
        60,
        limits([data["prediction"] - spread, data["prediction"] + spread], margin=0.15),
        (0, 1),
    )
    axes.frame(f"log2 activity, {model}", yticks=False)
    for line, one in enumerate(data.to_dict("records")):
        y = axes.top + 16 + 28 * line
        drawing.text(86, y + 4, str(one["allele"]), anchor="end")
        if np.isfinite(one["sd"]):
            drawing.line(axes.x([one["prediction"] - one["sd"], one["prediction"] + one["sd"]]), [y, y], stroke=colour_of(model, 0), width=2.5, opacity=0.5)  # fmt: skip
        tip = f"{one['allele']}: {one['prediction']:.3f} ± {one['sd']:.3f}"
        drawing.dot(float(axes.x(one["prediction"])), y, fill=colour_of(model, 0), size=8, tip=tip)
        drawing.text(WIDTH - 2, y + 4, f"{one['prediction']:.2f}", anchor="end")
    return figure_of(
        drawing, f"alleles-{slug}", f"{place(row)}: predicted activity", "Both alleles; bars: one standard deviation over checkpoints, strands and shifts.", data
    )  # fmt: skip


def allele_logos(slug: str, row: pd.Series, importance: pd.DataFrame) -> Figure:
    """Logos of both alleles on one scale: which bases the model relies on, with the variant marked.

    ``importance`` has ``allele offset base importance``; the offset counts from the variant's first base.
    """
    drawing = Drawing(196)
    ylim = limits([importance["importance"]], around=0)
    offsets = importance["offset"].to_numpy(np.int64)
    xlim = (float(offsets.min()) - 0.5, float(offsets.max()) + 0.5)
    for line, allele in enumerate(("ref", "alt")):
        of = importance[importance["allele"] == allele].sort_values("offset")
        axes = Axes(drawing, 40, 6 + 84 * line, WIDTH - 46, 68, xlim, ylim)
        axes.frame("bp from the variant" if line else "", xticks=bool(line))
        x = axes.x(np.array([-0.5, max(len(str(row[allele])), 1) - 0.5]))
        drawing.rect(float(x[0]), axes.top, float(x[1] - x[0]), axes.height, fill="#e0861a", opacity=0.18)
        tracks.logo(axes, of["base"].tolist(), of["offset"].to_numpy(np.int64), of["importance"].to_numpy(float))
        drawing.text(axes.left + 4, axes.top + 10, f"{allele} {str(row[allele])[:10]}", size=10.5, bold=True)
    return figure_of(
        drawing,
        f"logos-{slug}",
        f"{place(row)}: importance of each base, both alleles",
        f"By {importance['model'].iloc[0]}. Letters: minus the mean effect of changing the base (log2), so a tall letter raises activity. Shaded: the variant. A motif "
        "that one allele has and the other lacks stands out by its letters.",
        importance[["allele", "offset", "base", "importance"]],
    )  # fmt: skip
