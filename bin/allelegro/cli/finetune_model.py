"""``finetune_model.py``: counts store + haplotype store (+ checkpoint) → checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Device, Seed, Threads, Tool, Version, settings_of
from allelegro.resources import limit_threads
from allelegro.training.settings import FinetuneSettings

app = Tool()


@app.command()
def main(
    context: typer.Context,
    counts: Annotated[Path, typer.Option(help="Counts store (count_windows.py).")],
    haplotypes: Annotated[Path, typer.Option(help="Haplotype store of the same windows (extract_haplotypes.py).")],
    out: Annotated[Path, typer.Option(help="Checkpoint folder to write.")],
    model: Annotated[str, typer.Option(help="legnet or clipnet.")] = FinetuneSettings.model,
    genotypes: Annotated[
        str,
        typer.Option(
            help="personal; reference (every donor carries the reference sequence); shuffled (donors' genotypes "
            "permuted within each locus)."
        ),
    ] = FinetuneSettings.genotypes,
    init: Annotated[
        Path | None, typer.Option(help="Checkpoint to start from (pretrain_legnet.py); without it, from scratch.")
    ] = None,
    preset: Annotated[
        str, typer.Option(help="Size of a model from scratch: published, compact (LegNet), small, tiny.")
    ] = FinetuneSettings.preset,
    input_width: Annotated[
        int | None,
        typer.Option(help="Sequence the model sees, bp; default: of --init, or 230 (legnet), 1000 (clipnet)."),
    ] = None,
    target_width: Annotated[
        int, typer.Option(min=1, help="Central bp over which counts are summed.")
    ] = FinetuneSettings.target_width,
    max_shift: Annotated[
        int, typer.Option(min=0, help="Largest random shift of the input, bp (legnet).")
    ] = FinetuneSettings.max_shift,
    test_fold: Annotated[
        int, typer.Option(help="Fold of windows.bed that is never seen.")
    ] = FinetuneSettings.test_fold,
    validation_fold: Annotated[int, typer.Option(help="Fold for early stopping.")] = FinetuneSettings.validation_fold,
    test_donor_fraction: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of donors held out, drawn by --split-seed.")
    ] = FinetuneSettings.test_donor_fraction,
    test_donors: Annotated[
        list[str] | None, typer.Option(help="A donor to hold out (repeat), instead of a share.")
    ] = None,
    split_seed: Annotated[
        int, typer.Option(min=0, help="Seed of the draw of held-out donors; one for all models.")
    ] = FinetuneSettings.split_seed,
    loss: Annotated[
        str, typer.Option(help="Likelihood of counts: nb, poisson; or mse of log1p RPM (legnet).")
    ] = FinetuneSettings.loss,
    between_weight: Annotated[
        float,
        typer.Option(min=0, help="Weight of differences between donors within a locus (legnet); 1 is the likelihood."),
    ] = FinetuneSettings.between_weight,
    quantity_weight: Annotated[
        float,
        typer.Option(
            min=0, help="Weight of squared log1p quantity relative to the profile's cosine, as published (clipnet)."
        ),
    ] = FinetuneSettings.quantity_weight,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs at most.")] = FinetuneSettings.epochs,
    batch_loci: Annotated[
        int,
        typer.Option(
            min=1, help="Loci per batch, each with all its donors; clipnet takes 8 times as many windows of donors."
        ),
    ] = FinetuneSettings.batch_loci,
    max_lr: Annotated[
        float | None,
        typer.Option(help="Peak learning rate (legnet); default 0.0005 with --init, 0.005 without."),
    ] = None,
    clipnet_lr: Annotated[
        float, typer.Option(min=0, help="Learning rate, constant as published (clipnet).")
    ] = FinetuneSettings.clipnet_lr,
    layer_decay: Annotated[
        float, typer.Option(min=0, max=1, help="Factor on the rate from each layer to the one below it (with --init).")
    ] = FinetuneSettings.layer_decay,
    frozen_epochs: Annotated[
        int, typer.Option(min=0, help="Epochs in which only the head moves (with --init).")
    ] = FinetuneSettings.frozen_epochs,
    weight_decay: Annotated[
        float, typer.Option(min=0, help="Weight decay of AdamW (legnet).")
    ] = FinetuneSettings.weight_decay,
    patience: Annotated[
        int, typer.Option(min=1, help="Epochs without a lower validation loss before stopping.")
    ] = FinetuneSettings.patience,
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

    finetune(counts, haplotypes, out, settings_of(FinetuneSettings, context), device, checkpoint_dir)
