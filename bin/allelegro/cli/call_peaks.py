"""``call_peaks.py``: stranded 5'-end counts to peaks and divergent elements."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from allelegro.cli.common import Threads, Tool, Version
from allelegro.resources import limit_threads

app = Tool()


@app.command()
def main(
    plus: Annotated[Path, typer.Option(help="Raw 5'-end counts of the plus strand, bigWig or bedGraph.")],
    minus: Annotated[Path, typer.Option(help="The same of the minus strand; values may be negative.")],
    out: Annotated[Path, typer.Option(help="Peaks, BED with header: one strand each.")],
    out_elements: Annotated[Path, typer.Option(help="Divergent pairs of peaks, BED with header.")],
    fdr: Annotated[float, typer.Option(min=1e-12, max=0.5, help="Share of false peaks tolerated.")] = 0.1,
    min_reads: Annotated[int, typer.Option(min=3, help="Reads a peak must hold.")] = 3,
    max_pair_distance: Annotated[int, typer.Option(min=1, help="Largest distance of paired summits, bp.")] = 300,
    min_balance: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share of a pair's reads that its weaker strand must hold.")
    ] = 0.01,
    caller: Annotated[
        Literal["allelegro", "pints"], typer.Option(help="pints runs the real pyPINTS where it is installed.")
    ] = "allelegro",
    threads: Threads = 1,
    version: Version = False,
) -> None:
    """Call peaks of transcription initiation from raw stranded 5'-end counts and pair them into divergent elements."""
    limit_threads(threads)
    from allelegro.procap.elements import pair_elements
    from allelegro.procap.peaks import call_peaks, write_bed

    if caller == "pints":
        from allelegro.procap.pints import call_with_pints

        peaks, elements = call_with_pints(plus, minus, fdr, max_pair_distance, threads)
    else:
        peaks = call_peaks(plus, minus, fdr, min_reads)
        elements = pair_elements(peaks, max_pair_distance, min_balance)
    write_bed(peaks, out)
    write_bed(elements, out_elements)
    typer.echo(f"{len(peaks)} peaks, {len(elements)} divergent elements", err=True)
