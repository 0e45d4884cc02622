"""Command line of ``benchmark_variants.py``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from allelegro.cli.common import Seed, Threads, Tool, Version, limit_threads

app = Tool()


@app.command()
def main(
    scores: Annotated[list[Path], typer.Option(help="Scores of score_variants.py; repeat for several models.")],
    truth: Annotated[Path, typer.Option(help="Table of measured effects.")],
    kind: Annotated[
        Literal["satmut", "mpra", "adastra", "udacha", "qtl", "truth", "table"],
        typer.Option(help="Source of --truth, which fixes its columns, coordinates and sign."),
    ],
    dataset: Annotated[str, typer.Option(help="Name of the truth table in the metrics.")],
    out: Annotated[Path, typer.Option(help="Tidy metrics, TSV.")],
    points: Annotated[Path, typer.Option(help="Variants behind the metrics: measured and predicted, TSV.gz.")],
    comparator: Annotated[
        list[str] | None, typer.Option(help="NAME=TABLE of an outside model (chrom pos ref alt score); repeatable.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="FIELD=COLUMN of --truth, as measured=log2FC; repeatable.")
    ] = None,
    zero_based: Annotated[bool, typer.Option("--zero-based", help="Kind table: positions count from 0.")] = False,
    positive_allele: Annotated[
        Literal["alt", "ref"], typer.Option(help="Kind table: the allele that a positive measurement favours.")
    ] = "alt",
    release: Annotated[str | None, typer.Option(help="Kind satmut: which assembly's rows, as GRCh38.")] = None,
    min_tags: Annotated[int, typer.Option(min=0, help="Kind satmut: least barcodes of a variant.")] = 10,
    cluster_distance: Annotated[
        int, typer.Option(min=0, help="Variants with gaps up to this many bp are resampled together.")
    ] = 10_000,
    n_boot: Annotated[int, typer.Option(min=100, help="Bootstrap replicates of the intervals.")] = 1000,
    seed: Seed = 0,
    threads: Threads = 1,
    version: Version = False,
) -> None:
    """Compare predicted with measured variant effects; all models on the variants that every one of them scored."""
    columns = dict(_pair(text, "--column") for text in column or [])
    others = [(name, Path(path)) for name, path in (_pair(text, "--comparator") for text in comparator or [])]
    limit_threads(threads)
    from allelegro.effects.benchmark import POINT_COLUMNS, Benchmark, join
    from allelegro.effects.truth import TruthOptions, read_truth
    from allelegro.io.tables import write_metrics, write_table

    options = TruthOptions(columns, zero_based, positive_allele, release, min_tags)
    joined = join(read_truth(truth, kind, options), scores, others, cluster_distance)
    rows = Benchmark(dataset, joined, kind, n_boot, seed).rows()
    write_table(joined.table[[*POINT_COLUMNS, *joined.models]], points)
    write_metrics(rows, out)


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise typer.BadParameter(f"{option} {text}: write NAME=VALUE")
    return name, value
