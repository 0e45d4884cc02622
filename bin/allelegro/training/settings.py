"""What training is told, a frozen dataclass a tool: one field an option of the command line. Imports no torch."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

LEFT_ADAPTOR, RIGHT_ADAPTOR = "AGGACCGGATCAACT", "CATTGCGTGAACCGA"  # of the study's constructs


# fp32; tf32: GPU matrix units with mantissas of 10 bits; auto: bfloat16 where the hardware has it.
Precision = Literal["fp32", "tf32", "auto"]


def _option(default: Any, text: str, low: float | None = None, high: float | None = None) -> Any:
    """A field with the help text and the inclusive range of its command-line option."""
    return field(default=default, metadata={"help": text, "low": low, "high": high})


@dataclass(frozen=True)
class TrainingSettings:
    """How to optimise.

    ``schedule`` onecycle: cosine rise over ``warmup`` (a share of all steps) from ``max_lr / 25``, cosine fall to nearly zero;
    constant: linear rise over ``warmup``, then flat. ``metric`` picks the best epoch (the larger the better when ``maximise``);
    training stops after ``patience`` epochs without a better one. ``micro_batch`` bounds the examples held at a time.
    ``average`` > 0 evaluates and keeps a running mean of the weights with this memory (0.99 = the last hundred steps; of
    few steps, of all).
    ``steps`` bounds the updates of an epoch, which then takes so many batches of the examples in random order; None:
    all. ``clip`` bounds the norm of the gradient; None: it is left as it is. ``epsilon`` is Adam's.
    """

    epochs: int
    batch_size: int
    max_lr: float
    weight_decay: float = 0.1
    schedule: Literal["onecycle", "constant"] = "onecycle"
    warmup: float = 0.3
    clip: float | None = 1.0
    steps: int | None = None
    epsilon: float = 1e-8
    metric: str = "pearson"
    maximise: bool = True
    patience: int | None = None
    micro_batch: int | None = None
    average: float = 0.0
    seed: int = 0
    precision: Precision = "auto"
    compile: bool | None = None  # None: on a GPU where there is a C compiler; it did not pay on CPUs


@dataclass(frozen=True)
class Augmentation:
    """Shifts of up to ``before`` bp to the left and ``after`` bp to the right, and the share of bases randomly mutated.

    The published recipe shifts by 0 to 21 bp to the right only. Random mutations, under an activity that stays, keep a
    network from memorising few sequences (Lee et al. 2023, doi:10.1186/s13059-023-02941-w).
    """

    before: int = 0
    after: int = 21
    mutation: float = 0.0


@dataclass(frozen=True)
class MpraSettings:
    """How a lentiMPRA table is prepared."""

    value_column: tuple[str, ...] = _option(
        (), "Column of the activity, where the table has one for each cell line; repeat to keep several."
    )
    left_adaptor: str = _option(LEFT_ADAPTOR, "Adaptor before the insert.")
    right_adaptor: str = _option(RIGHT_ADAPTOR, "Adaptor after the insert.")
    folds: int = _option(10, "Folds to make when the table has none.", 2)
    seed: int = 0


@dataclass(frozen=True)
class PretrainSettings:
    """What LegNet is pretrained with, and what it must not see: a test fold, chromosomes, folds of windows."""

    test_fold: int | None = _option(None, "Fold never looked at; its r is reported at the end.")
    validation_fold: int = _option(1, "Fold that picks the best epoch.")
    preset: Literal["published", "compact", "small", "tiny"] = _option(
        "published", "published: 1,322,465 parameters; compact: 857,825; small and tiny for small machines."
    )
    epochs: int = _option(25, "Passes over the training rows.", 1)
    batch_size: int = _option(1024, "Sequences per update, over all devices.", 2)
    max_lr: float = _option(0.01, "Peak of the one-cycle learning rate.", 0)
    weight_decay: float = _option(TrainingSettings.weight_decay, "Weight decay of AdamW.", 0)
    dropout: float = _option(0.0, "Dropout before the head (0 as published).", 0, 0.9)
    average: float = _option(0.0, "Memory of the running mean of weights that is kept; 0: none.", 0, 0.9999)
    shift_before: int = _option(Augmentation.before, "Largest shift to the left, bp.", 0, 21)
    shift_after: int = _option(Augmentation.after, "Largest shift to the right, bp.", 0, 54)
    mutation: float = _option(
        Augmentation.mutation, "Share of bases randomly mutated in every epoch; 0.05 suits small tables.", 0, 0.5
    )
    patience: int | None = _option(None, "Stop after so many epochs without a better one.", 1)
    held_out_chromosome: tuple[str, ...] = _option(
        (), "Exclude elements of this chromosome, and record it; repeatable."
    )
    held_out_windows: tuple[Path, ...] = _option(
        (), "Exclude elements that overlap these windows.bed, and record them; repeatable."
    )
    held_out_fold: tuple[int, ...] = _option((0, 1), "Folds of --held-out-windows to hold out; repeatable.")
    genome: Path | None = _option(  # noqa: RUF009 (a field)
        None,
        "Genome of the windows, FASTA: elements whose coordinates are of another assembly, or missing, are compared with "
        "held-out windows by sequence.",
    )
    allow_unplaced: bool = _option(
        False,
        "Train also on a table that cannot be compared with the windows, and record that overlap is unknown.",
    )
    micro_batch: int | None = _option(None, "Sequences held on the device at a time; gradients are accumulated.", 1)
    seed: int = 0

    @property
    def training(self) -> TrainingSettings:
        """What the training loop is told."""
        shared = [field.name for field in fields(TrainingSettings) if hasattr(self, field.name)]
        return TrainingSettings(**{name: getattr(self, name) for name in shared})

    @property
    def augmentation(self) -> Augmentation:
        """What happens to constructs in every epoch."""
        return Augmentation(self.shift_before, self.shift_after, self.mutation)


@dataclass(frozen=True)
class FinetuneSettings:
    """What is fine-tuned and how.

    CLIPNET has a recipe of its own, the fields that begin with ``clipnet_`` and ``quantity_weight``. Their defaults are what
    its authors trained with (Danko-Lab/clipnet 1d4e84f, ``rnn_v10.py``, ``clipnet.py`` and ``cgen.py``): Adam at a constant
    0.001 with epsilon 1e-7 and no clipping, batches of 256, every window of every donor once in each orientation an epoch,
    at most 200 epochs with a patience of 10, windows moved by up to 250 bp.
    """

    model: str = _option("legnet", "legnet or clipnet.")
    genotypes: str = _option(
        "personal",
        "personal; reference (every donor carries the reference sequence); shuffled (donors' genotypes permuted within "
        "each locus).",
    )
    init: Path | None = _option(  # noqa: RUF009 (a field)
        None, "Checkpoint to start from (pretrain_legnet.py); without it, from scratch."
    )
    preset: str = _option("published", "Size of a model from scratch: published, compact (LegNet), small, tiny.")
    input_width: int | None = _option(
        None, "Sequence the model sees, bp; default: of --init, or 230 (legnet), 1000 (clipnet)."
    )
    target_width: int = _option(500, "Central bp over which counts are summed.", 1)
    max_shift: int = _option(5, "Largest random shift of the input, bp (legnet).", 0)
    test_fold: int = _option(0, "Fold of windows.bed that is never seen.")
    validation_fold: int = _option(1, "Fold for early stopping.")
    test_donors: tuple[str, ...] = _option((), "A donor to hold out (repeat), instead of a share.")
    test_donor_fraction: float = _option(0.2, "Share of donors held out, drawn by --split-seed.", 0, 0.9)
    split_seed: int = _option(0, "Seed of the draw of held-out donors; one for all models.", 0)
    loss: str = _option("nb", "Likelihood of counts: nb, poisson; or mse of log1p RPM (legnet).")
    between_weight: float = _option(
        1.0, "Weight of differences between donors within a locus (legnet); 1 is the likelihood.", 0
    )
    allelic_weight: float = _option(
        1.0, "Weight of reads that tell a donor's haplotypes apart (legnet); 1 is the likelihood, 0 leaves them out.", 0
    )
    quantity_weight: float = _option(
        1 / 500, "Weight of squared log1p quantity relative to the profile's cosine, as published (clipnet).", 0
    )
    epochs: int = _option(20, "Epochs at most (legnet).", 1)
    clipnet_epochs: int = _option(200, "Epochs at most, as published (clipnet).", 1)
    clipnet_steps: int | None = _option(
        None,
        "Updates an epoch at most (clipnet); default as published: every window of every donor on both strands.",
        1,
    )
    clipnet_batch: int = _option(256, "Windows of donors per batch, as published (clipnet).", 2)
    clipnet_patience: int = _option(10, "Epochs without a lower validation loss, as published (clipnet).", 1)
    clipnet_jitter: int = _option(
        250,
        "Largest random shift of window and profile, bp, as published; less where the stores are narrow (clipnet).",
        0,
    )
    clipnet_lr: float = _option(0.001, "Learning rate, constant as published (clipnet).", 0)
    batch_loci: int = _option(32, "Loci per batch, each with all its donors (legnet).", 1)
    max_lr: float | None = _option(None, "Peak learning rate (legnet); default 0.0006 with --init, 0.005 without.")
    layer_decay: float = _option(1.0, "Factor on the rate from each layer to the one below it (with --init).", 0, 1)
    frozen_epochs: int = _option(0, "Epochs in which only the head moves (with --init).", 0)
    weight_decay: float = _option(0.05, "Weight decay of AdamW (legnet).", 0)
    pull: float = _option(
        0.0, "Decay of weights towards those of --init, in place of --weight-decay (legnet with --init).", 0
    )
    average: float = _option(0.99, "Memory of the running mean of weights that is kept; 0: none (legnet).", 0, 0.9999)
    select: Literal["loss", "contrasts"] = _option(
        "loss", "What chooses the epoch: validation loss, or its term of differences between donors (legnet)."
    )
    patience: int = _option(10, "Epochs without a lower validation loss before stopping (legnet).", 1)
    covariates: Path | None = _option(  # noqa: RUF009 (a field)
        None, "Sheet of donors' covariates (donor and batch, sex, numbers) as offsets between donors (legnet)."
    )
    count_components: int = _option(0, "Principal components of counts as offsets between donors (legnet).", 0)
    genotype_components: int = _option(
        0, "Principal components of genotypes as offsets between donors, 10 at most (legnet).", 0, 10
    )
    precision: Precision = _option(  # noqa: RUF009 (a field)
        "fp32",
        "fp32; tf32 (GPU matrix units, mantissas of 10 bits); auto (bfloat16, which rounds away differences between "
        "haplotypes).",
    )
    seed: int = 0

    @property
    def departures(self) -> list[str]:
        """Where a CLIPNET of these settings is not trained as published: ``field value, published: value`` each."""
        if self.model != "clipnet":
            return []
        published = {
            "preset": "published",
            "input_width": 1000,
            "target_width": 500,
            **{field.name: field.default for field in fields(self) if field.name.startswith("clipnet_")},
            "quantity_weight": 1 / 500,
        }
        own = {name: getattr(self, name) for name in published}
        own["input_width"] = own["input_width"] or 1000
        return [f"{name} {own[name]}, published: {value}" for name, value in published.items() if own[name] != value]
