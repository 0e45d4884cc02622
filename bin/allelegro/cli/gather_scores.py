"""Command line of ``gather_scores.py``."""

from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Tool, Version

app = Tool()


@app.command()
def main(
    scores: Annotated[list[Path], typer.Option(help="Shard of scores (TSV); repeat in their order.")],
    cost: Annotated[list[Path], typer.Option(help="Record of cost of a shard; repeat.")],
    out: Annotated[Path, typer.Option(help="All scores under one header.")],
    out_cost: Annotated[Path, typer.Option(help="Record of cost of all shards together.")],
    version: Version = False,
) -> None:
    """Join the shards of one model's scores: rows in the order given, costs added up (memory: the largest)."""
    from allelegro.effects.score_files import join_tables
    from allelegro.effects.scoring_cost import Cost, together

    together([Cost.read(path) for path in cost]).write(out_cost)
    join_tables(scores, out)
