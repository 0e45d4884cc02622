"""The variants that a user asked about: every one with its score or the reason why it has none, the top ones as cards."""

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from allelegro.report import tracks
from allelegro.report.plots import colour_of
from allelegro.report.report import Answer, Figure, Report, Section, Table, figure_of
from allelegro.report.results import Results
from allelegro.report.sections.loci import by_genotype
from allelegro.report.svg import WIDTH, Axes, Drawing, limits

MOST_ROWS = 500  # of the table: the rest is in the scores
MOST_CARDS = 12
SCORED = "scored"
SURE = 0.9
KEY = ["chrom", "pos", "ref", "alt"]
# What the table of a reader leaves to effects/scores.
HIDDEN = {
    *KEY, "model", "effect", "n_models", "n_predictions", "n_unknown", "ref_sd", "alt_sd", "effect_by_seed", "status", "reason",
    "effect_element", "effect_centred", "view", "ref_prediction", "alt_prediction",
}  # fmt: skip
ABOUT = {
    "effect": "log2 of predicted activity, alternative over reference allele; positive: the alternative allele increases activity.",
    "effect_sd": "Standard deviation of the effect over checkpoints, strands and shifts.",
    "effect_sd_models": "Standard deviation of the effect over checkpoints (folds and seeds).",
    "window": "The PRO-cap window that the variant is in, and was scored in.",
    "distance": "From the window's centre, in bp; negative: left of it.",
}


def scored_variants(results: Results, report: Report) -> None:
    """A section where variants were given to be scored; nothing otherwise."""
    if not results.scored_sets:
        return
    section = report.section("variants", "Scored variants")
    section.say(
        "Effects are log2 of predicted activity, alternative over reference allele: positive means that the alternative allele "
        "increases activity. A click on a heading sorts, the field above a table filters it."
    )
    for name, table in results.scored_sets.items():
        section.head(name)
        model = main_model(results, table)
        report.answers += _answers(name, table, model)
        section.show(_unscored(name, table))
        top = top_variants(table, model)
        if top.empty:
            report.warn(f"No variant of {name} was scored by any model: the reasons are under Scored variants.")
            continue
        section.show(_table(name, table, top, model))
        _cards(results, section, name, top.head(MOST_CARDS), model)


def main_model(results: Results, table: pd.DataFrame) -> str:
    """The model whose effects come first: that of personal genomes, else the first."""
    models = [str(model) for model in dict.fromkeys(table["model"])]
    preferred = [results.roles.get("personal"), *(model for model in models if not model.startswith("pretrained"))]
    return next((model for model in preferred if model in models), models[0])


def top_variants(table: pd.DataFrame, model: str) -> pd.DataFrame:
    """Scored rows of a model, the largest effect first, each variant once."""
    rows = table[(table["model"] == model) & table["effect"].notna()]
    return rows.iloc[np.argsort(-rows["effect"].abs().to_numpy(), kind="stable")].drop_duplicates(KEY)


def _status(table: pd.DataFrame) -> pd.Series:
    """``scored``, or why not, for each row; older tables hold scored variants alone."""
    told = (
        table["reason"].where(table["reason"].fillna("") != "", table["status"])
        if "reason" in table
        else table.get("status")
    )
    return pd.Series(SCORED, table.index) if told is None else told.where(table["effect"].isna(), SCORED)


def _unscored(name: str, table: pd.DataFrame) -> Table | None:
    """Variants without a score by reason, one column a model."""
    counts = pd.crosstab(_status(table), table["model"]).rename_axis(index="reason", columns=None)
    counts = counts.drop(index=SCORED, errors="ignore")
    if counts.empty:
        return None
    counts = counts.loc[counts.sum(axis=1).sort_values(ascending=False).index]
    return Table(f"{name}: variants without a score, by reason", counts.reset_index())


def _answers(name: str, table: pd.DataFrame, model: str) -> Iterator[Answer]:
    """How many have a score and why others have none, and which stand out."""
    mine = table[table["model"] == model]
    status = _status(mine).value_counts()
    done, lost = int(status.get(SCORED, 0)), status.drop(SCORED, errors="ignore")
    reasons = "; ".join(f"{str(reason).replace('_', ' ')} ({n:,})" for reason, n in lost.items())
    why = f"Without a score: {reasons}." if reasons else "None is without a score."
    yield Answer(f"What was scored of {name}?", f"{done:,} of {len(mine):,} variants by {model}.", why)
    yield from _trust(name, mine)
    top = top_variants(table, model).head(3)
    if len(top):
        said = "; ".join(
            f"{place(row)} {row['effect']:+.2f}"
            + ("" if pd.isna(row.get("effect_sd")) else f" ± {row['effect_sd']:.2f}")
            for _, row in top.iterrows()
        )
        largest = float(top["effect"].iloc[0])
        answer = f"The largest: {2 ** abs(largest):.2g}-fold {'more' if largest > 0 else 'less'} activity."
        yield Answer(
            f"Which variants of {name} stand out?",
            answer,
            f"Predicted effects of the alternative allele (log2): {said}.",
        )


def _trust(name: str, mine: pd.DataFrame) -> Iterator[Answer]:
    """How many effects stand out of their own spread; the scores of a run without measured effects say no more."""
    scored = mine[mine["effect"].notna()]
    question = f"How far can the scores of {name} be trusted?"
    if "sign_probability" in scored and scored["sign_probability"].notna().any():
        sure = int((scored["sign_probability"].astype(float) >= SURE).sum())
        yield Answer(
            question,
            f"{sure:,} of {len(scored):,} have the right sign with probability {SURE} or more.",
            "The probability is calibrated on held-out measured effects.",
        )
    elif "effect_sd" in scored and scored["effect_sd"].notna().any():
        clear = int((scored["effect"].abs() > 2 * scored["effect_sd"].astype(float)).sum())
        yield Answer(
            question,
            f"{clear:,} of {len(scored):,} effects are larger than twice their spread.",
            "The spread is over checkpoints, strands and shifts. Whether these signs are right was not measured in this run.",
        )


def place(row: pd.Series) -> str:
    """A variant as people write it: chr1:12,345 A>G."""
    ref, alt = (
        allele if len(allele) <= 12 else f"{allele[:9]}…{len(allele)} bp"
        for allele in (str(row["ref"]), str(row["alt"]))
    )
    return f"{row['chrom']}:{int(row['pos']):,} {ref}>{alt}"


def _table(name: str, table: pd.DataFrame, top: pd.DataFrame, model: str) -> Table:
    """The top variants with all that the scores say of them, and the effects by other models."""
    shown = top.head(MOST_ROWS)
    columns: dict[str, object] = {
        "variant": [place(row) for _, row in shown.iterrows()],
        "effect": shown["effect"].to_numpy(),
    }
    for column in shown:
        values = shown[column]
        if column not in HIDDEN and not (values.isna() | values.isin([".", ""])).all():
            columns[str(column)] = values.to_numpy()
    keys = pd.MultiIndex.from_frame(shown[KEY])
    for other, rows in table.groupby("model", sort=False):
        if other != model:
            effects = rows.drop_duplicates(KEY).set_index(KEY)["effect"].reindex(keys)
            columns[f"effect by {other}"] = effects.to_numpy()
    more = "" if len(top) <= MOST_ROWS else f", the {MOST_ROWS} largest of {len(top):,}"
    return Table(f"{name}: effects by {model}{more}", pd.DataFrame(columns), ABOUT, folded=False, search=True)


# ------------------------------------------------------------------------------------------------------------- cards


def _cards(results: Results, section: Section, name: str, top: pd.DataFrame, model: str) -> None:
    """One card a variant: what is predicted for both alleles, which bases matter in each, and what donors show."""
    importance = results.importance.get(name)
    for number, (_, row) in enumerate(top.iterrows(), 1):
        slug = re.sub(r"[^A-Za-z0-9]+", "-", f"{name}-{number}")
        section.head(f"{place(row)}{_named(row)}", small=True)
        section.say(_facts(row))
        section.show(_alleles(slug, row, model))
        if importance is not None:
            mine = importance[(importance[KEY].astype(str) == row[KEY].astype(str).to_numpy()).all(axis=1)]
            if len(mine):
                section.show(allele_logos(slug, row, mine))
        section.show(by_genotype(results, slug, row))


def _named(row: pd.Series) -> str:
    return f" ({row['id']})" if str(row.get("id", ".")) not in (".", "", "nan") else ""


def _facts(row: pd.Series) -> str:
    """All that is known of a variant, in one line."""
    said = [f"effect {row['effect']:+.3f} log2 ({2 ** row['effect']:.2f}-fold)"]
    for column, value in row.items():
        if column in HIDDEN or column == "id" or pd.isna(value) or str(value) in (".", ""):
            continue
        told = f"{value:.3g}" if isinstance(value, float) else str(value)
        said.append(f"{str(column).replace('_', ' ')} {told}")
    return "; ".join(said) + "."


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
        "Letters: minus the mean effect of changing the base (log2), so a tall letter raises activity. Shaded: the variant. A motif "
        "that one allele has and the other lacks stands out by its letters.",
        importance[["allele", "offset", "base", "importance"]],
    )  # fmt: skip
