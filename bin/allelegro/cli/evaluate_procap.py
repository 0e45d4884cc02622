"""``evaluate_procap.py``: checkpoints + stores → tidy metrics and predictions."""

from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Device, Seed, Threads, Tool, Version, name_and_value
from allelegro.resources import limit_threads

app = Tool()


@app.command()
def main(
    counts: Annotated[Path, typer.Option(help="Counts store (count_windows.py).")],
    haplotypes: Annotated[Path, typer.Option(help="Haplotype store of the same windows (extract_haplotypes.py).")],
    model: Annotated[
        list[str],
        typer.Option(
            help="NAME=CHECKPOINT (repeat), or NAME=FOLDER of checkpoints; those of one name are its folds and seeds.",
            metavar="NAME=PATH",
        ),
    ],
    out_metrics: Annotated[Path, typer.Option(help="Tidy metrics, TSV.")],
    out_predictions: Annotated[Path, typer.Option(help="RPM of every window and donor, Parquet.")],
    target_width: Annotated[int, typer.Option(min=1, help="Central bp over which counts are summed.")] = 500,
    dataset: Annotated[str, typer.Option(help="Name of the data in the metrics.")] = "procap",
    bootstraps: Annotated[int, typer.Option(min=10, help="Bootstrap replicates of every interval.")] = 1000,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = 1,
    version: Version = False,
) -> None:
    """Predict the PRO-cap of every donor at every window and measure how right each model is.

    Cells: seen/unseen loci × seen/unseen donors, as recorded in the checkpoints. An unseen locus is predicted by the
    checkpoints that held out its fold, and all folds are pooled; seeds are averaged in log RPM. Baselines (locus mean,
    linear model on window genotypes), the ceiling of replicate libraries and paired differences are added.
    """
    limit_threads(threads)
    pairs = [(name, Path(path)) for name, path in (name_and_value(text, "--model", "CHECKPOINT") for text in model)]
    from allelegro.training.evaluate import evaluate

    evaluate(
        counts,
        haplotypes,
        pairs,
        out_metrics,
        out_predictions,
        target_width=target_width,
        dataset=dataset,
        n_boot=bootstraps,
        seed=seed,
        device=device,
    )
