"""The ``pretrain_legnet.py`` tool."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Device, Seed, Threads, Tool, Version
from allelegro.resources import limit_threads

app = Tool()


class Preset(StrEnum):
    """Sizes of LegNet."""

    published = "published"
    compact = "compact"
    small = "small"
    tiny = "tiny"


@app.command()
def main(
    table: Annotated[Path, typer.Option(help="Training table of prepare_mpra.py.")],
    out: Annotated[Path, typer.Option(help="Checkpoint folder to write.")],
    test_fold: Annotated[int | None, typer.Option(help="Fold never looked at; its r is reported at the end.")] = None,
    validation_fold: Annotated[int, typer.Option(help="Fold that picks the best epoch.")] = 1,
    preset: Annotated[
        Preset,
        typer.Option(help="published: 1,322,465 parameters; compact: 857,825; small and tiny for small machines."),
    ] = Preset.published,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training rows.")] = 25,
    batch_size: Annotated[int, typer.Option(min=2, help="Sequences per update, over all devices.")] = 1024,
    max_lr: Annotated[float, typer.Option(min=0, help="Peak of the one-cycle learning rate.")] = 0.01,
    weight_decay: Annotated[float, typer.Option(min=0, help="Weight decay of AdamW.")] = 0.1,
    dropout: Annotated[float, typer.Option(min=0, max=0.9, help="Dropout before the head (0 as published).")] = 0.0,
    average: Annotated[
        float, typer.Option(min=0, max=0.9999, help="Memory of the running mean of weights that is kept; 0: none.")
    ] = 0.0,
    shift_before: Annotated[int, typer.Option(min=0, max=21, help="Largest shift to the left, bp.")] = 0,
    shift_after: Annotated[int, typer.Option(min=0, max=54, help="Largest shift to the right, bp.")] = 21,
    mutation: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share of bases drawn anew in every epoch; 0.05 suits small tables.")
    ] = 0.0,
    patience: Annotated[int | None, typer.Option(min=1, help="Stop after so many epochs without a better one.")] = None,
    held_out_chromosome: Annotated[
        list[str] | None, typer.Option(help="Leave out elements of this chromosome, and record it; repeatable.")
    ] = None,
    held_out_windows: Annotated[
        list[Path] | None, typer.Option(help="Leave out elements that overlap these windows.bed, and record them.")
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

    The published recipe: constructs shifted along their vector and turned to either strand, squared error of log2
    RNA/DNA, AdamW with a one-cycle rate, gradients clipped at 1; the epoch with the best validation r is kept.
    """
    limit_threads(threads)
    from allelegro.training.augment import Augmentation
    from allelegro.training.engine import Settings
    from allelegro.training.mpra import held_out_windows as windows_of
    from allelegro.training.pretrain import HeldOut, pretrain

    held_out = HeldOut(
        test_fold,
        validation_fold,
        tuple(held_out_chromosome or ()),
        windows_of(held_out_windows or [], held_out_fold or [0, 1]),
        allow_unplaced,
    )
    settings = Settings(
        epochs=epochs,
        batch_size=batch_size,
        max_lr=max_lr,
        weight_decay=weight_decay,
        patience=patience,
        micro_batch=micro_batch,
        average=average,
        seed=seed,
    )
    augmentation = Augmentation(shift_before, shift_after, mutation)
    pretrain(table, out, held_out, settings, preset.value, dropout, augmentation, device, checkpoint_dir)
