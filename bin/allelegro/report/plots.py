"""The handful of plot shapes the report is built from; each returns a :class:`~allelegro.report.report.Figure`."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from allelegro.report.report import GREY, INK, MEMBERS, PALETTE, STYLE, Figure, figure_of

DENSITY = LinearSegmentedColormap.from_list("density", ["#9cc7ea", "#2f7fc1", "#7a3fa0", "#cf4a5c"])
DIVERGING = LinearSegmentedColormap.from_list("diverging", ["#2f7fc1", "#c9ced6", "#cf4a5c"])
BINS_ACROSS = 32
SIGNIFICANT = " (significant)"  # after a model's name: on the significant variants alone

# A model has one colour in all figures; its name begins with one of these in the pipeline's own runs.
MODEL_COLOURS = dict(
    zip(("legnet", "clipnet", "reference", "shuffled", "scratch", "pretrained"), PALETTE, strict=False)
)


def colour_of(label: str, place: int) -> str:
    """The colour of a model by its name, else the next of the palette."""
    return MODEL_COLOURS.get(re.split(r"[-_ ]", label)[0], PALETTE[place % len(PALETTE)])


def forest(name: str, title: str, caption: str, rows: pd.DataFrame, xlabel: str) -> Figure | None:
    """Values with their intervals, one line a row; ``rows`` has ``label value ci_low ci_high n``.

    Rows without a value are not drawn; they are in the data.
    """
    drawn = rows.dropna(subset=["value"]).reset_index(drop=True)
    if drawn.empty:
        return None
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 0.9 + 0.3 * len(drawn)))
        models = list(dict.fromkeys(drawn["label"].str.removesuffix(SIGNIFICANT)))
        positions = np.arange(len(drawn))[::-1]
        for position, row in zip(positions, drawn.to_dict("records"), strict=True):
            model = str(row["label"]).removesuffix(SIGNIFICANT)
            _interval(axes, position, row, colour_of(model, models.index(model)))
            axes.annotate(
                f"{row['value']:z.2f}", (1.01, position), xycoords=("axes fraction", "data"), va="center", fontsize=9
            )
        axes.axvline(0, color=GREY, lw=1, ls="--")
        axes.set_yticks(positions, drawn["label"])
        axes.set_ylim(-0.6, len(drawn) - 0.4)
        axes.set_xlabel(xlabel)
        return figure_of(figure, name, title, caption, rows)


def _interval(axes: Axes, position: float, row: Mapping[Any, Any], colour: str) -> None:
    if pd.notna(row["ci_low"]):
        axes.plot([row["ci_low"], row["ci_high"]], [position, position], color=colour, lw=2.2, alpha=0.55)
    axes.plot(row["value"], position, "o", color=colour, ms=5.5)


def forest_panels(name: str, title: str, caption: str, rows: pd.DataFrame, xlabel: str) -> Figure | None:
    """Forests side by side, one a ``panel``, with one line a ``label`` in all of them."""
    drawn = rows.dropna(subset=["value"])
    if drawn.empty:
        return None
    labels, panels = list(dict.fromkeys(drawn["label"])), list(dict.fromkeys(drawn["panel"]))
    columns = min(5, len(panels))
    lines = -(-len(panels) // columns)
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            lines, columns, figsize=(9.0, (0.9 + 0.26 * len(labels)) * lines), squeeze=False, sharex=True, sharey=True
        )
        for axes, panel in zip(grid.flat, panels, strict=False):
            here = drawn[drawn["panel"] == panel]
            for row in here.to_dict("records"):
                place = labels.index(row["label"])
                _interval(axes, -place, row, colour_of(str(row["label"]), place))
            axes.axvline(0, color=GREY, lw=1, ls="--")
            axes.set_title(f"{panel}\nn = {int(here['n'].max()):,}", fontsize=9)
            axes.set_yticks(-np.arange(len(labels)), [label.replace("_", " ") for label in labels], fontsize=8.5)
            axes.tick_params(axis="x", labelsize=8)
        for axes in grid.flat[len(panels) :]:
            axes.remove()
        for axes in grid.flat[max(0, len(panels) - columns) : len(panels)]:
            axes.tick_params(labelbottom=True)
        figure.supxlabel(xlabel, fontsize=10, color=INK)
        data = rows[["panel", "label", "value", "ci_low", "ci_high", "n"]]
        return figure_of(figure, name, title, caption, data, wide=True)


def ranking(name: str, title: str, caption: str, curves: pd.DataFrame, share: float) -> Figure:
    """ROC and precision-recall curves side by side, one line a model.

    ``curves`` has ``model curve x y`` with the curves ``roc`` and ``precision_recall``, best scores first; ``share`` of
    the rows are positive.
    """
    with plt.rc_context(STYLE):
        figure, (roc, recall) = plt.subplots(1, 2, figsize=(9.0, 3.3))
        for place, (label, rows) in enumerate(curves.groupby("model", sort=False)):
            style: dict[str, Any] = {"color": colour_of(str(label), place), "lw": 1.6}
            one, other = (rows[rows["curve"] == curve] for curve in ("roc", "precision_recall"))
            roc.plot([0, *one["x"]], [0, *one["y"]], label=label, **style)
            recall.plot([0, *other["x"]], [*other["y"].head(1), *other["y"]], drawstyle="steps-pre", **style)
        roc.axline((0, 0), slope=1, color=GREY, lw=1, ls="--")
        recall.axhline(share, color=GREY, lw=1, ls="--")
        roc.set(xlabel="false positive rate", ylabel="recall", xlim=(0, 1), ylim=(0, 1.02))
        recall.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        figure.legend(*roc.get_legend_handles_labels(), title="auROC / auPRC", fontsize=8.5, loc="outside right center")
        return figure_of(figure, name, title, caption, curves, wide=True)


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
    """Scatter panels side by side, drawn as hexagonal density when a panel has many points.

    They share their axes, but for x with ``own_scales``: models differ in how large the effects are that they predict.
    """
    points = {label: _finite_pairs(x, y) for label, (x, y) in panels.items()}
    points = {label: pair for label, pair in points.items() if len(pair) > 1}
    if not points:
        return None
    with plt.rc_context(STYLE):
        columns = min(3, len(points))
        lines = -(-len(points) // columns)
        figure, grid = plt.subplots(
            lines, columns, figsize=(3.1 * columns, 3.0 * lines), squeeze=False, sharex=not own_scales, sharey=True
        )
        for axes, (label, pair) in zip(grid.flat, points.items(), strict=False):
            _density(axes, pair["x"].to_numpy(), pair["y"].to_numpy())
            r = f"r = {pair['x'].corr(pair['y']):z.2f}, " if correlation else ""
            axes.set_title(f"{label}\n{r}n = {len(pair):,}")
        for axes in grid.flat[len(points) :]:
            axes.remove()
        for axes in grid.flat[max(0, len(points) - columns) : len(points)]:
            axes.tick_params(labelbottom=True)
        figure.supxlabel(xlabel, fontsize=10, color=INK)
        figure.supylabel(ylabel, fontsize=10, color=INK)
        data = pd.concat([pair.assign(panel=label) for label, pair in points.items()], ignore_index=True)
        return figure_of(figure, name, title, caption, data, wide=columns > 1)


def _finite_pairs(x: ArrayLike, y: ArrayLike) -> pd.DataFrame:
    pair = pd.DataFrame({"x": np.asarray(x, float), "y": np.asarray(y, float)})
    return pair.replace([np.inf, -np.inf], np.nan).dropna().reset_index(drop=True)


def _density(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    if len(x) > 600:
        axes.hexbin(x, y, gridsize=BINS_ACROSS, mincnt=1, bins="log", cmap=DENSITY, linewidths=0)
    else:
        axes.scatter(x, y, s=11, alpha=0.8, linewidths=0, color=PALETTE[0])


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
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(5.4, 3.1))
        for label, (x, y) in drawn.items():
            model = label.split(MEMBERS)[0]
            options: dict[str, Any] = {"color": PALETTE[0], "lw": 0.8, "alpha": 0.6}
            if not many:
                options = {"color": colour_of(model, models.index(model)), "lw": 1.6 if model == label else 1.1}
            axes.plot(x, y, marker="o" if len(x) < 15 and not many else None, ms=3.5, label=model, **options)
        if diagonal:
            axes.axline((0, 0), slope=1, color=GREY, lw=1, ls="--")
        if chance is not None:
            axes.axhline(chance, color=GREY, lw=1, ls="--")
        if log_x:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        if not many:
            handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
            axes.legend(handles.values(), handles, fontsize=8.5, loc="center left", bbox_to_anchor=(1.0, 0.5))
        frames = [pd.DataFrame({"series": label, "x": x, "y": y}) for label, (x, y) in drawn.items()]
        return figure_of(figure, name, title, caption, pd.concat(frames, ignore_index=True))


def stacked_bars(name: str, title: str, caption: str, rows: pd.DataFrame, xlabel: str) -> Figure | None:
    """Horizontal stacked bars; ``rows`` is indexed by label, one column a part; a legend where there are several."""
    if rows.empty:
        return None
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 1.2 + 0.24 * len(rows)))
        left = np.zeros(len(rows))
        for index, part in enumerate(rows.columns):
            values = rows[part].fillna(0).to_numpy(float)
            axes.barh(np.arange(len(rows))[::-1], values, left=left, label=part, color=PALETTE[index % len(PALETTE)])
            left += values
        axes.set_yticks(np.arange(len(rows))[::-1], rows.index.astype(str), fontsize=8.5)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlabel(xlabel)
        if rows.shape[1] > 1:
            axes.legend(fontsize=8.5, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
        return figure_of(figure, name, title, caption, rows.reset_index())


def histogram(name: str, title: str, caption: str, values: pd.Series, xlabel: str) -> Figure | None:
    """A histogram of windows; integers with few values get one bar each."""
    values = pd.Series(np.asarray(values, float)).dropna()
    if values.empty:
        return None
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(4.6, 2.9))
        whole = bool((values == values.round()).all()) and values.max() - values.min() < 60
        edges = np.arange(values.min() - 0.5, values.max() + 1.5) if whole else np.histogram_bin_edges(values, 30)
        counts, edges, _ = axes.hist(values, bins=list(edges), color=PALETTE[0])
        axes.set_xlabel(xlabel)
        axes.set_ylabel("windows")
        data = pd.DataFrame({"from": edges[:-1], "to": edges[1:], "count": counts})
        return figure_of(figure, name, title, caption, data)


def heat_map(name: str, title: str, caption: str, matrix: pd.DataFrame, label: str) -> Figure | None:
    """A labelled matrix as vector squares; names are shown while they fit."""
    if matrix.empty:
        return None
    rows, columns = matrix.shape
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(min(9.0, 2.2 + 0.17 * columns), min(7.0, 1.5 + 0.17 * rows)))
        mesh = axes.pcolormesh(matrix.to_numpy(float), cmap=DENSITY)
        axes.invert_yaxis()
        if rows <= 40:
            axes.set_yticks(np.arange(rows) + 0.5, matrix.index.astype(str), fontsize=7.5)
        if columns <= 40:
            axes.set_xticks(np.arange(columns) + 0.5, matrix.columns.astype(str), fontsize=7.5, rotation=90)
        figure.colorbar(mesh, ax=axes, label=label, shrink=0.8)
        return figure_of(figure, name, title, caption, matrix.reset_index())


def scheme(name: str, title: str, caption: str, columns: Sequence[Sequence[tuple[str, str]]]) -> Figure:
    """A flow of boxes: each column runs downwards, then into the next column's first box.

    Each box is ``(heading, detail)``; the detail holds the counts of this run.
    """
    with plt.rc_context(STYLE):
        tallest = max(len(column) for column in columns)
        figure, axes = plt.subplots(figsize=(3.3 * len(columns), 0.95 * tallest + 0.2))
        axes.set_axis_off()
        axes.set_xlim(-0.01, len(columns) - 0.06)
        axes.set_ylim(-tallest, 0)
        for x, column in enumerate(columns):
            for y, (heading, detail) in enumerate(column):
                _box(axes, x, -y, heading, detail, PALETTE[x % len(PALETTE)])
                if y:
                    _arrow(axes, (x + 0.46, -y + 0.15), (x + 0.46, -y - 0.06))
            if x:
                end = len(columns[x - 1]) - 1
                axes.plot([x - 0.08, x - 0.04, x - 0.04], [-end - 0.43, -end - 0.43, -0.43], color=GREY, lw=1.3)
                _arrow(axes, (x - 0.04, -0.43), (x + 0.005, -0.43))
        data = pd.DataFrame(
            [(x, y, *box) for x, column in enumerate(columns) for y, box in enumerate(column)],
            columns=["column", "row", "step", "count"],
        )
        return figure_of(figure, name, title, caption, data, wide=True)


def _box(axes: Axes, x: float, top: float, heading: str, detail: str, colour: str) -> None:
    style = "round,pad=0,rounding_size=0.03"
    axes.add_patch(FancyBboxPatch((x, top - 0.8), 0.92, 0.74, boxstyle=style, ec=colour, fc=colour, lw=1.4, alpha=0.16))
    axes.add_patch(FancyBboxPatch((x, top - 0.8), 0.92, 0.74, boxstyle=style, ec=colour, fc="none", lw=1.4))
    axes.text(x + 0.46, top - 0.29, heading, ha="center", va="center", fontsize=10, weight="bold")
    axes.text(x + 0.46, top - 0.57, detail, ha="center", va="center", fontsize=8.8, linespacing=1.25)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, color=GREY, lw=1.3))
