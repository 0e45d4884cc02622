"""Checkpoints that human_legnet published (``.ckpt`` of Lightning), read as LegNet of ours.

Names differ, one-dimensional convolutions become two-dimensional, and the input channels A, G, C, T become A, C, G, T. Only tensors
are read, never code.
"""

import pickle
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from allelegro.errors import DataError

WIDTH = 230
CONTEXT = {"left": "AGGACCGGATCAACT", "right": "CATTGCGTGAACCGA"}
_CHANNELS = [0, 2, 1, 3]  # places of A, C, G, T among A, G, C, T

_NAMES = (
    (r"^stem\.block\.(\d)\.", r"stem.\1."),
    (r"^main\.(\d+)\.0\.fn\.block\.6\.fc\.", r"blocks.\1.inverted.6.gate."),
    (r"^main\.(\d+)\.0\.fn\.block\.(\d)\.", r"blocks.\1.inverted.\2."),
    (r"^main\.(\d+)\.1\.block\.(\d)\.", r"blocks.\1.local.\2."),
    (r"^mapper\.block\.(\d)\.", r"mapper.\1."),
    (r"^head\.(\d)\.", lambda match: f"head.{int(match[1]) + 1}."),
)

# What torch.load and the shapes of tensors raise on a file that is no such checkpoint.
_UNREADABLE = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError, ValueError, ArithmeticError),
    *(AttributeError, OSError),
)


def read_published(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights under our names and the config of a published checkpoint.

    Test and validation folds are taken from a folder ``model_<validation>_<test>`` on the path, as the authors name theirs.
    Raises DataError when the file is not such a checkpoint or its model has the extra orientation channel.
    """
    try:
        document = torch.load(path, map_location="cpu", weights_only=True)
        published = {name.removeprefix("model."): tensor for name, tensor in document["state_dict"].items()}
        weights = {_our_name(name): _our_shape(path, name, tensor) for name, tensor in published.items()}
        hyperparameters = _hyperparameters(weights)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except _UNREADABLE as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{path}: not a human_legnet checkpoint ({reason}); give its .ckpt file") from None
    return weights, _config(path, hyperparameters)


def _our_name(name: str) -> str:
    for pattern, replacement in _NAMES:
        renamed, changes = re.subn(pattern, replacement, name)
        if changes:
            return renamed
    raise KeyError(name)


def _our_shape(path: Path, name: str, tensor: Tensor) -> Tensor:
    if tensor.dim() != 3:
        return tensor
    if name.startswith("stem"):
        if tensor.shape[1] != len(_CHANNELS):
            raise DataError(
                f"{path}: the first layer takes {tensor.shape[1]} channels; models with an orientation channel are not supported"
            )
        tensor = tensor[:, _CHANNELS]
    return tensor.unsqueeze(2)


def _hyperparameters(weights: dict[str, Tensor]) -> dict[str, Any]:
    """Sizes, from the shapes of the weights; every stage halves the width, as in all published models."""
    stem, inner = weights["stem.0.weight"], weights["blocks.0.inverted.0.weight"]
    stages = sum(name.endswith("local.0.weight") for name in weights)
    return {
        "stem_channels": stem.shape[0],
        "stem_kernel": stem.shape[3],
        "channels": [weights[f"blocks.{stage}.local.0.weight"].shape[0] for stage in range(stages)],
        "kernel": weights["blocks.0.local.0.weight"].shape[3],
        "expansion": inner.shape[0] // inner.shape[1],
        "pool": 2,
    }


def _config(path: Path, hyperparameters: dict[str, Any]) -> dict[str, Any]:
    folder = re.search(r"model_(\d+)_(\d+)(?!.*model_\d)", str(path))
    validation, test = (int(fold) for fold in folder.groups()) if folder else (None, None)
    return {
        "architecture": "legnet",
        "hyperparameters": hyperparameters,
        "width": WIDTH,
        "target": {"kind": "log2_activity"},
        "context": CONTEXT,
        "training": {
            "init": "human_legnet",
            "genotypes": None,
            "test_fold": test,
            "validation_fold": validation,
            "held_out_chromosomes": None,
            "held_out_regions": None,
            "training_donors": [],
            "test_donors": [],
            "seed": None,
            "data_checksums": {},
        },
        "software": {},
        "metrics": {},
    }
