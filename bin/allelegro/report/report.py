"""What a report is made of: sections of paragraphs, tables and figures, and warnings, which come first."""

import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure as MatplotlibFigure

from allelegro.io.atomic import atomic_path
from allelegro.io.tables import write_table

# Text and axes take the page's own colour (light or dark); the palette reads on both (Okabe and Ito, mid-tones).
INK = "#123456"
PALETTE = ["#2f7fc1", "#e0861a", "#23976b", "#cf4a5c", "#8a66bd", "#8b9099", "#a8871f", "#3aa6b5"]
GREY = "#8b9099"
MEMBERS = ", "  # between a model and one of its members (fold and seed) in the name of a series

STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10.5,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "axes.prop_cycle": f"cycler('color', {PALETTE})",
}

LONGEST_OPEN = 20  # rows of a table that is shown at once


@dataclass
class Figure:
    """A vector figure with the table it was drawn from and a text for those who cannot see it."""

    name: str
    title: str
    caption: str
    svg: str
    data: pd.DataFrame
    wide: bool = False


@dataclass
class Table:
    """A table; ``about`` explains columns on hover."""

    title: str
    rows: pd.DataFrame
    about: dict[str, str] = field(default_factory=dict)
    folded: bool = False  # opens on a click: a row for each donor of a study would push what follows out of sight

    def __post_init__(self) -> None:
        self.folded = self.folded or len(self.rows) > LONGEST_OPEN

    @property
    def columns(self) -> list[tuple[str, bool]]:
        """Names of the columns, and whether they hold numbers."""
        return [(str(name), pd.api.types.is_numeric_dtype(self.rows[name])) for name in self.rows]


@dataclass
class Answer:
    """A reader's question, the answer in a few words, and what it rests on."""

    question: str
    answer: str
    because: str


@dataclass
class Heading:
    """A heading below a section's own."""

    text: str


@dataclass
class Section:
    """One heading of the report."""

    anchor: str
    title: str
    blocks: list[str | Heading | Figure | Table] = field(default_factory=list)

    def head(self, text: str) -> None:
        """Add a heading for what follows."""
        self.blocks.append(Heading(text))

    def say(self, text: str) -> None:
        """Add a paragraph."""
        self.blocks.append(text)

    def show(self, block: Figure | Table | None) -> None:
        """Add a figure or table, when there is one."""
        if block is not None:
            self.blocks.append(block)

    @property
    def figures(self) -> list[Figure]:
        """The figures of this section."""
        return [block for block in self.blocks if isinstance(block, Figure)]


@dataclass
class Report:
    """All sections in reading order; the first page: warnings, answers with their evidence, and the headline cards."""

    sections: list[Section] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    evidence: list[Table] = field(default_factory=list)
    cards: list[tuple[str, str, str]] = field(default_factory=list)

    def section(self, anchor: str, title: str) -> Section:
        """Open a new section at the end."""
        section = Section(anchor, title)
        self.sections.append(section)
        return section

    def warn(self, text: str) -> None:
        """Put a warning before everything else, once."""
        if text not in self.warnings:
            self.warnings.append(text)


def figure_of(
    drawing: MatplotlibFigure, name: str, title: str, caption: str, data: pd.DataFrame, *, wide: bool = False
) -> Figure:
    """Turn a matplotlib figure into an inline SVG that follows the page's colours, and close it."""
    buffer = io.StringIO()
    with plt.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        drawing.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(drawing)
    return Figure(name, title, caption, _inline_svg(buffer.getvalue(), name, title), data, wide)


def _inline_svg(svg: str, name: str, title: str) -> str:
    """Strip the XML preamble, make identifiers unique in the page, hand colours to the page and add a title."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    referenced = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    for identifier in set(re.findall(r'\bid="([^"]+)"', svg)) - referenced:
        svg = svg.replace(f' id="{identifier}"', "")
    for identifier in referenced:
        svg = re.sub(rf'(\bid="|href="#|url\(#){re.escape(identifier)}(?=[")])', rf"\g<1>{name}-{identifier}", svg)
    svg = svg.replace(INK, "currentColor")
    # A hundredth of a point is finer than any screen or printer.
    svg = re.sub(r' d="[^"]+"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path.group()), svg)
    # The figure shrinks with the page but never grows beyond its own size, where its text would look like a poster.
    svg = re.sub(r'(<svg[^>]*?) width="([0-9.]+)pt"', r'\1 style="--own: \2pt; max-width: \2pt"', svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]+"', r"\1", svg, count=1)
    return re.sub(r"(<svg[^>]*?)>", rf'\1 role="img" aria-label="{_attribute(title)}">', svg, count=1)


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def save_figures(report: Report, folder: Path) -> None:
    """Write every figure as ``figures/<name>.svg`` and its data as ``data/<name>.tsv``."""
    for section in report.sections:
        for figure in section.figures:
            with atomic_path(folder / "figures" / f"{figure.name}.svg") as partial:
                # A file of its own has no page to take its colour from.
                partial.write_text(figure.svg.replace("currentColor", "#222222"), encoding="utf-8")
            write_table(figure.data, folder / "data" / f"{figure.name}.tsv")
