"""The ``pretrain_legnet.py`` tool."""

from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Device, Seed, Threads, Tool, Version, with_settings
from allelegro.resources import limit_threads
from allelegro.training.settings import PretrainSettings

app = Tool("checkpoint_dir")


@app.command()
@with_settings(PretrainSettings)
def main(
    settings: PretrainSettings,
    table: Annotated[Path, typer.Option(help="Training table of prepare_mpra.py.")],
    out: Annotated[Path, typer.Option(help="Checkpoint folder to write.")],
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

    pretrain(table, out, settings, device, checkpoint_dir)
