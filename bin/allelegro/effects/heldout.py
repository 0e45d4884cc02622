"""What a checkpoint did not see in training, so that variants are scored by models that do not know them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.intervals import Regions


@dataclass
class HeldOut:
    """What a checkpoint says it did not see; ``unknown`` when it does not say."""

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

    def unseen(self, chrom: "pd.Series[str]", start: "pd.Series[int]") -> NDArray[np.bool_]:
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
