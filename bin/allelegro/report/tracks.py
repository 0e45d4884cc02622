"""Drawings along the genome: signal by genotype, saturation maps and sequence logos."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.gridspec import GridSpec
from numpy.typing import NDArray

from allelegro.report.plots import DIVERGING, colour_of
from allelegro.report.report import GREY, INK, PALETTE, STYLE, Figure, figure_of

BASES = list("ACGT")
LETTER_COLOURS = {"A": "#23976b", "C": "#2f7fc1", "G": "#e0861a", "T": "#cf4a5c"}
LETTERS_A_LINE = 100
PLUS, MINUS, OBSERVED = PALETTE[0], PALETTE[3], GREY


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
    """One track a genotype, bars of the observed and predicted signal next to it, a saturation map below.

    ``signal`` is ``[donor, strand, base]`` from the 0-based position ``first`` on, ``quantities`` has one row a donor
    (``observed`` and one column a model, maybe none), ``variant`` and ``snvs`` are 1-based.
    """
    groups = list(genotype.categories)
    positions = first + 1 + np.arange(signal.shape[2])
    models = [str(column) for column in quantities if column not in ("donor", "genotype")]
    mapped = snvs is not None and not snvs.empty
    with plt.rc_context(STYLE):
        heights = [1.0] * len(groups) + [0.9] * mapped
        figure = plt.figure(figsize=(9.0, 0.7 + 1.15 * sum(heights)))
        grid = GridSpec(len(heights), 2, figure, width_ratios=[4.6, 1], height_ratios=heights)
        rows: list[pd.DataFrame] = []
        track = bars = None
        for index, group in enumerate(groups):
            donors = np.asarray(genotype == group)
            mean = signal[donors].mean(axis=0)
            track = figure.add_subplot(grid[index, 0], sharex=track, sharey=track)
            _strands(track, positions, mean, f"{group}\nn = {donors.sum()}")
            rows += [
                pd.DataFrame({"track": strand, "genotype": group, "position": positions, "value": values})
                for strand, values in zip(("plus", "minus"), mean, strict=True)
            ]
            if models:
                bars = figure.add_subplot(grid[index, 1], sharex=bars)
                rows += _bars(bars, quantities[donors], models, group)
            _marked(track, variant)
            track.tick_params(labelbottom=index == len(groups) - 1 and not mapped)
            if bars is not None:
                bars.tick_params(labelbottom=index == len(groups) - 1)
        assert track is not None
        if bars is not None:
            bars.set_xlabel("RPM of the window", fontsize=9)
        last = track
        if snvs is not None and mapped:
            last = figure.add_subplot(grid[len(groups), 0], sharex=track)
            rows.append(_effect_map(last, figure, grid[len(groups), 1], snvs))
            _marked(last, variant)
        last.set_xlabel("position (1-based)", fontsize=9)
        last.ticklabel_format(axis="x", style="plain", useOffset=False)
        last.set_xlim(positions[0] - 0.5, positions[-1] + 0.5)
        return figure_of(figure, name, title, caption, pd.concat(rows, ignore_index=True), wide=True)


def _strands(axes: Axes, positions: NDArray[np.int64], mean: NDArray[np.floating[Any]], label: str) -> None:
    for values, colour in ((mean[0], PLUS), (-mean[1], MINUS)):
        axes.fill_between(positions, 0, values, step="mid", color=colour, lw=0)
    axes.axhline(0, color=GREY, lw=0.6)
    axes.set_ylabel(label, fontsize=9, rotation=0, ha="right", va="center", labelpad=12)
    axes.tick_params(labelsize=8)


def _bars(axes: Axes, donors: pd.DataFrame, models: list[str], group: str) -> list[pd.DataFrame]:
    """Means as bars, the observed donors as points; returns the rows behind them."""
    for place, model in enumerate(models):
        colour = OBSERVED if model == "observed" else colour_of(model, place)
        axes.barh(-place, donors[model].mean(), color=colour, height=0.7, alpha=0.8)
    axes.plot(donors["observed"], np.zeros(len(donors)), "o", ms=2.5, color=INK, alpha=0.7)
    axes.set_yticks(-np.arange(len(models)), [model.replace("_", " ") for model in models], fontsize=7.5)
    axes.tick_params(axis="x", labelsize=7.5)
    return [
        pd.DataFrame({"track": model, "genotype": group, "position": pd.NA, "value": donors[model]}) for model in models
    ]


def _marked(axes: Axes, variant: int | None) -> None:
    if variant is not None:
        axes.axvline(variant, color=INK, lw=0.9, ls=(0, (3, 2)), alpha=0.8)


def _effect_map(axes: Axes, figure: Any, right: Any, snvs: pd.DataFrame) -> pd.DataFrame:
    matrix = effects(snvs)
    mesh = _squares(axes, matrix)
    legend = figure.add_subplot(right)
    legend.set_axis_off()
    figure.colorbar(mesh, ax=legend, label="effect (log2)", location="left", fraction=0.9, aspect=8, shrink=0.95)
    table = matrix.rename_axis("new base").reset_index().melt(id_vars="new base", var_name="position")
    return (
        table.assign(track="effect of " + table["new base"], genotype="")
        .drop(columns="new base")
        .dropna(subset="value")
    )


def effects(snvs: pd.DataFrame) -> pd.DataFrame:
    """Effect of each new base (rows A C G T) at each position; missing for the reference base."""
    return snvs.pivot_table(index="alt", columns="pos", values="effect").reindex(BASES)


def _squares(axes: Axes, matrix: pd.DataFrame) -> Any:
    limit = float(np.nanmax(np.abs(matrix.to_numpy(float)))) or 1.0
    positions = matrix.columns.to_numpy(np.int64)
    edges = (positions[0] - 0.5, positions[-1] + 0.5, 3.5, -0.5)
    mesh = axes.imshow(
        matrix, cmap=DIVERGING, vmin=-limit, vmax=limit, extent=edges, aspect="auto", interpolation="none"
    )
    axes.set_yticks(np.arange(4), BASES, fontsize=8)
    axes.tick_params(labelsize=8)
    return mesh


def saturation(name: str, title: str, caption: str, snvs: pd.DataFrame) -> Figure:
    """A sequence logo over squares of every change, in lines of ``LETTERS_A_LINE`` bases.

    A letter's height is minus the mean effect of its changes: positive where the reference base raises activity.
    """
    import logomaker

    matrix = effects(snvs)
    reference = snvs.drop_duplicates("pos").set_index("pos")["ref"].reindex(matrix.columns)
    importance = -matrix.mean()
    letters = pd.DataFrame({base: importance.where(reference == base, 0.0) for base in BASES})
    lines = [matrix.columns[at : at + LETTERS_A_LINE] for at in range(0, matrix.shape[1], LETTERS_A_LINE)]
    limit = float(np.nanmax(np.abs(matrix.to_numpy(float)))) or 1.0
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            2 * len(lines),
            1,
            figsize=(9.0, 1.9 * len(lines) + 0.3),
            height_ratios=[1.3, 1.0] * len(lines),
            squeeze=False,
        )
        for line, (logo, squares) in zip(lines, axes.reshape(-1, 2), strict=True):
            logomaker.Logo(
                letters.loc[line], ax=logo, color_scheme=LETTER_COLOURS, show_spines=False, baseline_width=0.5
            )
            logo.set_ylim(1.05 * min(letters.to_numpy().min(), 0), 1.05 * max(letters.to_numpy().max(), 1e-6))
            logo.set_ylabel("log2", fontsize=8)
            logo.tick_params(labelsize=7.5, labelbottom=False, bottom=False)
            _squares(squares, matrix[line]).set_clim(-limit, limit)
            for panel in (logo, squares):
                panel.set_xlim(int(line[0]) - 0.5, int(line[0]) + LETTERS_A_LINE - 0.5)
            squares.ticklabel_format(axis="x", style="plain", useOffset=False)
        data = matrix.T.assign(ref=reference, importance=importance).rename_axis("pos").reset_index()
        return figure_of(figure, name, title, caption, data, wide=True)
