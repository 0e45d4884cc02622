"""Command line of ``fit_kmers.py``."""

from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Seed, Threads, Tool, Version
from allelegro.resources import limit_threads

app = Tool()


@app.command()
def main(
    table: Annotated[Path, typer.Option(help="Training table of prepare_mpra.py (seq, mean_value).")],
    out: Annotated[Path, typer.Option(help="Weights, .npz, for benchmark_variants.py --kmers.")],
    held_out_windows: Annotated[
        list[Path] | None, typer.Option(help="windows.bed: sequences in windows of --held-out-fold are not fitted on.")
    ] = None,
    held_out_fold: Annotated[list[int] | None, typer.Option(help="Fold that is tested; repeatable.")] = None,
    seed: Seed = 0,
    threads: Threads = 1,
    version: Version = False,
) -> None:
    """Fit a ridge regression of activity on counts of 6-mers and gapped 6-mers: the baseline of the variant benchmarks."""
    limit_threads(threads)
    from allelegro.effects.kmers import KmerModel, without_held_out
    from allelegro.errors import DataError
    from allelegro.io.tables import COUNT, NAME, NUMBER, TEXT, maybe, read_table

    places = {"chrom": TEXT, "start": maybe(COUNT), "end": maybe(COUNT)}
    examples = read_table(table, {"seq": NAME, "mean_value": NUMBER}, optional=places)
    examples = without_held_out(examples, held_out_windows or [], held_out_fold or [], table)
    try:
        model = KmerModel.fit(examples["seq"].tolist(), examples["mean_value"].to_numpy(dtype=float), seed)
    except DataError as error:
        raise DataError(f"{table}: {error}") from None
    model.save(out)
