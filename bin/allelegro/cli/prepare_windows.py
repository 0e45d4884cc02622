"""Command line of ``prepare_windows.py``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from allelegro.cli.common import Tool, Version

app = Tool()


@app.command()
def main(
    windows: Annotated[Path, typer.Option(help="BED of three columns or more: regions, or single positions.")],
    out: Annotated[Path, typer.Option(help="Windows of one width, BED with header and a fold column.")],
    fasta: Annotated[Path | None, typer.Option(help="Genome, for contig lengths.")] = None,
    chrom_sizes: Annotated[Path | None, typer.Option(help="Contig and length a line, instead of --fasta.")] = None,
    out_summary: Annotated[Path | None, typer.Option(help="JSON: what each step kept, and the folds.")] = None,
    width: Annotated[
        int, typer.Option(min=2, help="Width, bp, of windows whose intervals do not all have one already.")
    ] = 1000,
    folds: Annotated[
        Literal["auto", "clipnet", "blocks"],
        typer.Option(help="clipnet: by human autosome; blocks: contiguous; auto: clipnet where complete."),
    ] = "auto",
    no_folds: Annotated[
        bool, typer.Option("--no-folds", help="Assign no folds and so drop no window; nothing can be trained on them.")
    ] = False,
    n_folds: Annotated[int, typer.Option(min=2, help="Number of folds (blocks).")] = 10,
    gap: Annotated[
        int, typer.Option(min=0, help="Bp between neighbouring blocks; windows there are dropped.")
    ] = 10_000,
    version: Version = False,
) -> None:
    """Make windows of any BED: one width, a name each, inside their contigs, with folds unless it has them.

    Their order stays. What is dropped is counted and said.
    """
    if (fasta is None) == (chrom_sizes is None):
        raise typer.BadParameter("give either --fasta or --chrom-sizes")
    import json

    from allelegro.io.atomic import atomic_path
    from allelegro.io.windows import write_windows
    from allelegro.procap.user_windows import prepare_windows
    from allelegro.procap.windows import contig_lengths

    lengths = contig_lengths(fasta, chrom_sizes)
    prepared = prepare_windows(windows, lengths, width, None if no_folds else folds, n_folds, gap)
    write_windows(prepared.windows, out)
    if out_summary is not None:
        with atomic_path(out_summary) as partial:
            partial.write_text(json.dumps(prepared.summary, indent=2) + "\n")
    typer.echo(f"{len(prepared.windows)} windows", err=True)
