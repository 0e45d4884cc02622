"""Pretraining of LegNet on lentiMPRA: the published recipe, any pair of test and validation folds."""

import hashlib
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from allelegro.errors import DataError
from allelegro.io.checksums import sha256
from allelegro.models.checkpoint import save_model
from allelegro.models.encoding import reverse_complement
from allelegro.models.legnet import PRESETS, LegNet
from allelegro.models.outputs import Outputs
from allelegro.models.seen import Seen
from allelegro.statistics import pearson
from allelegro.training.augment import Constructs
from allelegro.training.engine import Fitted, Objective, fit
from allelegro.training.mpra import (
    activity_columns,
    genomic,
    held_out_windows,
    like_windows,
    on_genome,
    overlapping,
    placed,
    read_training_table,
    sequences_to_codes,
    unplaced,
)
from allelegro.training.settings import (
    LEFT_ADAPTOR,
    RIGHT_ADAPTOR,
    Augmentation,
    PretrainSettings,
    TrainingSettings,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """Rows of the table by role."""

    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame


class MpraObjective(Objective):
    """Squared error of log2 activity; predictions for validation are the mean of both strands without a shift.

    A network with several ``outputs`` learns standardised activities, each element those that were measured.
    """

    def __init__(
        self,
        module: nn.Module,
        train: pd.DataFrame,
        validation: pd.DataFrame,
        augmentation: Augmentation,
        outputs: Outputs | None = None,
    ) -> None:
        self.module, self.examples = module, len(train)
        codes = sequences_to_codes(train["seq"])
        self.names = train["seq_id"].astype(str).tolist()
        self.constructs = Constructs(codes, augmentation)
        self.outputs = outputs
        self.activity = torch.from_numpy(targets(train, outputs).astype(np.float32))
        self.gaps = bool(self.activity.isnan().any())
        self.validation = torch.from_numpy(sequences_to_codes(validation["seq"]))
        self.measured = targets(validation, outputs)
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
        measured = self.activity[batch]
        error = predicted.float() - measured
        if self.gaps:
            known = ~measured.isnan()
            return torch.where(known, error, 0.0).square().sum() / known.sum().clamp(min=1)
        loss: Tensor = error.square().mean()
        return loss

    def validate(self, module: nn.Module) -> dict[str, float]:
        predicted = predict_both_strands(module, self.validation)
        error = float(np.nanmean(np.square(predicted - self.measured)))
        if self.outputs is None:
            return {"pearson": pearson(predicted, self.measured), "mean_squared_error": error}
        each = [pearson(*columns) for columns in zip(predicted.T, self.measured.T, strict=True)]
        named = {f"pearson_{name}": r for name, r in zip(self.outputs.names, each, strict=True)}
        return {"pearson": float(np.mean(each)), "mean_squared_error": error, **named}

    def fingerprint(self) -> str:
        weights = (tensor.numpy().tobytes() for tensor in self.module.state_dict().values())
        return _digest(self._digest, *weights)

    def describe(self, batch: Tensor) -> str:
        shown = [self.names[int(example)] for example in batch[:5]]
        return f"sequences {', '.join(shown)}{', …' if len(batch) > 5 else ''}"


def targets(table: pd.DataFrame, outputs: Outputs | None) -> NDArray[np.float64]:
    """What a network learns of a training table: ``mean_value`` ``[n]``, or ``[n, outputs]`` standardised, NaN for gaps."""
    if outputs is None:
        return table[activity_columns(table)[0]].to_numpy(np.float64)
    return outputs.standardised(table[list(outputs.names)].to_numpy(np.float64))


def _digest(*parts: object) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else repr(part).encode())
    return digest.hexdigest()


def predict_both_strands(module: nn.Module, codes: Tensor, batch_size: int = 1024) -> NDArray[np.float64]:
    """Mean prediction of both strands ``[n]`` (or ``[n, outputs]``) for codes ``[n, width]`` on the module's device."""
    results = []
    for part in torch.split(codes, batch_size):
        both = module(LegNet.encode(torch.cat([part, reverse_complement(part)])))
        results.append(both.float().unflatten(0, (2, len(part))).mean(0).double().cpu())
    return torch.cat(results).numpy()


def split(table: pd.DataFrame, settings: PretrainSettings, windows: pd.DataFrame | None, path: Path) -> Parts:
    """Rows of training, validation and test; held-out chromosomes and windows are excluded from all but the test rows.

    Raises DataError when a fold has no rows, when nothing is left, or when activities do not vary.
    """
    folds = table["fold_num"]
    wanted = {"validation": settings.validation_fold, "test": settings.test_fold}
    if settings.test_fold == settings.validation_fold:
        raise DataError(f"--test-fold and --validation-fold are both {settings.test_fold}; choose two folds")
    for role, fold in wanted.items():
        if fold is not None and not (folds == fold).any():
            raise DataError(f"{path}: no rows in {role} fold {fold}; folds are {sorted(folds.unique().tolist())}")
    seen = ~_hidden(table, settings, windows, path)
    validation = table[(folds == settings.validation_fold) & seen]
    train = table[~folds.isin([fold for fold in wanted.values() if fold is not None]) & seen]
    for role, part in {"training": train, "validation": validation}.items():
        if len(part) < 3:
            raise DataError(f"{path}: {len(part)} rows left for {role}; hold out fewer folds, chromosomes or windows")
        for name in activity_columns(table):
            values = part[name].dropna()
            if values.nunique() < 2:
                only = values.iloc[0] if len(values) else "missing"
                raise DataError(f"{path}: {name} is {only} in every {role} row; nothing can be learnt")
    return Parts(train, validation, table[folds == settings.test_fold])


def _held_out_windows(settings: PretrainSettings, table: pd.DataFrame, path: Path) -> pd.DataFrame | None:
    """The windows to hold out; None without, and when the table cannot be compared with them and that is allowed."""
    windows = held_out_windows(settings.held_out_windows, settings.held_out_fold)
    if windows is None or settings.genome is not None:
        return windows
    problem = unplaced(table, windows)
    if problem and not settings.allow_unplaced:
        raise DataError(f"{path}: {problem}; or give the windows' genome (--genome), to compare sequences")
    if not problem:
        return windows
    log.warning("%s: %s; training on all of it, its overlap with held-out windows is unknown", path, problem)
    return None


def _hidden(
    table: pd.DataFrame, settings: PretrainSettings, windows: pd.DataFrame | None, path: Path
) -> NDArray[np.bool_]:
    hidden = np.zeros(len(table), bool)
    if settings.held_out_chromosome:
        whole = pd.DataFrame({"chrom": settings.held_out_chromosome, "start": 0, "end": np.iinfo(np.int64).max})
        hidden |= overlapping(table, whole, path)
    if windows is not None:
        if unplaced(table, windows) is None:
            hidden |= overlapping(table, windows, path)
        if settings.genome is not None:
            rows = np.flatnonzero(~_placed(table))
            hidden[rows] |= like_windows(table.iloc[rows], windows, settings.genome) if len(rows) else False
    if hidden.any():
        log.info("%s: %d of %d rows excluded: held-out chromosomes or windows", path, hidden.sum(), len(table))
    return hidden


def _placed(table: pd.DataFrame) -> NDArray[np.bool_]:
    return placed(table) if "chrom" in table else np.zeros(len(table), bool)


def _seen(parts: Parts) -> Seen:
    """What this stage saw: the elements that were trained on or chose the epoch."""
    rows = pd.concat([parts.train, parts.validation])
    if "chrom" not in rows:
        return Seen.training(genomic(rows), None)
    return Seen.training(genomic(rows), rows.assign(chrom=rows["chrom"].where(placed(rows))))


def pretrain(
    table_path: Path,
    out: Path,
    settings: PretrainSettings,
    device: str = "auto",
    checkpoint_dir: Path | None = None,
) -> dict[str, float]:
    """Train LegNet on a prepared table and write a checkpoint folder; returns its metrics."""
    table = read_training_table(table_path)
    if settings.genome is not None:
        table = on_genome(table, settings.genome, table_path)
    windows = _held_out_windows(settings, table, table_path)
    parts = split(table, settings, windows, table_path)
    hyperparameters = dict(PRESETS[settings.preset]) | ({"dropout": settings.dropout} if settings.dropout else {})
    outputs = outputs_of(parts.train)
    objective, fitted = train_legnet(
        parts, hyperparameters, settings.training, settings.augmentation, device, checkpoint_dir, outputs
    )
    validated = (f"pearson_{name}" for name in (outputs.names if outputs else ()))
    metrics = {f"validation_{name}": fitted.metrics[name] for name in ("pearson", "mean_squared_error", *validated)}
    config = _config(table, table_path, hyperparameters, settings, windows)
    if outputs is not None:
        config |= {"hyperparameters": {**hyperparameters, "outputs": len(outputs.names)}, **outputs.config()}
    if len(parts.test):
        metrics |= _test_metrics(objective, parts.test)
    if not fitted.leads:
        return metrics
    log.info("best epoch %d: %s", fitted.best_epoch, " ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    save_model(out, objective.module, {**config, "metrics": metrics}, fitted.history, seen=_seen(parts))
    fitted.forget_state()
    return metrics


def outputs_of(train: pd.DataFrame) -> Outputs | None:
    """The outputs that a training table asks for, on the scale of its training rows; None for a single activity."""
    names = activity_columns(train)
    return Outputs.measured(names, train[names].to_numpy(np.float64)) if len(names) > 1 else None


def train_legnet(
    parts: Parts,
    hyperparameters: dict[str, Any],
    settings: TrainingSettings,
    augmentation: Augmentation = Augmentation(),
    device: str = "auto",
    checkpoint_dir: Path | None = None,
    outputs: Outputs | None = None,
) -> tuple[MpraObjective, Fitted]:
    """Train a new LegNet, with an output for each of ``outputs``; the objective's module holds the best epoch's weights."""
    torch.manual_seed(settings.seed)
    network = LegNet(**hyperparameters, outputs=len(outputs.names) if outputs else 1)
    objective = MpraObjective(network, parts.train, parts.validation, augmentation, outputs)
    return objective, fit(objective, settings, device, checkpoint_dir)


@torch.inference_mode()
def _test_metrics(objective: MpraObjective, test: pd.DataFrame) -> dict[str, float]:
    """r on the test rows, of several outputs each and their mean."""
    module = objective.module.eval()
    codes = torch.from_numpy(sequences_to_codes(test["seq"])).to(next(module.parameters()).device)
    predicted, measured = predict_both_strands(module, codes), targets(test, objective.outputs)
    if objective.outputs is None:
        return {"test_pearson": pearson(predicted, measured), "test_rows": len(test)}
    each = {
        f"test_pearson_{name}": pearson(predicted[:, place], measured[:, place])
        for place, name in enumerate(objective.outputs.names)
    }
    return {"test_pearson": float(np.mean(list(each.values()))), **each, "test_rows": len(test)}


def _config(
    table: pd.DataFrame,
    path: Path,
    hyperparameters: dict[str, Any],
    settings: PretrainSettings,
    windows: pd.DataFrame | None,
) -> dict[str, Any]:
    sequences = table["seq"]
    context = None
    if sequences.str.startswith(LEFT_ADAPTOR).all() and sequences.str.endswith(RIGHT_ADAPTOR).all():
        context = {"left": LEFT_ADAPTOR, "right": RIGHT_ADAPTOR}
    return {
        "architecture": "legnet",
        "hyperparameters": hyperparameters,
        "width": len(sequences.iloc[0]),
        "target": {"kind": "log2_activity"},
        "context": context,
        "training": {
            "init": "scratch",
            "genotypes": None,
            "test_fold": settings.test_fold,
            "validation_fold": settings.validation_fold,
            "held_out_chromosomes": list(settings.held_out_chromosome) if "chrom" in table else None,
            "overlap_unknown": settings.allow_unplaced and windows is None,
            "held_out_regions": None if windows is None else windows[["chrom", "start", "end"]].values.tolist(),
            "training_donors": [],
            "test_donors": [],
            "seed": settings.seed,
            "settings": asdict(settings.training),
            "augmentation": asdict(settings.augmentation),
            "data_checksums": {path.name: sha256(path)},
        },
    }
