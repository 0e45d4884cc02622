"""build_report.py: the report of a run."""

from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Tool, Version

app = Tool()


@app.command()
def main(
    results: Annotated[Path, typer.Option(help="Results folder of a run (its --outdir).")],
    out: Annotated[Path, typer.Option(help="Folder for report.html, figures/ and data/.")],
    title: Annotated[str, typer.Option(help="Title of the report.")] = "Allelegro",
    note: Annotated[str, typer.Option(help="What the reader should know of this run, below the title.")] = "",
    anonymous: Annotated[
        bool,
        typer.Option(
            "--anonymous", help="Number donors and libraries instead of naming them; draw no group of one person."
        ),
    ] = False,
    version: Version = False,
) -> None:
    """Write one self-contained HTML report from a results folder, with every figure as SVG and its data as TSV.

    What the run did not make is named in the report as missing; nothing is guessed.
    """
    from allelegro.report.build import build_report

    build_report(results, out, title, note, anonymous=anonymous)
