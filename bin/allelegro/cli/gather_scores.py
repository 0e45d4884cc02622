"""Command line of ``gather_scores.py``."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Tool, Version, name_and_value

app = Tool()
logger = logging.getLogger(__name__)


@app.command()
def main(
    scores: Annotated[
        list[str], typer.Option(help="MODEL=SHARD of scores (TSV); repeat, each model's in their order.")
    ],
    cost: Annotated[list[Path], typer.Option(help="Record of cost of a shard and model; repeat.")],
    counts: Annotated[list[Path], typer.Option(help="Counts of scored and dropped variants of a shard; repeat.")],
    out: Annotated[Path, typer.Option(help="All scores of a model in the order of the variants; {model} is its name.")],
    out_cost: Annotated[Path, typer.Option(help="Record of cost of all shards of a model; {model} is its name.")],
    out_counts: Annotated[Path, typer.Option(help="Counts of all shards together.")],
    variants: Annotated[Path | None, typer.Option(help="The VCF or BCF that was scored, for --out-vcf.")] = None,
    out_vcf: Annotated[Path | None, typer.Option(help="Copy of --variants with the scores as INFO fields.")] = None,
    version: Version = False,
) -> None:
    """Join the shards of a variant set: rows in the order of the variants, costs and counts added up.

    A set of which nothing was scored is an error that says why.
    """
    if (variants is None) != (out_vcf is None):
        raise typer.BadParameter("--variants and --out-vcf belong together")
    named: dict[str, list[Path]] = {}
    for text in scores:
        model, path = name_and_value(text, "--scores", "SHARD")
        named.setdefault(model, []).append(Path(path))
    from allelegro.effects.gathering import gather
    from allelegro.effects.score_files import annotate_vcf, read_score_chunks
    from allelegro.effects.variants import read_counts, require_any_scores, write_counts
    from allelegro.io.atomic import written

    found = read_counts(counts)
    require_any_scores(found, out.name.removesuffix(".{model}.tsv"))
    tables = gather(named, cost, out, out_cost)
    write_counts(found, out_counts)
    for model, told in found.items():
        logger.info("%s: %s", model, told.said())
    if variants is not None and out_vcf is not None:
        annotate_vcf(variants, {model: read_score_chunks(written(path)) for model, path in tables.items()}, out_vcf)
