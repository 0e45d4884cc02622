"""What a checkpoint says of itself, ``model.json``; readable where there is no torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.intervals import Regions

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


@dataclass
class HeldOut:
    """What a checkpoint says it did not see in training; ``unknown`` when it does not say."""

    chromosomes: frozenset[str] | None
    regions: list[tuple[str, int, int]] | None

    @classmethod
    def of(cls, training: Mapping[str, Any]) -> "HeldOut":
        """Read ``held_out_chromosomes`` and ``held_out_regions`` of a checkpoint's ``training``."""
        chromosomes, regions = training.get("held_out_chromosomes"), training.get("held_out_regions")
        return cls(
            None if chromosomes is None else frozenset(_plain(name) for name in chromosomes),
            None if regions is None else [(_plain(chrom), int(start), int(end)) for chrom, start, end in regions],
        )

    @property
    def unknown(self) -> bool:
        """Whether the checkpoint does not say what it saw."""
        return self.chromosomes is None and self.regions is None

    def unseen(self, chrom: pd.Series, start: pd.Series) -> NDArray[np.bool_]:
        """Which positions (0-based) were held out; all of them when unknown."""
        if self.unknown:
            return np.ones(len(chrom), bool)
        plain = chrom.astype(str).str.removeprefix("chr").to_numpy()
        unseen = np.isin(plain, list(self.chromosomes or ()))
        position = start.to_numpy()
        regions = Regions.of(pd.DataFrame(self.regions or [], columns=["chrom", "start", "end"]))
        for name in regions.by_contig:
            on_contig = plain == name
            unseen[on_contig] |= regions.contain(name, position[on_contig])
        return unseen


def _plain(name: str) -> str:
    return str(name).removeprefix("chr")
