"""Which checkpoints a path names, and whether they are folds and seeds of one model."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from allelegro.errors import DataError
from allelegro.models.config import Config, read_config

# What sets folds and seeds of one model apart; everything else that training recorded must agree.
_OF_A_MEMBER = {
    *("seed", "test_fold", "validation_fold", "held_out_chromosomes", "held_out_regions"),
    *("best_epoch", "epochs_trained", "ended_by", "test_donors", "training_donors", "data_checksums"),
}


def members(paths: Iterable[Path]) -> list[Path]:
    """The checkpoints among ``paths`` and, sorted, those one or two folders below them (an ensemble).

    The checkpoints of a folder must be folds and seeds of one model; DataError otherwise, and when there are none.
    """
    result = []
    for path in paths:
        if _is_checkpoint(path) or not path.is_dir():
            result.append(path)
            continue
        found = sorted(_below(path, 2))
        if not found:
            raise DataError(f"{path}: holds no checkpoint (model.json, model.safetensors), nor does a folder in it")
        require_one_model(str(path), found)
        result += found
    return result


def _is_checkpoint(path: Path) -> bool:
    return (path / "model.json").is_file() or (path.suffix == ".ckpt" and path.is_file())


def _below(path: Path, levels: int) -> Iterator[Path]:
    for inside in path.iterdir():
        if _is_checkpoint(inside):
            yield inside
        elif levels > 1 and inside.is_dir() and not inside.name.startswith("."):
            yield from _below(inside, levels - 1)


def require_one_model(name: str, paths: Sequence[Path]) -> None:
    """Raise DataError when checkpoints are not folds and seeds of one model: other data, settings or donors, or one twice."""
    configs = [(path, read_config(path)) for path in paths if path.suffix != ".ckpt"]
    told: dict[str, Path] = {}
    for path, config in configs:
        first, reference = configs[0]
        if differing := _differing(reference, config):
            raise DataError(
                f"{name}: {first} and {path} are not folds or seeds of one model, they differ in {differing}; "
                "remove those of an earlier run, or give each model its own name"
            )
        training = config["training"]
        which = json.dumps([training.get(key) for key in ("test_fold", "validation_fold", "seed", "held_out_regions")])
        if training.get("seed") is not None and which in told:
            raise DataError(f"{name}: {told[which]} and {path} have the same fold and seed; keep one of them")
        told[which] = path


def _differing(first: Config, second: Config) -> str:
    """The first thing in which two checkpoints of one model must not differ, in words; empty when there is none."""
    for key in ("architecture", "hyperparameters", "width", "context"):
        if first[key] != second[key]:
            return f"{key} ({first[key]}, {second[key]})"
    if any(first["target"].get(key) != second["target"].get(key) for key in ("kind", "width")):
        return "target"
    if first.get("outputs") != second.get("outputs"):
        return f"outputs ({first.get('outputs')}, {second.get('outputs')})"
    ours, theirs = first["training"], second["training"]
    data, other = ours.get("data_checksums", {}), theirs.get("data_checksums", {})
    for file in data.keys() | other.keys():
        if data.get(file) != other.get(file):
            return f"training data ({file})"
    if set(ours.get("test_donors", [])) != set(theirs.get("test_donors", [])):
        return "held-out donors"
    for key in sorted((ours.keys() & theirs.keys()) - _OF_A_MEMBER):
        one, another = _comparable(ours[key], key), _comparable(theirs[key], key)
        if one != another:
            return f"{key} ({one}, {another})"
    return ""


def _comparable(value: Any, key: str) -> Any:
    """A recorded setting without what folds and seeds change: which checkpoint it started from, the seed."""
    if key == "init":
        return "pretrained" if value else None
    return {name: inner for name, inner in value.items() if name != "seed"} if isinstance(value, dict) else value
