"""Command line of ``gather_scores.py``."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Tool, Version

app = Tool()
logger = logging.getLogger(__name__)


@app.command()
def main(
    scores: Annotated[list[Path], typer.Option(help="Shard of scores (TSV); repeat in their order.")],
    cost: Annotated[list[Path], typer.Option(help="Record of cost of a shard; repeat.")],
    out: Annotated[Path, typer.Option(help="All scores under one header.")],
    out_cost: Annotated[Path, typer.Option(help="Record of cost of all shards together.")],
    counts: Annotated[
        list[Path] | None, typer.Option(help="Counts of scored and dropped variants of a shard; repeat.")
    ] = None,
    out_counts: Annotated[Path | None, typer.Option(help="Counts of all shards together.")] = None,
    version: Version = False,
) -> None:
    """Join the shards of one model's scores: rows in the order given, costs and counts added up (memory: the largest).

    With counts, a set of which nothing was scored is an error that says why, unless the model saw it in training.
    """
    if bool(counts) != (out_counts is not None):
        raise typer.BadParameter("--counts and --out-counts belong together")
    from allelegro.effects.score_files import join_tables
    from allelegro.effects.scoring_cost import Cost, together
    from allelegro.effects.variants import Counts

    cost_of_all = together([Cost.read(path) for path in cost])
    if counts and out_counts is not None:
        found = sum((Counts.read(path) for path in counts), Counts())
        found.require_scores(out.name)
        found.write(out_counts)
        logger.info("%s: %s variants scored; dropped: %s", out.name, f"{found.scored:,}", found.summary())
    cost_of_all.write(out_cost)
    join_tables(scores, out)
