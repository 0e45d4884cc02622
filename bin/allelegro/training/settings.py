"""What training is told, a frozen dataclass a tool: without torch, since the command line takes its defaults from here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LEFT_ADAPTOR, RIGHT_ADAPTOR = "AGGACCGGATCAACT", "CATTGCGTGAACCGA"  # of the study's constructs


@dataclass(frozen=True)
class TrainingSettings:
    """How to optimise.

    ``schedule`` onecycle: cosine rise over ``warmup`` (a share of all steps) from ``max_lr / 25``, cosine fall to nearly zero;
    constant: linear rise over ``warmup``, then flat. ``metric`` picks the best epoch (the larger the better when ``maximise``);
    training stops after ``patience`` epochs without a better one. ``micro_batch`` bounds the examples held at a time.
    ``average`` > 0 evaluates and keeps a running mean of the weights with this memory (0.99 = the last hundred steps).
    """

    epochs: int
    batch_size: int
    max_lr: float
    weight_decay: float = 0.1
    schedule: Literal["onecycle", "constant"] = "onecycle"
    warmup: float = 0.3
    clip: float = 1.0
    metric: str = "pearson"
    maximise: bool = True
    patience: int | None = None
    micro_batch: int | None = None
    average: float = 0.0
    seed: int = 0
    precision: Literal["auto", "fp32"] = "auto"
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
    """How a lentiMPRA table is prepared. ``value_column`` picks the activity where the layout has several (a joint library)."""

    value_column: str | None = None
    left_adaptor: str = LEFT_ADAPTOR
    right_adaptor: str = RIGHT_ADAPTOR
    folds: int = 10
    seed: int = 0


@dataclass(frozen=True)
class PretrainSettings:
    """What LegNet is pretrained with, and what it must not see: a test fold, chromosomes, folds of windows.

    With ``allow_unplaced`` a table that cannot be compared with the windows is trained on all the same, and the checkpoint
    says that nothing is known to be held out.
    """

    test_fold: int | None = None
    validation_fold: int = 1
    preset: str = "published"
    epochs: int = 25
    batch_size: int = 1024
    max_lr: float = 0.01
    weight_decay: float = TrainingSettings.weight_decay
    dropout: float = 0.0
    average: float = TrainingSettings.average
    shift_before: int = Augmentation.before
    shift_after: int = Augmentation.after
    mutation: float = Augmentation.mutation
    patience: int | None = None
    held_out_chromosome: tuple[str, ...] = ()
    held_out_windows: tuple[Path, ...] = ()
    held_out_fold: tuple[int, ...] = (0, 1)
    allow_unplaced: bool = False
    micro_batch: int | None = None
    seed: int = 0

    @property
    def training(self) -> TrainingSettings:
        """What the training loop is told."""
        return TrainingSettings(
            epochs=self.epochs,
            batch_size=self.batch_size,
            max_lr=self.max_lr,
            weight_decay=self.weight_decay,
            patience=self.patience,
            micro_batch=self.micro_batch,
            average=self.average,
            seed=self.seed,
        )

    @property
    def augmentation(self) -> Augmentation:
        """What happens to constructs in every epoch."""
        return Augmentation(self.shift_before, self.shift_after, self.mutation)


@dataclass(frozen=True)
class FinetuneSettings:
    """What is fine-tuned and how."""

    model: str = "legnet"
    genotypes: str = "personal"
    init: Path | None = None
    preset: str = "published"
    input_width: int | None = None
    target_width: int = 500
    max_shift: int = 5
    test_fold: int = 0
    validation_fold: int = 1
    test_donors: tuple[str, ...] = ()
    test_donor_fraction: float = 0.2
    split_seed: int = 0
    loss: str = "nb"
    between_weight: float = 1.0
    quantity_weight: float = 1 / 500
    epochs: int = 20
    batch_loci: int = 32
    max_lr: float | None = None
    clipnet_lr: float = 0.001
    layer_decay: float = 0.7
    frozen_epochs: int = 0
    weight_decay: float = 0.05
    patience: int = 10
    seed: int = 0
