"""What a checkpoint says of itself, ``model.json``; readable where there is no torch."""

import json
from pathlib import Path
from typing import Any

from allelegro.errors import DataError

Config = dict[str, Any]

REQUIRED = ("architecture", "hyperparameters", "width", "target", "context", "training")


def read_config(path: Path) -> Config:
    """The ``model.json`` of a checkpoint folder; raises DataError when it is missing or unreadable."""
    file = path / "model.json"
    if not file.is_file():
        raise DataError(f"{file}: no such file; give a checkpoint folder (model.json, model.safetensors)")
    try:
        config: Config = json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise DataError(
            f"{file} line {error.lineno}: not valid JSON ({error.msg}); copy the checkpoint again"
        ) from None
    missing = [key for key in REQUIRED if key not in config]
    if missing:
        raise DataError(f"{file}: {', '.join(missing)} is missing; this is not an Allelegro checkpoint")
    return config
