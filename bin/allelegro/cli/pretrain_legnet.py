"""The ``pretrain_legnet.py`` tool."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from allelegro.cli.common import Device, Seed, Threads, Tool, Version, settings_of
from allelegro.resources import limit_threads
from allelegro.training.settings import PretrainSettings

app = Tool()


@app.command()
def main(
    context: typer.Context,
    table: Annotated[Path, typer.Option(help="Training table of prepare_mpra.py.")],
    out: Annotated[Path, typer.Option(help="Checkpoint folder to write.")],
    test_fold: Annotated[int | None, typer.Option(help="Fold never looked at; its r is reported at the end.")] = None,
    validation_fold: Annotated[
        int, typer.Option(help="Fold that picks the best epoch.")
    ] = PretrainSettings.validation_fold,
    preset: Annotated[
        Literal["published", "compact", "small", "tiny"],
        typer.Option(help="published: 1,322,465 parameters; compact: 857,825; small and tiny for small machines."),
    ] = "published",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training rows.")] = PretrainSettings.epochs,
    batch_size: Annotated[
        int, typer.Option(min=2, help="Sequences per update, over all devices.")
    ] = PretrainSettings.batch_size,
    max_lr: Annotated[
        float, typer.Option(min=0, help="Peak of the one-cycle learning rate.")
    ] = PretrainSettings.max_lr,
    weight_decay: Annotated[float, typer.Option(min=0, help="Weight decay of AdamW.")] = PretrainSettings.weight_decay,
    dropout: Annotated[
        float, typer.Option(min=0, max=0.9, help="Dropout before the head (0 as published).")
    ] = PretrainSettings.dropout,
    average: Annotated[
        float, typer.Option(min=0, max=0.9999, help="Memory of the running mean of weights that is kept; 0: none.")
    ] = PretrainSettings.average,
    shift_before: Annotated[
        int, typer.Option(min=0, max=21, help="Largest shift to the left, bp.")
    ] = PretrainSettings.shift_before,
    shift_after: Annotated[
        int, typer.Option(min=0, max=54, help="Largest shift to the right, bp.")
    ] = PretrainSettings.shift_after,
    mutation: Annotated[
        float,
        typer.Option(min=0, max=0.5, help="Share of bases randomly mutated in every epoch; 0.05 suits small tables."),
    ] = PretrainSettings.mutation,
    patience: Annotated[int | None, typer.Option(min=1, help="Stop after so many epochs without a better one.")] = None,
    held_out_chromosome: Annotated[
        list[str] | None, typer.Option(help="Exclude elements of this chromosome, and record it; repeatable.")
    ] = None,
    held_out_windows: Annotated[
        list[Path] | None, typer.Option(help="Exclude elements that overlap these windows.bed, and record them.")
    ] = None,
    held_out_fold: Annotated[
        list[int] | None, typer.Option(help="Folds of --held-out-windows to hold out; repeatable (default 0 and 1).")
    ] = None,
    allow_unplaced: Annotated[
        bool,
        typer.Option(
            "--allow-unplaced",
            help="Train also on a table without coordinates on the windows' genome, and record that overlap is unknown.",
        ),
    ] = False,
    micro_batch: Annotated[
        int | None, typer.Option(min=1, help="Sequences held on the device at a time; gradients are accumulated.")
    ] = None,
    checkpoint_dir: Annotated[
        Path | None, typer.Option(help="Keep the whole state here every epoch; the same command continues from it.")
    ] = None,
    device: Device = "auto",
    seed: Seed = 0,
    threads: Threads = 1,
    version: Version = False,
) -> None:
    """Train LegNet on lentiMPRA and write a checkpoint folder (model.safetensors, model.json, history.tsv).

    The published recipe: constructs shifted along their vector, on either strand, squared error of log2
    RNA/DNA, AdamW with a one-cycle rate, gradients clipped at 1; the epoch with the best validation r is kept.
    """
    limit_threads(threads)
    from allelegro.training.pretrain import pretrain

    pretrain(table, out, settings_of(PretrainSettings, context), device, checkpoint_dir)
