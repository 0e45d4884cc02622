"""Drawings along the genome: signal by genotype, saturation maps and sequence logos."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.report.plots import DIVERGING, colour_bar, colour_of
from allelegro.report.report import GREY, PALETTE, Figure, figure_of
from allelegro.report.svg import INK, WIDTH, Axes, Drawing, blend, limits, text_width

BASES = list("ACGT")
LETTER_COLOURS = {"A": "#23976b", "C": "#2f7fc1", "G": "#e0861a", "T": "#cf4a5c"}
LETTERS_A_LINE = 50
PLUS, MINUS, OBSERVED = PALETTE[0], PALETTE[3], GREY
LEFT, TRACK, HEADING, BAR = 48.0, 62.0, 16.0, 14.0
ArrayOfInts = Sequence[int] | NDArray[np.int64]


def loci(
    name: str,
    title: str,
    caption: str,
    signal: NDArray[np.floating[Any]],
    first: int,
    genotype: "pd.Categorical[object]",
    quantities: pd.DataFrame,
    variant: int | None,
    snvs: pd.DataFrame | None,
) -> Figure:
    """One track a genotype, a saturation map, and bars of the observed and predicted signal of each genotype below.

    ``signal`` is ``[donor, strand, base]`` from the 0-based position ``first`` on, ``quantities`` has one row a donor
    (``observed`` and one column a model, maybe none), ``variant`` and ``snvs`` are 1-based.
    """
    groups = list(genotype.categories)
    positions = first + 1 + np.arange(signal.shape[2])
    models = [str(column) for column in quantities if column not in ("donor", "genotype")]
    means = [signal[np.asarray(genotype == group)].mean(axis=0) for group in groups]
    xlim = (float(positions[0]) - 0.5, float(positions[-1]) + 0.5)
    ylim = limits([mean * [[1], [-1]] for mean in means], around=0)
    drawing = Drawing(0)
    rows: list[pd.DataFrame] = []
    top = 4.0
    mapped = snvs is not None and not snvs.empty
    for place, (group, mean) in enumerate(zip(groups, means, strict=True)):
        axes = Axes(drawing, LEFT, top + HEADING, WIDTH - LEFT - 8, TRACK, xlim, ylim)
        last = place == len(groups) - 1 and not mapped
        _strands(axes, positions, mean, str(group), int(np.asarray(genotype == group).sum()))
        axes.frame("position (1-based)" if last else "", xticks=last, whole=True)
        _marked(axes, variant)
        rows += [
            pd.DataFrame({"track": strand, "genotype": group, "position": positions, "value": values})
            for strand, values in zip(("plus", "minus"), mean, strict=True)
        ]
        top += HEADING + TRACK + 4
    if snvs is not None and mapped:
        axes = Axes(drawing, LEFT, top, WIDTH - LEFT - 8, 44, xlim, (0, 1))
        matrix = effects(snvs)
        limit = _squares(axes, matrix)
        axes.frame("position (1-based)", yticks=False, whole=True)
        _marked(axes, variant)
        rows.append(_as_rows(matrix))
        top += 44
        colour_bar(drawing, top + 36, -limit, limit, "effect (log2)", DIVERGING)
        top += 24
    top += 34
    if models:
        top = _bars(drawing, top + 8, groups, genotype, quantities, models, rows)
    drawing.height = top
    return figure_of(drawing, name, title, caption, pd.concat(rows, ignore_index=True))


def _strands(axes: Axes, positions: NDArray[np.int64], mean: NDArray[np.floating[Any]], label: str, n: int) -> None:
    axes.drawing.text(axes.left, axes.top - 5, f"{label}, n = {n}", bold=True)
    zero = float(axes.y(0))
    for strand, values, colour in (("plus", mean[0], PLUS), ("minus", -mean[1], MINUS)):
        full = np.flatnonzero(values)
        bars = zip(axes.x(positions[full] - 0.5), axes.y(values[full]), strict=True)
        w = max(axes.width / len(positions), 0.7)
        d = "".join(f"M{x:.1f} {zero:.1f}V{y:.1f}h{w:.1f}V{zero:.1f}z" for x, y in bars)
        axes.drawing.path(d or f"M{axes.left:.1f} {zero:.1f}", fill=colour, tip=f"{label}, {strand} strand")
    axes.drawing.path(f"M{axes.left:.1f} {zero:.1f}h{axes.width:.1f}", stroke=GREY, width=0.6)


def _bars(
    drawing: Drawing, top: float, groups: Sequence[object], genotype: "pd.Categorical[object]", quantities: pd.DataFrame,
    models: list[str], rows: list[pd.DataFrame],
) -> float:  # fmt: skip
    """Means as bars, the observed donors as points, genotype by genotype; adds the rows behind them, returns the end."""
    left = 12 + max(text_width(model, 9.5) for model in models)
    values = quantities[models]
    axes = Axes(
        drawing, left, top, WIDTH - left - 12, 0, (0, 1.05 * float(np.nanmax(values.to_numpy(float))) or 1.0), (0, 1)
    )
    y = top
    for group in groups:
        donors = quantities[np.asarray(genotype == group)]
        drawing.text(left, y + 11, str(group), size=10.5, bold=True)
        y += 15
        for place, model in enumerate(models):
            mean = float(donors[model].mean())
            colour = OBSERVED if model == "observed" else colour_of(model, place)
            drawing.text(left - 6, y + 11, model.replace("_", " "), size=9.5, anchor="end")
            if np.isfinite(mean):
                drawing.rect(
                    left,
                    y + 2,
                    float(axes.x(mean)) - left,
                    BAR - 4,
                    fill=colour,
                    tip=f"{group}, {model}: {mean:.3g} RPM",
                )
            if model == "observed":
                drawing.dots(axes.x(donors[model]), np.full(len(donors), y + BAR / 2), fill=INK, size=3)
            rows.append(pd.DataFrame({"track": model, "genotype": group, "position": pd.NA, "value": donors[model]}))
            y += BAR
    axes.height = y - top
    axes.frame("RPM of the window", yticks=False)
    return y + 36


def _marked(axes: Axes, variant: int | None) -> None:
    if variant is not None:
        axes.upright(variant, stroke=INK, dash="3 2", tip=f"the variant, {variant:,}")


def effects(snvs: pd.DataFrame) -> pd.DataFrame:
    """Effect of each new base (rows A C G T) at each position; missing for the reference base."""
    return snvs.pivot_table(index="alt", columns="pos", values="effect").reindex(BASES)


def _as_rows(matrix: pd.DataFrame) -> pd.DataFrame:
    table = matrix.rename_axis("new base").reset_index().melt(id_vars="new base", var_name="position")
    return (
        table.assign(track="effect of " + table["new base"], genotype="")
        .drop(columns="new base")
        .dropna(subset="value")
    )


def _squares(axes: Axes, matrix: pd.DataFrame, limit: float | None = None) -> float:
    """Every change as a square, A to T from above; returns the effect of the strongest colour."""
    values = matrix.to_numpy(float)
    limit = limit or float(np.nanmax(np.abs(values))) or 1.0
    positions = matrix.columns.to_numpy(np.int64)
    left = axes.x(positions - 0.5)
    w, h = axes.width / (axes.xlim[1] - axes.xlim[0]), axes.height / 4
    for base, row in enumerate(values):
        y = axes.top + base * h
        axes.drawing.text(axes.left - 4, y + h - 1.5, BASES[base], size=min(9.5, h + 1), anchor="end")
        for x, position, value in zip(left, positions, row, strict=True):
            if np.isfinite(value):
                tip = f"{position:,} to {BASES[base]}: {value:+.2f}"
                axes.drawing.rect(x, y, w, h, fill=blend(0.5 + value / limit / 2, DIVERGING), tip=tip)
    return limit


def logo(axes: Axes, letters: Sequence[str], places: ArrayOfInts, heights: NDArray[np.float64]) -> None:
    """One letter a place, as tall as its importance; those below the line hang upside down."""
    zero = float(axes.y(0))
    w = axes.width / (axes.xlim[1] - axes.xlim[0])
    for base, x, y, height, place in zip(
        letters, axes.x(np.asarray(places) - 0.5), axes.y(heights), heights, places, strict=True
    ):
        if base in LETTER_COLOURS and np.isfinite(height):
            tip = f"{base} at {place:,}: {height:+.2f}"
            axes.drawing.letter(base, x, y, w, zero - y, fill=LETTER_COLOURS[base], tip=tip)
    axes.drawing.path(f"M{axes.left:.1f} {zero:.1f}h{axes.width:.1f}", stroke=INK, width=0.5)


def saturation(name: str, title: str, caption: str, snvs: pd.DataFrame) -> Figure:
    """A sequence logo over squares of every change, in lines of ``LETTERS_A_LINE`` bases.

    A letter's height is minus the mean effect of its changes: positive where the reference base raises activity.
    """
    matrix = effects(snvs)
    reference = snvs.drop_duplicates("pos").set_index("pos")["ref"].reindex(matrix.columns)
    importance = -matrix.mean()
    lines = [matrix.columns[at : at + LETTERS_A_LINE] for at in range(0, matrix.shape[1], LETTERS_A_LINE)]
    limit = float(np.nanmax(np.abs(matrix.to_numpy(float)))) or 1.0
    ylim = limits([importance], around=0)
    drawing = Drawing(128 * len(lines) + 8)
    for place, line in enumerate(lines):
        top, span = 128.0 * place, (float(line[0]) - 0.5, float(line[0]) + LETTERS_A_LINE - 0.5)
        upper = Axes(drawing, 34, top + 6, WIDTH - 40, 56, span, ylim)
        upper.frame("", xticks=False)
        logo(upper, reference[line].tolist(), line.to_numpy(), importance[line].to_numpy(float))
        lower = Axes(drawing, 34, top + 68, WIDTH - 40, 36, span, (0, 1))
        lower.frame("", yticks=False, whole=True)
        _squares(lower, matrix[line], limit)
    data = matrix.T.assign(ref=reference, importance=importance).rename_axis("pos").reset_index()
    return figure_of(drawing, name, title, caption, data)
