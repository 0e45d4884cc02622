"""Command line of ``rank_variants.py``."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Threads, Tool, Version
from allelegro.resources import limit_threads

app = Tool()
logger = logging.getLogger(__name__)


@app.command()
def main(
    scores: Annotated[
        list[Path], typer.Option(help="Scores of one variant set by score_variants.py; repeat for models.")
    ],
    out: Annotated[Path, typer.Option(help="One row a variant, TSV: best_score is the column to use.")],
    points: Annotated[
        list[Path] | None,
        typer.Option(
            help="Points of benchmark_variants.py: measured effects that choose the model and calibrate signs."
        ),
    ] = None,
    out_calibration: Annotated[
        Path | None, typer.Option(help="Calibration of the probability of a right sign, by model, TSV.")
    ] = None,
    counts: Annotated[
        Path | None,
        typer.Option(
            help="Counts store of the windows that variants were scored in: what is observed there, RPM, is added."
        ),
    ] = None,
    annotation: Annotated[
        Path | None, typer.Option(help="GTF or GFF3 of the genome: the nearest start site's gene is added.")
    ] = None,
    variants: Annotated[Path | None, typer.Option(help="VCF or BCF that was scored: INFO/AF is added.")] = None,
    motifs: Annotated[
        Path | None,
        typer.Option(
            help="Motifs in MEME format: the one that each variant makes or breaks is added. By default 107 of JASPAR."
        ),
    ] = None,
    fasta: Annotated[Path | None, typer.Option(help="Genome of the variants, in which motifs are looked for.")] = None,
    threads: Threads = 1,
    version: Version = False,
) -> None:
    """Put together what several models say of each variant: the score to use, how far to trust it, gene, motif and frequency."""
    if motifs is not None and fasta is None:
        raise typer.BadParameter("--motifs needs --fasta")
    limit_threads(threads)
    from allelegro.effects.annotation import StartSites
    from allelegro.effects.motifs import BUNDLED, read_motifs
    from allelegro.effects.summary import read_models, summarise
    from allelegro.effects.windows import Genome
    from allelegro.io.tables import write_table
    from allelegro.procap.counts import CountsStore

    observed = CountsStore.open(counts).expression() if counts else None
    sites = StartSites.read(annotation) if annotation else None
    scanned = (Genome(fasta), read_motifs(motifs or BUNDLED)) if fasta else None
    table, calibration = summarise(read_models(scores), points or [], observed, sites, variants, scanned)
    write_table(table, out)
    if out_calibration is not None:
        write_table(calibration, out_calibration)
