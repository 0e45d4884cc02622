"""What a report is made of: sections of paragraphs, tables and figures, and warnings, which come first."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from allelegro.io.atomic import atomic_path
from allelegro.io.tables import write_table
from allelegro.report.svg import WIDTH, Drawing

# Reads on a light and on a dark page (Okabe and Ito, mid-tones).
PALETTE = ["#2f7fc1", "#e0861a", "#23976b", "#cf4a5c", "#8a66bd", "#8b9099", "#a8871f", "#3aa6b5"]
GREY = "#8b9099"
MEMBERS = ", "  # between a model and one of its members (fold and seed) in the name of a series

LONGEST_OPEN = 20  # rows of a table that is shown at once


@dataclass
class Figure:
    """A vector figure with the table it was drawn from and a text for those who cannot see it."""

    name: str
    title: str
    caption: str
    svg: str
    data: pd.DataFrame


@dataclass
class Table:
    """A table; ``about`` explains columns on hover."""

    title: str
    rows: pd.DataFrame
    about: dict[str, str] = field(default_factory=dict)
    folded: bool | None = None  # opens on a click; by default where many rows would push what follows out of sight
    search: bool = False  # scrolls in a frame of its own, and filters and sorts where scripts run

    def __post_init__(self) -> None:
        if self.folded is None:
            self.folded = len(self.rows) > LONGEST_OPEN

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
    """A heading below a section's own, or with ``small`` below such a heading."""

    text: str
    small: bool = False


@dataclass
class Section:
    """One heading of the report."""

    anchor: str
    title: str
    blocks: list[str | Heading | Figure | Table] = field(default_factory=list)

    def head(self, text: str, *, small: bool = False) -> None:
        """Add a heading for what follows."""
        self.blocks.append(Heading(text, small))

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


def figure_of(drawing: Drawing, name: str, title: str, caption: str, data: pd.DataFrame) -> Figure:
    """A drawing as a figure with the table behind it."""
    return Figure(name, title, caption, drawing.svg(title), data)


def save_figures(report: Report, folder: Path) -> None:
    """Write every figure as ``figures/<name>.svg`` and its data as ``data/<name>.tsv``."""
    for section in report.sections:
        for figure in section.figures:
            with atomic_path(folder / "figures" / f"{figure.name}.svg") as partial:
                # A file of its own has no page to take its colour from.
                alone = figure.svg.replace("currentColor", "#222222").replace(
                    " style=", f' width="{2 * WIDTH:g}" style=', 1
                )
                partial.write_text(alone, encoding="utf-8")
            write_table(figure.data, folder / "data" / f"{figure.name}.tsv")
