"""``finetune_model.py``: counts store + haplotype store (+ checkpoint) → checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Device, Seed, Threads, Tool, Version
from allelegro.resources import limit_threads

app = Tool()


@app.command()
def main(
    counts: Annotated[Path, typer.Option(help="Counts store (count_windows.py).")],
    haplotypes: Annotated[Path, typer.Option(help="Haplotype store of the same windows (extract_haplotypes.py).")],
    out: Annotated[Path, typer.Option(help="Checkpoint folder to write.")],
    model: Annotated[str, typer.Option(help="legnet or clipnet.")] = "legnet",
    genotypes: Annotated[
        str,
        typer.Option(
            help="personal; reference (every donor carries the reference sequence); shuffled (donors' genotypes "
            "permuted within each locus)."
        ),
    ] = "personal",
    init: Annotated[
        Path | None, typer.Option(help="Checkpoint to start from (pretrain_legnet.py); without it, from scratch.")
    ] = None,
    preset: Annotated[
        str, typer.Option(help="Size of a model from scratch: published, compact (LegNet), small, tiny.")
    ] = ("published"),
    input_width: Annotated[
        int | None,
        typer.Option(help="Sequence the model sees, bp; default: of --init, or 230 (legnet), 1000 (clipnet)."),
    ] = None,
    target_width: Annotated[int, typer.Option(min=1, help="Central bp over which counts are summed.")] = 500,
    max_shift: Annotated[int, typer.Option(min=0, help="Largest random shift of the input, bp (legnet).")] = 5,
    test_fold: Annotated[int, typer.Option(help="Fold of windows.bed that is never seen.")] = 0,
    validation_fold: Annotated[int, typer.Option(help="Fold for early stopping.")] = 1,
    test_donor_fraction: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of donors held out, drawn by --split-seed.")
    ] = 0.2,
    test_donors: Annotated[
        list[str] | None, typer.Option(help="A donor to hold out (repeat), instead of a share.")
    ] = None,
    split_seed: Annotated[
        int, typer.Option(min=0, help="Seed of the draw of held-out donors; one for all models.")
    ] = 0,
    loss: Annotated[str, typer.Option(help="Likelihood of counts: nb, poisson; or mse of log1p RPM (legnet).")] = "nb",
    between_weight: Annotated[
        float,
        typer.Option(min=0, help="Weight of differences between donors within a locus (legnet); 1 is the likelihood."),
    ] = 1.0,
    quantity_weight: Annotated[
        float,
        typer.Option(
            min=0, help="Weight of squared log1p quantity beside the profile's cosine, as published (clipnet)."
        ),
    ] = 0.002,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs at most.")] = 20,
    batch_loci: Annotated[
        int,
        typer.Option(
            min=1, help="Loci per batch, each with all its donors; clipnet takes 8 times as many windows of donors."
        ),
    ] = 32,
    max_lr: Annotated[
        float | None,
        typer.Option(help="Peak learning rate (legnet); default 0.0005 with --init, 0.005 without."),
    ] = None,
    clipnet_lr: Annotated[float, typer.Option(min=0, help="Learning rate, constant as published (clipnet).")] = 0.001,
    layer_decay: Annotated[
        float, typer.Option(min=0, max=1, help="Factor on the rate from each layer to the one below it (with --init).")
    ] = 0.7,
    frozen_epochs: Annotated[int, typer.Option(min=0, help="Epochs in which only the head moves (with --init).")] = 0,
    weight_decay: Annotated[float, typer.Option(min=0, help="Weight decay of AdamW (legnet).")] = 0.05,
    patience: Annotated[int, typer.Option(min=1, help="Epochs without a lower validation loss before stopping.")] = 10,
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
    from allelegro.training.objectives import Options

    options = Options(
        model=model,
        genotypes=genotypes,
        init=init,
        preset=preset,
        input_width=input_width,
        target_width=target_width,
        max_shift=max_shift,
        test_fold=test_fold,
        validation_fold=validation_fold,
        test_donors=tuple(test_donors or ()),
        test_donor_fraction=test_donor_fraction,
        split_seed=split_seed,
        loss=loss,
        between_weight=between_weight,
        epochs=epochs,
        quantity_weight=quantity_weight,
        batch_loci=batch_loci,
        max_lr=max_lr,
        clipnet_lr=clipnet_lr,
        layer_decay=layer_decay,
        frozen_epochs=frozen_epochs,
        weight_decay=weight_decay,
        patience=patience,
        seed=seed,
    )
    finetune(counts, haplotypes, out, options, device, checkpoint_dir)
