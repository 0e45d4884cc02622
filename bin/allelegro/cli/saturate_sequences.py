"""Command line of ``saturate_sequences.py``."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Device, Threads, Tool, Version
from allelegro.cli.scoring_options import Checkpoints, Context, HeldOutOnly, ModelName, load_models
from allelegro.resources import limit_threads

app = Tool()
logger = logging.getLogger(__name__)


@app.command()
def main(
    checkpoint: Checkpoints,
    fasta: Annotated[Path, typer.Option(help="Genome of --windows; without --windows each sequence is a region.")],
    out: Annotated[
        Path, typer.Option(help="Folder for saturation.tsv; the report draws a map and a logo of each region.")
    ],
    windows: Annotated[Path | None, typer.Option(help="windows.bed whose centres are mutated.")] = None,
    window: Annotated[
        list[str] | None, typer.Option(help="Name of a window to take; repeatable (default: the best by score).")
    ] = None,
    haplotypes: Annotated[
        Path | None, typer.Option(help="Haplotype store of --windows: windows where donors differ are taken first.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Windows to take when none is named.")] = 4,
    span: Annotated[int, typer.Option(min=1, help="Central bp of a window that are mutated.")] = 200,
    deletions: Annotated[bool, typer.Option("--deletions", help="Delete each base too (ALT -).")] = False,
    name: ModelName = "model",
    context: Context = "auto",
    held_out_only: HeldOutOnly = True,
    threads: Threads = 1,
    device: Device = "auto",
    version: Version = False,
) -> None:
    """Score every single-nucleotide change of regions."""
    limit_threads(threads)
    from allelegro.effects.saturation import central_regions, saturate, whole_contigs, write_saturation
    from allelegro.effects.scoring import Scorer
    from allelegro.effects.windows import Genome
    from allelegro.genotype.store import HaplotypeStore
    from allelegro.io.atomic import atomic_folder
    from allelegro.io.windows import read_windows

    genome = Genome(fasta)
    scorer = Scorer(name, load_models(checkpoint, device), context, slide=windows is None, held_out_only=held_out_only)
    if windows is None:
        regions = whole_contigs(genome)
    else:
        store = HaplotypeStore(haplotypes, verify=True) if haplotypes else None
        regions = central_regions(read_windows(windows, folds=False), scorer, span, count, window or [], store, genome)
    with atomic_folder(out, "saturation", lambda folder: {"saturation.tsv"}) as partial:
        done = write_saturation(saturate(regions, genome, scorer, deletions), partial)
    logger.info("%s regions saturated", done)
