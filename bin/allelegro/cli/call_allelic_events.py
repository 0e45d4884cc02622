"""Command line of ``call_allelic_events.py``."""

from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Threads, Tool, Version
from allelegro.resources import limit_threads

app = Tool()


@app.command()
def main(
    snvs: Annotated[list[Path], typer.Option(help="LIBRARY.snvs.tsv.gz of count_alleles.py; repeat for libraries.")],
    out: Annotated[Path, typer.Option(help="Table of tested SNVs (allelic_events.tsv).")],
    min_reads: Annotated[int, typer.Option(min=1, help="Reads of both alleles that a test needs.")] = 10,
    fdr: Annotated[
        float, typer.Option(min=0, max=1, help="Rate of false discovery of what is called significant.")
    ] = 0.05,
    allow_none: Annotated[
        bool, typer.Option("--allow-none", help="Where no SNV has the reads, warn and write a table without rows.")
    ] = False,
    threads: Threads = 1,
    version: Version = False,
) -> None:
    """Test SNVs for allelic imbalance over all heterozygous donors, against fitted overdispersion and reference bias.

    effect is log2 alternative over reference. p is of a likelihood ratio of beta-binomials, fdr Benjamini and Hochberg's.
    """
    limit_threads(threads)
    from allelegro.procap.allelic_events import call_events

    call_events(snvs, out, min_reads=min_reads, fdr=fdr, allow_none=allow_none)
