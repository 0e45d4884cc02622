"""``merge_peaks.py``: the peaks of all libraries to one set of fixed-width windows with folds."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from allelegro.cli.common import Tool, Version

app = Tool()


@app.command()
def main(
    sheet: Annotated[Path, typer.Option(help="TSV: library donor peaks elements; paths relative to the sheet.")],
    out: Annotated[Path, typer.Option(help="Windows, BED with header and a fold column.")],
    out_summary: Annotated[Path, typer.Option(help="JSON: what each step kept and dropped, folds, reproducibility.")],
    fasta: Annotated[Path | None, typer.Option(help="Genome, for contig lengths.")] = None,
    chrom_sizes: Annotated[Path | None, typer.Option(help="Contig and length a line, instead of --fasta.")] = None,
    out_metrics: Annotated[Path | None, typer.Option(help="Reproducibility as a tidy metrics table.")] = None,
    width: Annotated[int, typer.Option(min=2, help="Width of every window, bp.")] = 1000,
    min_donors: Annotated[int, typer.Option(min=1, help="Donors that must show a locus; all when fewer exist.")] = 2,
    folds: Annotated[
        Literal["auto", "clipnet", "blocks"],
        typer.Option(help="clipnet: by human autosome; blocks: contiguous; auto: clipnet where complete."),
    ] = "auto",
    n_folds: Annotated[int, typer.Option(min=2, help="Number of folds (blocks).")] = 10,
    gap: Annotated[
        int, typer.Option(min=0, help="Bp between neighbouring blocks; windows there are dropped.")
    ] = 10_000,
    version: Version = False,
) -> None:
    """Merge the peaks of all libraries into non-overlapping windows centred on consensus summits, with folds."""
    if (fasta is None) == (chrom_sizes is None):
        raise typer.BadParameter("give either --fasta or --chrom-sizes")
    import json

    from allelegro.io.atomic import atomic_path
    from allelegro.io.metrics import write_metrics
    from allelegro.io.windows import write_windows
    from allelegro.procap.windows import contig_lengths, merge_peaks

    merged = merge_peaks(sheet, contig_lengths(fasta, chrom_sizes), width, min_donors, folds, n_folds, gap)
    write_windows(merged.windows, out)
    with atomic_path(out_summary) as partial:
        partial.write_text(json.dumps(merged.summary, indent=2) + "\n")
    if out_metrics is not None:
        write_metrics(merged.metrics, out_metrics)
    typer.echo(f"{len(merged.windows)} windows", err=True)
