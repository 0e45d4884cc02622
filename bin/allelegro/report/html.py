"""Render a report into one HTML file that needs nothing else."""

import math
from collections.abc import Iterator
from importlib import resources
from itertools import groupby
from numbers import Number
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from allelegro import __version__
from allelegro.report.glossary import GLOSSARY
from allelegro.report.report import Report


def render(report: Report, title: str, subtitle: str, note: str) -> str:
    """The report as a string: style, script and figures inline, no network; readable without scripts."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters.update(runs=_runs, define=_define, show=show)
    here = resources.files("allelegro.report")
    template = environment.from_string(here.joinpath("report.html.j2").read_text(encoding="utf-8"))
    style, script = (here.joinpath(name).read_text(encoding="utf-8") for name in ("style.css", "report.js"))
    return template.render(
        report=report,
        title=title,
        subtitle=subtitle,
        note=note,
        style=style,
        script=script,
        version=__version__,
        glossary=GLOSSARY,
    )


def _runs(blocks: list[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Neighbouring blocks of one kind, so that figures share a grid."""
    for kind, run in groupby(blocks, key=lambda block: type(block).__name__):
        yield kind, list(run)


def _define(term: str, about: dict[str, str]) -> Markup:
    meaning = about.get(term) or GLOSSARY.get(term)
    label = escape(term.replace("_", " "))
    return Markup('<abbr title="{}">{}</abbr>').format(meaning, label) if meaning else Markup(label)


def show(cell: Any) -> Any:
    """A cell as people read it: thousands separated, at least three significant digits, an en dash for nothing."""
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)) or cell is pd.NA:
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, Number) and float(cell) == int(float(cell)) and abs(float(cell)) < 1e15:  # type: ignore[arg-type]
        return f"{int(float(cell)):,}"  # type: ignore[arg-type]
    if isinstance(cell, Number):
        return f"{cell:,.0f}" if abs(float(cell)) >= 100 else f"{cell:#.3g}"  # type: ignore[arg-type]
    return _define(cell, {}) if isinstance(cell, str) and cell in GLOSSARY else cell
