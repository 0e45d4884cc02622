"""The handful of plot shapes the report is built from; each returns a :class:`~allelegro.report.report.Figure`."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from allelegro.report.report import GREY, MEMBERS, PALETTE, Figure, figure_of
from allelegro.report.svg import INK, WIDTH, Axes, Drawing, blend, limits, text_width

DENSITY = ("#9cc7ea", "#2f7fc1", "#7a3fa0", "#cf4a5c")
DIVERGING = ("#2f7fc1", "#c9ced6", "#cf4a5c")
BINS_ACROSS = 24
MOST_POINTS = 400  # more are drawn as a density
SIGNIFICANT = " (significant)"  # after a model's name: on the significant variants alone

# A model has one colour in all figures; its name begins with one of these in the pipeline's own runs.
MODEL_COLOURS = dict(
    zip(("legnet", "clipnet", "reference", "shuffled", "scratch", "pretrained"), PALETTE, strict=False)
)


def colour_of(label: str, place: int) -> str:
    """The colour of a model by its name, else the next of the palette."""
    return MODEL_COLOURS.get(re.split(r"[-_ ]", label)[0], PALETTE[place % len(PALETTE)])


def forest(name: str, title: str, caption: str, rows: pd.DataFrame, xlabel: str, *, zero: float = 0.0) -> Figure | None:
    """Values with their intervals, one line a row; ``rows`` has ``label value ci_low ci_high n``; ``zero`` is dashed.

    Rows without a value are not drawn; they are in the data.
    """
    drawn = rows.dropna(subset=["value"]).reset_index(drop=True)
    if drawn.empty:
        return None
    drawing = Drawing(24 * len(drawn) + 46)
    labels = drawn["label"].astype(str)
    axes = Axes(
        drawing, _label_space(labels), 4, 0, 24 * len(drawn), limits([drawn[["value", "ci_low", "ci_high"]]], around=zero), (0, 1)
    )  # fmt: skip
    axes.width = WIDTH - axes.left - 40
    axes.frame(xlabel, yticks=False)
    axes.upright(zero)
    models = list(dict.fromkeys(labels.str.removesuffix(SIGNIFICANT)))
    for place, row in enumerate(drawn.to_dict("records")):
        model = str(row["label"]).removesuffix(SIGNIFICANT)
        y = axes.top + 24 * place + 12
        _label(drawing, axes.left, y, str(row["label"]))
        _interval(axes, y, row, colour_of(model, models.index(model)))
        drawing.text(WIDTH - 2, y + 4, f"{row['value']:z.2f}", anchor="end")
    return figure_of(drawing, name, title, caption, rows)


def _label_space(labels: Sequence[str] | pd.Series, size: float = 10.5) -> float:
    return min(160.0, max(text_width(label, size) for label in labels) + 12)


def _label(drawing: Drawing, left: float, y: float, words: str, size: float = 10.5) -> None:
    """A name left of an axis: where it has no room on two smaller lines, broken at its last blank, or else shortened."""
    name, _, rest = words.rpartition(" ")
    fits = text_width(words, size) <= left - 8
    if name and not fits:
        size -= 2
    lines = [words] if fits or not name else [name, rest]
    for place, line in enumerate(lines):
        shown = line
        while text_width(shown, size) > left - 8:
            shown = f"{shown.removesuffix('…')[:-1]}…"
        drawing.text(left - 7, y + 4 + (place - (len(lines) - 1) / 2) * size, shown, size=size, anchor="end")


def _interval(axes: Axes, y: float, row: Mapping[Any, Any], colour: str) -> None:
    tip = f"{row['label']}: {row['value']:z.3f}"
    if pd.notna(row["ci_low"]):
        tip += f", 95 % {row['ci_low']:z.3f} to {row['ci_high']:z.3f}"
        axes.drawing.line(axes.x([row["ci_low"], row["ci_high"]]), [y, y], stroke=colour, width=2.5, opacity=0.55)
    tip += f", n = {int(row['n']):,}" if pd.notna(row.get("n")) else ""
    axes.drawing.dot(float(axes.x(row["value"])), y, fill=colour, size=7, tip=tip)


def forest_panels(name: str, title: str, caption: str, rows: pd.DataFrame, xlabel: str) -> Figure | None:
    """Forests below each other, one a ``panel``, on one scale."""
    drawn = rows.dropna(subset=["value"])
    if drawn.empty:
        return None
    labels = list(dict.fromkeys(drawn["label"].astype(str)))
    panels = [(str(panel), of) for panel, of in drawn.groupby("panel", sort=False)]
    drawing = Drawing(sum(20 * len(of) + 24 for _, of in panels) + 40)
    left = _label_space(labels)
    scale = limits([drawn[["value", "ci_low", "ci_high"]]], around=0)
    top = 0.0
    for place, (panel, of) in enumerate(panels):
        drawing.text(left, top + 15, f"{panel}, n = {int(of['n'].max()):,}", bold=True)
        axes = Axes(drawing, left, top + 20, WIDTH - left - 40, 20 * len(of), scale, (0, 1))
        last = place == len(panels) - 1
        axes.frame(xlabel if last else "", yticks=False, xticks=last)
        axes.upright(0)
        for line, row in enumerate(of.to_dict("records")):
            y = axes.top + 20 * line + 10
            _label(drawing, left, y, str(row["label"]).replace("_", " "))
            _interval(axes, y, row, colour_of(str(row["label"]), labels.index(str(row["label"]))))
            drawing.text(WIDTH - 2, y + 4, f"{row['value']:z.2f}", anchor="end")
        top += 20 * len(of) + 24
    data = rows[["panel", "label", "value", "ci_low", "ci_high", "n"]]
    return figure_of(drawing, name, title, caption, data)


def ranking(name: str, title: str, caption: str, curves: pd.DataFrame, share: float) -> Figure:
    """ROC and precision-recall curves, one line a model.

    ``curves`` has ``model curve x y`` with the curves ``roc`` and ``precision_recall``, best scores first; ``share`` of
    the rows are positive.
    """
    models = [str(label) for label in dict.fromkeys(curves["model"])]
    drawing = Drawing(0)
    top = drawing.legend([(label, colour_of(label, place)) for place, label in enumerate(models)], 14) + 6
    drawing.text(4, 11, "auROC / auPRC", size=10.5, bold=True)
    side = (WIDTH - 84) / 2
    roc = Axes(drawing, 38, top, side, side, (0, 1), (0, 1.02))
    recall = Axes(drawing, 38 + side + 42, top, side, side, (0, 1), (0, 1.02))
    roc.frame("false positive rate", "recall")
    recall.frame("recall", "")
    drawing.text(recall.left - 30, top + side / 2, "precision", anchor="middle", turned=True)
    roc.diagonal()
    recall.across(share)
    for place, label in enumerate(models):
        rows = curves[curves["model"] == label]
        one, other = (rows[rows["curve"] == curve] for curve in ("roc", "precision_recall"))
        drawing.open(label)
        colour = colour_of(label, place)
        drawing.line(roc.x([0, *one["x"]]), roc.y([0, *one["y"]]), stroke=colour, width=1.8, tip=label)
        xs, ys = np.repeat([0, *other["x"]], 2)[1:], np.repeat([*other["y"].head(1), *other["y"]], 2)[:-1]
        drawing.line(recall.x(xs), recall.y(ys), stroke=colour, width=1.8, tip=label)
        drawing.close()
    drawing.height = top + side + 36
    return figure_of(drawing, name, title, caption, curves)


def density_panels(
    name: str,
    title: str,
    caption: str,
    panels: Mapping[str, tuple[ArrayLike, ArrayLike]],
    xlabel: str,
    ylabel: str,
    *,
    correlation: bool = True,
    own_scales: bool = False,
) -> Figure | None:
    """Scatter panels, two side by side, drawn as a density when a panel has many points.

    They share their axes, but for x with ``own_scales``: models differ in how large the effects are that they predict.
    """
    points = {label: _finite_pairs(x, y) for label, (x, y) in panels.items()}
    points = {label: pair for label, pair in points.items() if len(pair) > 1}
    if not points:
        return None
    columns = min(2, len(points))
    side = (WIDTH - 46 * columns) / columns if columns > 1 else 250.0
    step = side + 66
    drawing = Drawing(step * -(-len(points) // columns))
    xlim, ylim = limits([pair["x"] for pair in points.values()]), limits([pair["y"] for pair in points.values()])
    for place, (label, pair) in enumerate(points.items()):
        line, column = divmod(place, columns)
        scale = limits([pair["x"]]) if own_scales else xlim
        axes = Axes(drawing, 42 + column * (side + 44), line * step + 32, side, side, scale, ylim)
        r = f"r = {pair['x'].corr(pair['y']):z.2f}, " if correlation else ""
        drawing.text(axes.left, axes.top - 18, label, size=10.5, bold=True)
        drawing.text(axes.left, axes.top - 5, f"{r}n = {len(pair):,}", size=10)
        axes.frame(xlabel, "" if column else ylabel, yticks=not column)
        _density(axes, pair["x"].to_numpy(), pair["y"].to_numpy())
    data = pd.concat([pair.assign(panel=label) for label, pair in points.items()], ignore_index=True)
    return figure_of(drawing, name, title, caption, data[["panel", "x", "y"]])


def _finite_pairs(x: ArrayLike, y: ArrayLike) -> pd.DataFrame:
    pair = pd.DataFrame({"x": np.asarray(x, float), "y": np.asarray(y, float)})
    return pair.replace([np.inf, -np.inf], np.nan).dropna().reset_index(drop=True)


def _density(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    if len(x) <= MOST_POINTS:
        axes.drawing.dots(axes.x(x), axes.y(y), fill=PALETTE[0], size=4.5, opacity=0.55)
        return
    counts, xs, ys = np.histogram2d(x, y, BINS_ACROSS, [axes.xlim, axes.ylim])
    most = math.log1p(counts.max())
    w, h = axes.width / BINS_ACROSS, axes.height / BINS_ACROSS
    for i, j in zip(*np.nonzero(counts), strict=True):
        colour = blend(math.log1p(counts[i, j]) / most, DENSITY)
        axes.drawing.rect(
            float(axes.x(xs[i])), float(axes.y(ys[j + 1])), w, h, fill=colour, tip=f"{int(counts[i, j]):,} here"
        )


def lines(
    name: str,
    title: str,
    caption: str,
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    xlabel: str,
    ylabel: str,
    *,
    diagonal: bool = False,
    log_x: bool = False,
    chance: float | None = None,
) -> Figure | None:
    """One line a series, labelled in a legend; too many for a legend are drawn thin and alike; ``chance`` is dashed.

    Series named ``MODEL, MEMBER`` (``MEMBERS`` apart) share the colour and the legend entry of their model.
    """
    drawn = {label: (np.asarray(x, float), np.asarray(y, float)) for label, (x, y) in series.items()}
    drawn = {label: points for label, points in drawn.items() if len(points[0])}
    if not drawn:
        return None
    models = list(dict.fromkeys(label.split(MEMBERS)[0] for label in drawn))
    many = len(models) > len(PALETTE)
    drawing = Drawing(0)
    top = 8.0 if many else drawing.legend([(model, colour_of(model, i)) for i, model in enumerate(models)], 0) + 4
    xs = np.concatenate([x for x, _ in drawn.values()])
    xlim = (float(xs[xs > 0].min()), float(xs.max())) if log_x else limits([xs], margin=0.03)
    axes = Axes(drawing, 52, top, WIDTH - 62, 190, xlim, limits([y for _, y in drawn.values()], around=chance), log_x)
    axes.frame(xlabel, ylabel)
    if chance is not None:
        axes.across(chance)
    if diagonal:
        axes.diagonal()
    for label, (x, y) in drawn.items():
        model = label.split(MEMBERS)[0]
        colour = PALETTE[0] if many else colour_of(model, models.index(model))
        drawing.open(model)
        drawing.line(
            axes.x(x), axes.y(y), stroke=colour, width=0.9 if many else 1.8, tip=label, opacity=0.6 if many else 1.0
        )
        if len(x) < 15 and not many:
            for one, other in zip(x, y, strict=True):
                if np.isfinite([one, other]).all():
                    tip = f"{label}: {one:.4g}, {other:.4g}"
                    drawing.dot(float(axes.x(one)), float(axes.y(other)), fill=colour, size=5, tip=tip)
        drawing.close()
    drawing.height = top + 190 + 36
    frames = [pd.DataFrame({"series": label, "x": x, "y": y}) for label, (x, y) in drawn.items()]
    return figure_of(drawing, name, title, caption, pd.concat(frames, ignore_index=True))


def stacked_bars(name: str, title: str, caption: str, rows: pd.DataFrame, xlabel: str) -> Figure | None:
    """Horizontal stacked bars; ``rows`` is indexed by label, one column a part; a legend where there are several."""
    if rows.empty:
        return None
    labels, values = rows.index.astype(str).tolist(), rows.fillna(0).to_numpy(float)
    colours = [PALETTE[index % len(PALETTE)] for index in range(rows.shape[1])]
    step = 15 if len(rows) > 20 else 19
    drawing = Drawing(0)
    entries = list(zip(map(str, rows.columns), colours, strict=True))
    top = drawing.legend(entries, 0) + 4 if len(entries) > 1 else 4.0
    axes = Axes(
        drawing, _label_space(labels), top, 0, step * len(rows), (0, float(values.sum(axis=1).max()) or 1.0), (0, 1)
    )
    axes.width = WIDTH - axes.left - 14
    axes.frame(xlabel, yticks=False)
    for line, label in enumerate(labels):
        y = top + step * line
        _label(drawing, axes.left, y + step / 2 - 0.5, label)
        edges = axes.x(np.concatenate([[0], values[line].cumsum()]))
        for part, (name_of, colour) in enumerate(entries):
            if edges[part + 1] > edges[part]:
                tip = f"{label}, {name_of}: {values[line, part]:,.6g}"
                drawing.rect(edges[part], y + 2, edges[part + 1] - edges[part], step - 4, fill=colour, tip=tip)
    drawing.height = top + step * len(rows) + 38
    return figure_of(drawing, name, title, caption, rows.reset_index())


def histogram(name: str, title: str, caption: str, values: pd.Series, xlabel: str) -> Figure | None:
    """A histogram of windows; integers with few values get one bar each."""
    values = pd.Series(np.asarray(values, float)).dropna()
    if values.empty:
        return None
    whole = bool((values == values.round()).all()) and values.max() - values.min() < 60
    edges = np.arange(values.min() - 0.5, values.max() + 1.5) if whole else np.histogram_bin_edges(values, 30)
    counts, edges = np.histogram(values, edges)
    drawing = Drawing(226)
    axes = Axes(drawing, 52, 8, WIDTH - 62, 180, (float(edges[0]), float(edges[-1])), (0, 1.05 * float(counts.max())))
    axes.frame(xlabel, "windows")
    base = axes.top + axes.height
    for count, left, right in zip(counts, axes.x(edges[:-1]), axes.x(edges[1:]), strict=True):
        y = float(axes.y(count))
        drawing.rect(left + 0.5, y, max(right - left - 1, 1), base - y, fill=PALETTE[0], tip=f"{int(count):,} windows")
    data = pd.DataFrame({"from": edges[:-1], "to": edges[1:], "count": counts})
    return figure_of(drawing, name, title, caption, data)


def heat_map(name: str, title: str, caption: str, matrix: pd.DataFrame, label: str) -> Figure | None:
    """A labelled matrix as vector squares; names are shown while they fit."""
    if matrix.empty:
        return None
    values = matrix.to_numpy(float)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    rows, columns = [str(name) for name in matrix.index], [str(name) for name in matrix.columns]
    named = len(rows) <= 24
    space = _label_space(rows, 9) if named else 8.0
    square = min(20.0, (WIDTH - space - 4) / len(columns))
    drawing = Drawing(square * len(rows) + (_label_space(columns, 9) if named else 4) + 40)
    for i, row in enumerate(rows):
        if named:
            _label(drawing, space, square * (i + 0.5) - 1, row, 9)
        for j, column in enumerate(columns):
            if math.isfinite(values[i, j]):
                colour = blend((values[i, j] - low) / ((high - low) or 1), DENSITY)
                tip = f"{row}, {column}: {values[i, j]:.3f}"
                drawing.rect(space + square * j, square * i, square, square, fill=colour, tip=tip)
    base = square * len(rows)
    if named:
        for j, column in enumerate(columns):
            drawing.text(space + square * (j + 0.5) + 3, base + 6, column, size=9, anchor="end", turned=True)
    colour_bar(drawing, drawing.height - 24, low, high, label, DENSITY)
    return figure_of(drawing, name, title, caption, matrix.reset_index())


def colour_bar(drawing: Drawing, top: float, low: float, high: float, label: str, stops: Sequence[str]) -> None:
    """A scale of colours with its ends and what it measures."""
    left, w = 60.0, 120.0
    for part in range(24):
        drawing.rect(left + part * w / 24, top, w / 24 + 0.3, 9, fill=blend(part / 23, stops))
    drawing.text(left - 4, top + 9, f"{low:.2g}", size=9.5, anchor="end")
    drawing.text(left + w + 4, top + 9, f"{high:.2g}  {label}", size=9.5)


def scheme(name: str, title: str, caption: str, columns: Sequence[Sequence[tuple[str, str]]]) -> Figure:
    """A flow of boxes: each column runs downwards, then into the next column's first box.

    Each box is ``(heading, detail)``; the detail holds the counts of this run.
    """
    tallest = max(len(column) for column in columns)
    gap, tall = 14.0, 62.0
    wide = (WIDTH - gap * (len(columns) - 1)) / len(columns) - 2
    drawing = Drawing(tallest * (tall + gap))
    for x, column in enumerate(columns):
        left = 1 + x * (wide + gap)
        for y, (heading, detail) in enumerate(column):
            top = 1 + y * (tall + gap)
            _box(drawing, left, top, wide, tall, heading, detail, PALETTE[x % len(PALETTE)])
            if y:
                _arrow(drawing, left + wide / 2, top - gap, left + wide / 2, top)
        if x:
            middle, end = left - gap / 2, 1 + (len(columns[x - 1]) - 1) * (tall + gap) + tall / 2
            drawing.line([left - gap, middle, middle], [end, end, 1 + tall / 2], stroke=GREY, width=1.3)
            _arrow(drawing, middle, 1 + tall / 2, left, 1 + tall / 2)
    data = pd.DataFrame(
        [(x, y, *box) for x, column in enumerate(columns) for y, box in enumerate(column)],
        columns=["column", "row", "step", "count"],
    )
    return figure_of(drawing, name, title, caption, data)


def _box(drawing: Drawing, x: float, y: float, w: float, h: float, heading: str, detail: str, colour: str) -> None:
    shape = f"M{x + 6:.1f} {y:.1f}h{w - 12:.1f}q6 0 6 6v{h - 12:.1f}q0 6 -6 6h{12 - w:.1f}q-6 0 -6 -6v{12 - h:.1f}q0 -6 6 -6z"
    drawing.path(shape, fill=colour, opacity=0.16)
    drawing.path(shape, stroke=colour, width=1.4)
    drawing.text(
        x + w / 2, y + 20, heading, anchor="middle", bold=True, size=min(11.5, 1.45 * w / max(len(heading), 1))
    )
    parts = detail.split("\n")
    size = min(10.5, 1.55 * w / max(len(part) for part in parts))
    for line, part in enumerate(parts):
        drawing.text(x + w / 2, y + 37 + 14 * line, part, anchor="middle", size=size)


def _arrow(drawing: Drawing, x: float, y: float, to_x: float, to_y: float) -> None:
    drawing.line([x, to_x], [y, to_y], stroke=GREY, width=1.3)
    across = (to_x - 5, to_y - 3.5, to_x - 5, to_y + 3.5) if to_y == y else (to_x - 3.5, to_y - 5, to_x + 3.5, to_y - 5)
    drawing.path(f"M{to_x:.1f} {to_y:.1f}L{across[0]:.1f} {across[1]:.1f}L{across[2]:.1f} {across[3]:.1f}z", fill=GREY)


__all__ = [
    "DIVERGING", "INK", "SIGNIFICANT", "colour_bar", "colour_of", "density_panels", "forest", "forest_panels", "heat_map",
    "histogram", "lines", "ranking", "scheme", "stacked_bars",
]  # fmt: skip
