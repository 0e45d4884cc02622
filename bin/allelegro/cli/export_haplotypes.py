"""Command line of ``export_haplotypes.py``."""

from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Tool, Version, read_names

app = Tool("fasta", "summary")


@app.command()
def main(
    store: Annotated[Path, typer.Option(help="Haplotype store of extract_haplotypes.py.")],
    fasta: Annotated[Path | None, typer.Option(help="FASTA to write; bgzip-compressed when it ends in .gz.")] = None,
    summary: Annotated[
        Path | None,
        typer.Option(help="TSV to write: one row a window (haplotypes, variants, heterozygosity, private haplotypes)."),
    ] = None,
    donors: Annotated[
        list[str] | None,
        typer.Option(help="Donors: a file with one a line, or names separated by commas; default all."),
    ] = None,
    windows: Annotated[
        list[str] | None,
        typer.Option(help="Window names: a file with one a line, or names separated by commas; default all."),
    ] = None,
    distinct: Annotated[
        bool, typer.Option("--distinct", help="Each distinct haplotype once instead of two sequences a donor.")
    ] = False,
    version: Version = False,
) -> None:
    """Write personal sequences of chosen donors and windows as FASTA, a summary of every window, or both."""
    if fasta is None and summary is None:
        raise typer.BadParameter("give --fasta, --summary or both")
    from allelegro.genotype.export import export_fasta
    from allelegro.genotype.store import HaplotypeStore
    from allelegro.genotype.summary import summarise_windows
    from allelegro.io.tables import write_table

    opened = HaplotypeStore(store)
    if fasta is not None:
        export_fasta(opened, fasta, read_names(donors), read_names(windows), distinct)
    if summary is not None:
        write_table(summarise_windows(opened), summary)
