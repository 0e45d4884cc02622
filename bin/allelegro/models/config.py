"""What a checkpoint says of itself, ``model.json``; readable where there is no torch."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.intervals import Regions
from allelegro.io.contigs import plain_contig, plain_contigs

Config = dict[str, Any]

REQUIRED = ("architecture", "hyperparameters", "width", "target", "context", "training")
MOST_WIDTH = 2**20  # bp

# What these entries must be.
_HOLDS: dict[str, Callable[[Any], bool]] = {
    "architecture": lambda name: isinstance(name, str),
    "hyperparameters": lambda values: isinstance(values, dict),
    "width": lambda width: isinstance(width, int) and 0 < width <= MOST_WIDTH,
    "target": lambda target: isinstance(target, dict) and target.get("kind") in ("log2_activity", "log_rate"),
    "outputs": lambda names: _are_names(names),
    "context": lambda context: not context or _is_construct(context),
    "training": lambda training: isinstance(training, dict),
    "checksums": lambda checksums: isinstance(checksums, dict),
}


def read_config(path: Path) -> Config:
    """The ``model.json`` of a checkpoint folder; raises DataError when it is missing or unreadable."""
    file = path / "model.json"
    if not file.is_file():
        raise DataError(f"{file}: no such file; give a checkpoint folder (model.json, model.safetensors)")
    try:
        config: Config = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(
            f"{file} line {error.lineno}: not valid JSON ({error.msg}); copy the checkpoint again"
        ) from None
    except (UnicodeDecodeError, RecursionError):
        raise DataError(f"{file}: not valid JSON; copy the checkpoint again") from None
    if not isinstance(config, dict) or (missing := [key for key in REQUIRED if key not in config]):
        lacking = ", ".join(missing) if isinstance(config, dict) else "everything"
        raise DataError(f"{file}: {lacking} is missing; this is not an Allelegro checkpoint")
    for key, holds in _HOLDS.items():
        if key in config and not holds(config[key]):
            raise DataError(f"{file}: {key} {str(config[key])[:60]!r} cannot be; copy the checkpoint again")
    if config.get("outputs") and not _have_scales(config):
        raise DataError(f"{file}: target holds no mean and SD for each of the outputs; copy the checkpoint again")
    return config


def _are_names(names: Any) -> bool:
    """Whether these are several names, each once."""
    several = isinstance(names, list) and bool(names) and all(isinstance(name, str) and name for name in names)
    return several and len(set(names)) == len(names)


def _have_scales(config: Config) -> bool:
    """Whether each output has the mean and the SD of its activities, and the network has as many."""
    n = len(config["outputs"])
    scales = [config["target"].get(what) for what in ("mean", "sd")]
    numbers = all(
        isinstance(scale, list) and len(scale) == n and all(isinstance(x, int | float) for x in scale)
        for scale in scales
    )
    return numbers and config["hyperparameters"].get("outputs", 1) == n and min(scales[1]) > 0


def _is_construct(context: Any) -> bool:
    """Whether the context names both flanks of a construct."""
    flanks = [context.get(side) for side in ("left", "right")] if isinstance(context, dict) else [None]
    return all(isinstance(flank, str) and set(flank) <= set("ACGTN") for flank in flanks)


@dataclass
class HeldOut:
    """What a checkpoint of an earlier version, which does not say what it saw, says that it did not see."""

    chromosomes: frozenset[str] | None
    regions: list[tuple[str, int, int]] | None

    @classmethod
    def of(cls, training: Mapping[str, Any]) -> "HeldOut":
        """Read ``held_out_chromosomes`` and ``held_out_regions`` of a checkpoint's ``training``."""
        chromosomes, regions = training.get("held_out_chromosomes"), training.get("held_out_regions")
        return cls(
            None if chromosomes is None else frozenset(plain_contig(str(name)) for name in chromosomes),
            None
            if regions is None
            else [(plain_contig(str(chrom)), int(start), int(end)) for chrom, start, end in regions],
        )

    @property
    def document(self) -> dict[str, Any]:
        """What :meth:`of` reads."""
        return {
            "held_out_chromosomes": None if self.chromosomes is None else sorted(self.chromosomes),
            "held_out_regions": self.regions,
        }

    @property
    def unknown(self) -> bool:
        """Whether the checkpoint does not say what it saw."""
        return self.chromosomes is None and self.regions is None

    def unseen(self, chrom: pd.Series, start: pd.Series) -> NDArray[np.bool_]:
        """Which positions (0-based) were held out; all of them when unknown."""
        if self.unknown:
            return np.ones(len(chrom), bool)
        plain = plain_contigs(chrom)
        unseen = np.isin(plain, list(self.chromosomes or ()))
        position = start.to_numpy()
        regions = Regions.of(pd.DataFrame(self.regions or [], columns=["chrom", "start", "end"]))
        return unseen | regions.overlap_rows(plain, position, position + 1)
