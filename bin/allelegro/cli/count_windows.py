"""Command line of ``count_windows.py``."""

from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import SkipBadLibraries, Threads, Tool, Version
from allelegro.resources import limit_threads

app = Tool()


@app.command()
def main(
    windows: Annotated[Path, typer.Option(help="Windows of one width (windows.bed of merge_peaks.py).")],
    sheet: Annotated[
        Path, typer.Option(help="TSV: library donor plus minus (raw bigWig or bedGraph; paths relative to it).")
    ],
    out: Annotated[Path, typer.Option(help="Counts store to write (a folder).")],
    alleles: Annotated[
        list[Path] | None,
        typer.Option(help="Report of count_alleles.py on a library (LIBRARY.alleles.json); repeat."),
    ] = None,
    skip_bad_libraries: SkipBadLibraries = False,
    threads: Threads = 1,
    version: Version = False,
) -> None:
    """Count raw 5' ends of each library in each window, in total and base by base, into one memory-mapped store.

    Rows of the sheet with one library are runs and are summed. Library totals and median-of-ratios size factors stand in
    libraries.tsv of the store; the counts stay raw.
    """
    limit_threads(threads)
    from allelegro.procap.counts import count_windows, read_signal_sheet

    count_windows(
        windows, read_signal_sheet(sheet), out, threads=threads, skip_bad_libraries=skip_bad_libraries,
        alleles=alleles or [],
    )  # fmt: skip
