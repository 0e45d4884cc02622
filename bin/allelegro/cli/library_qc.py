"""Command line of ``library_qc.py``."""

from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Threads, Tool, Version
from allelegro.resources import limit_threads

app = Tool()


@app.command()
def main(
    counts: Annotated[Path, typer.Option(help="Counts store of the cohort; it lists the libraries.")],
    out: Annotated[Path, typer.Option(help="Folder of tables to write.")],
    folder: Annotated[
        list[Path],
        typer.Option(
            help="Folder with any of LIBRARY.qc.json, LIBRARY.{plus,minus}.bw, LIBRARY.peaks.bed, LIBRARY.elements.bed, "
            "LIBRARY.donors.tsv, *.excluded.tsv; repeat."
        ),
    ] = [],  # noqa: B006
    tss: Annotated[Path | None, typer.Option(help="Annotated transcription start sites, GTF, GFF or BED.")] = None,
    tss_distance: Annotated[int, typer.Option(min=0, help="Bp around a start site that count as at it.")] = 300,
    stop_on_swap: Annotated[
        bool,
        typer.Option("--stop-on-swap", help="Exit with status 1, after writing, when a library fits another donor."),
    ] = False,
    threads: Threads = 1,
    version: Version = False,
) -> None:
    """Gather the quality of all libraries: filtering, complexity, strands, peaks, start sites, correlation, donors.

    Writes libraries.tsv, read_fates.tsv, complexity.tsv, correlation.tsv, replicates.tsv, donors.tsv, excluded.tsv, metrics.tsv and
    multiqc/*_mqc.json. What needs an absent file is NA.
    """
    limit_threads(threads)
    from allelegro.procap.qc import write_library_qc

    write_library_qc(counts, folder, out, tss=tss, tss_distance=tss_distance, stop_on_swap=stop_on_swap)
