"""Pretraining of LegNet on lentiMPRA: the published recipe, any pair of test and validation folds."""

import hashlib
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from allelegro.errors import DataError
from allelegro.models.checkpoint import LoadedModel, save_model
from allelegro.models.encoding import reverse_complement
from allelegro.models.legnet import PRESETS, LegNet
from allelegro.statistics import pearson
from allelegro.training.augment import Augmentation, Constructs
from allelegro.training.engine import Fitted, Problem, Settings, fit
from allelegro.training.mpra import (
    LEFT_ADAPTOR,
    RIGHT_ADAPTOR,
    overlapping,
    read_training_table,
    sequences_to_codes,
    unplaced,
)

log = logging.getLogger(__name__)

PUBLISHED = Augmentation()


@dataclass(frozen=True)
class HeldOut:
    """What this model must not see: a test fold, the validation fold that picks the epoch, chromosomes, windows.

    With ``unplaced_allowed`` a table that cannot be compared with the windows is trained on all the same, and the
    checkpoint says that nothing is known to be held out.
    """

    test_fold: int | None
    validation_fold: int
    chromosomes: tuple[str, ...] = ()
    windows: pd.DataFrame | None = None
    unplaced_allowed: bool = False


@dataclass(frozen=True)
class Parts:
    """Rows of the table by role."""

    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame


class MpraProblem(Problem):
    """Squared error of log2 activity; predictions for validation are the mean of both strands without a shift."""

    def __init__(
        self, module: nn.Module, train: pd.DataFrame, validation: pd.DataFrame, augmentation: Augmentation
    ) -> None:
        self.module, self.examples = module, len(train)
        codes = sequences_to_codes(train["seq"])
        self.names = train["seq_id"].astype(str).tolist()
        self.constructs = Constructs(codes, augmentation)
        self.activity = torch.from_numpy(train["mean_value"].to_numpy(np.float32).copy())
        self.validation = torch.from_numpy(sequences_to_codes(validation["seq"]))
        self.measured = validation["mean_value"].to_numpy(np.float64)
        self._digest = _digest(
            codes.tobytes(), self.activity.numpy().tobytes(), self.validation.numpy().tobytes(), augmentation
        )

    def to(self, device: torch.device) -> None:
        self.module.to(device)
        self.constructs.to(device)
        self.activity, self.validation = self.activity.to(device), self.validation.to(device)

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        self.constructs.draw(generator)

    def loss(self, module: nn.Module, batch: Tensor) -> Tensor:
        predicted = module(LegNet.encode(self.constructs[batch]))
        loss: Tensor = (predicted.float() - self.activity[batch]).square().mean()
        return loss

    def validate(self, module: nn.Module) -> dict[str, float]:
        predicted = predict_both_strands(module, self.validation)
        return {
            "pearson": pearson(predicted, self.measured),
            "mean_squared_error": float(np.square(predicted - self.measured).mean()),
        }

    def fingerprint(self) -> str:
        weights = (tensor.numpy().tobytes() for tensor in self.module.state_dict().values())
        return _digest(self._digest, *weights)

    def describe(self, batch: Tensor) -> str:
        shown = [self.names[int(example)] for example in batch[:5]]
        return f"sequences {', '.join(shown)}{', …' if len(batch) > 5 else ''}"


def _digest(*parts: object) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else repr(part).encode())
    return digest.hexdigest()


def predict_both_strands(module: nn.Module, codes: Tensor, batch_size: int = 1024) -> NDArray[np.float64]:
    """Mean prediction of both strands ``[n]`` for codes ``[n, width]`` on the module's device."""
    results = []
    for part in torch.split(codes, batch_size):
        both = module(LegNet.encode(torch.cat([part, reverse_complement(part)])))
        results.append(both.float().view(2, -1).mean(0).double().cpu())
    return torch.cat(results).numpy()


def split(table: pd.DataFrame, held_out: HeldOut, path: Path) -> Parts:
    """Rows of training, validation and test; held-out chromosomes and windows are left out of all but the test rows.

    Raises DataError when a fold has no rows, when nothing is left, or when activities do not vary.
    """
    folds = table["fold_num"]
    wanted = {"validation": held_out.validation_fold, "test": held_out.test_fold}
    if held_out.test_fold == held_out.validation_fold:
        raise DataError(f"--test-fold and --validation-fold are both {held_out.test_fold}; choose two folds")
    for role, fold in wanted.items():
        if fold is not None and not (folds == fold).any():
            raise DataError(f"{path}: no rows in {role} fold {fold}; folds are {sorted(folds.unique().tolist())}")
    seen = ~_hidden(table, held_out, path)
    validation = table[(folds == held_out.validation_fold) & seen]
    train = table[~folds.isin([fold for fold in wanted.values() if fold is not None]) & seen]
    for role, part in {"training": train, "validation": validation}.items():
        if len(part) < 3:
            raise DataError(f"{path}: {len(part)} rows left for {role}; hold out fewer folds, chromosomes or windows")
        if part["mean_value"].std() == 0:
            raise DataError(
                f"{path}: mean_value is {part['mean_value'].iloc[0]} in every {role} row; nothing can be learnt"
            )
    return Parts(train, validation, table[folds == held_out.test_fold])


def _known(held_out: HeldOut, table: pd.DataFrame, path: Path) -> HeldOut:
    """``held_out`` without the windows when the table cannot be compared with them and that is allowed."""
    problem = unplaced(table, held_out.windows) if held_out.windows is not None else None
    if not problem or not held_out.unplaced_allowed:
        return held_out
    log.warning("%s: %s; training on all of it, its overlap with held-out windows is unknown", path, problem)
    return replace(held_out, windows=None)


def _hidden(table: pd.DataFrame, held_out: HeldOut, path: Path) -> NDArray[np.bool_]:
    hidden = np.zeros(len(table), bool)
    if held_out.chromosomes:
        whole = pd.DataFrame({"chrom": held_out.chromosomes, "start": 0, "end": np.iinfo(np.int64).max})
        hidden |= overlapping(table, whole, path)
    if held_out.windows is not None:
        hidden |= overlapping(table, held_out.windows, path)
    if hidden.any():
        log.info("%s: %d of %d rows left out: held-out chromosomes or windows", path, hidden.sum(), len(table))
    return hidden


def pretrain(
    table_path: Path,
    out: Path,
    held_out: HeldOut,
    settings: Settings,
    preset: str = "published",
    dropout: float = 0.0,
    augmentation: Augmentation = PUBLISHED,
    device: str = "auto",
    checkpoint_dir: Path | None = None,
) -> dict[str, float]:
    """Train LegNet on a prepared table and write a checkpoint folder; returns its metrics."""
    table = read_training_table(table_path)
    held_out = _known(held_out, table, table_path)
    parts = split(table, held_out, table_path)
    hyperparameters = {**PRESETS[preset], "dropout": dropout} if dropout else dict(PRESETS[preset])
    problem, fitted = train_legnet(parts, hyperparameters, settings, augmentation, device, checkpoint_dir)
    metrics = {f"validation_{name}": fitted.metrics[name] for name in ("pearson", "mean_squared_error")}
    config = _config(table, table_path, hyperparameters, held_out, settings, augmentation)
    if len(parts.test):
        metrics |= _test_metrics(problem.module, config, parts.test)
    if not fitted.leads:
        return metrics
    log.info("best epoch %d: %s", fitted.best_epoch, " ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    save_model(out, problem.module, {**config, "metrics": metrics}, fitted.history)
    return metrics


def train_legnet(
    parts: Parts,
    hyperparameters: dict[str, Any],
    settings: Settings,
    augmentation: Augmentation = PUBLISHED,
    device: str = "auto",
    checkpoint_dir: Path | None = None,
) -> tuple[MpraProblem, Fitted]:
    """Train a new LegNet; the problem's module holds the best epoch's weights."""
    torch.manual_seed(settings.seed)
    problem = MpraProblem(LegNet(**hyperparameters), parts.train, parts.validation, augmentation)
    return problem, fit(problem, settings, device, checkpoint_dir)


def _test_metrics(module: nn.Module, config: dict[str, Any], test: pd.DataFrame) -> dict[str, float]:
    model = LoadedModel(config, module.eval(), "test", next(module.parameters()).device)
    predicted = model.predict_log2(sequences_to_codes(test["seq"]))
    return {"test_pearson": pearson(predicted, test["mean_value"].to_numpy()), "test_rows": len(test)}


def _config(
    table: pd.DataFrame,
    path: Path,
    hyperparameters: dict[str, Any],
    held_out: HeldOut,
    settings: Settings,
    augmentation: Augmentation,
) -> dict[str, Any]:
    sequences = table["seq"]
    context = None
    if sequences.str.startswith(LEFT_ADAPTOR).all() and sequences.str.endswith(RIGHT_ADAPTOR).all():
        context = {"left": LEFT_ADAPTOR, "right": RIGHT_ADAPTOR}
    windows = held_out.windows
    return {
        "architecture": "legnet",
        "hyperparameters": hyperparameters,
        "width": len(sequences.iloc[0]),
        "target": {"kind": "log2_activity"},
        "context": context,
        "training": {
            "init": "scratch",
            "genotypes": None,
            "test_fold": held_out.test_fold,
            "validation_fold": held_out.validation_fold,
            "held_out_chromosomes": list(held_out.chromosomes) if "chrom" in table else None,
            "overlap_unknown": held_out.unplaced_allowed and windows is None,
            "held_out_regions": None if windows is None else windows[["chrom", "start", "end"]].values.tolist(),
            "training_donors": [],
            "test_donors": [],
            "seed": settings.seed,
            "settings": asdict(settings),
            "augmentation": asdict(augmentation),
            "data_checksums": {path.name: hashlib.sha256(path.read_bytes()).hexdigest()},
        },
    }
