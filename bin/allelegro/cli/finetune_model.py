"""``finetune_model.py``: counts store + haplotype store (+ checkpoint) → checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Device, Seed, Threads, Tool, Version, with_settings
from allelegro.resources import limit_threads
from allelegro.training.settings import FinetuneSettings

app = Tool("checkpoint_dir")


@app.command()
@with_settings(FinetuneSettings)
def main(
    settings: FinetuneSettings,
    counts: Annotated[Path, typer.Option(help="Counts store (count_windows.py).")],
    haplotypes: Annotated[Path, typer.Option(help="Haplotype store of the same windows (extract_haplotypes.py).")],
    out: Annotated[Path, typer.Option(help="Checkpoint folder to write.")],
    seed: Seed = 0,
    checkpoint_dir: Annotated[
        Path | None, typer.Option(help="Folder that survives a retry; training continues from its state.")
    ] = None,
    device: Device = "auto",
    threads: Threads = 1,
    version: Version = False,
) -> None:
    """Fine-tune a model on donors' haplotypes and PRO-cap counts; writes a checkpoint folder.

    A batch holds whole loci: each distinct haplotype passes through the network once and donors gather from it. Loci are
    held out by fold, donors by person. The best epoch on the validation fold (training donors) is kept.
    """
    limit_threads(threads)
    from allelegro.training.finetune import finetune

    finetune(counts, haplotypes, out, settings, device, checkpoint_dir)
