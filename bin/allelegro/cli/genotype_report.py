"""Command line of ``genotype_report.py``."""

from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Seed, Threads, Tool, Version
from allelegro.resources import limit_threads

app = Tool()


@app.command()
def main(
    store: Annotated[Path, typer.Option(help="Haplotype store of extract_haplotypes.py.")],
    out: Annotated[Path, typer.Option(help="Folder to make with the tables and metrics.tsv.")],
    min_kinship: Annotated[
        float, typer.Option(help="List pairs of donors above this kinship with 95 % confidence; -1 lists all.")
    ] = 0.0442,
    seed: Seed = 0,
    threads: Threads = 1,
    version: Version = False,
) -> None:
    """Tabulate what a haplotype store was made of: variants used and dropped, donors, relatedness, ancestry, compression."""
    limit_threads(threads)
    from allelegro.genotype.store import HaplotypeStore
    from allelegro.genotype.summary import write_summary

    write_summary(HaplotypeStore(store), out, min_kinship, seed)
