"""Command line of ``explain_variants.py``."""

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
    scores: Annotated[Path, typer.Option(help="Scores of score_variants.py by this model.")],
    checkpoint: Checkpoints,
    fasta: Annotated[Path, typer.Option(help="Genome that the variants were scored on.")],
    out: Annotated[
        Path, typer.Option(help="Table of the importance of each base in both alleles of the top variants.")
    ],
    variants: Annotated[
        Path | None, typer.Option(help="Table of rank_variants.py: its ranks say which variants come first.")
    ] = None,
    count: Annotated[
        int, typer.Option(min=1, help="Variants to take: the first of --variants, else those with the largest effects.")
    ] = 12,
    span: Annotated[int, typer.Option(min=2, help="Bases around a variant that are changed.")] = 50,
    name: ModelName = "model",
    context: Context = "auto",
    held_out_only: HeldOutOnly = True,
    threads: Threads = 1,
    device: Device = "auto",
    version: Version = False,
) -> None:
    """Show which bases the two alleles of the top scored variants rely on, for logos side by side in the report."""
    limit_threads(threads)
    import pandas as pd

    from allelegro.effects.importance import IMPORTANCE_COLUMNS, importance, top_scores
    from allelegro.effects.score_files import read_scores
    from allelegro.effects.scoring import Scorer
    from allelegro.effects.windows import Genome
    from allelegro.errors import DataError
    from allelegro.io.tables import COUNT, NUMBER, TEXT, maybe, read_table, write_table

    columns = {"chrom": TEXT, "pos": COUNT, "ref": TEXT, "alt": TEXT, "rank": maybe(NUMBER)}
    ranked = read_table(variants, columns) if variants else None
    top = top_scores(read_scores(scores), count, ranked)
    scorer = Scorer(name, load_models(checkpoint, device), context, held_out_only=held_out_only)
    tables = [] if top.empty else list(importance(top, scorer, Genome(fasta), span))
    if len(top) and not tables:
        raise DataError(f"{fasta}: holds none of the top variants of {scores}; give the genome they were scored on")
    write_table(pd.concat(tables) if tables else pd.DataFrame(columns=IMPORTANCE_COLUMNS), out)
    logger.info("%s: %s variants explained", out, len(tables))
