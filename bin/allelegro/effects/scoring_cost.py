"""What scoring costs: parameters, time and memory of one task, and of all tasks (shards) of a model together.

Shards are gathered where there is no torch: it is imported by what measures.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from allelegro.errors import DataError
from allelegro.io.atomic import atomic_path
from allelegro.resources import gpu_memory, peak_memory

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Cost:
    """The cost of scoring ``variants`` with one model, a single network or an ensemble of ``checkpoints``.

    ``parameters`` are those of one network (the largest of them); ``sequences`` went through a network: each allele once
    a checkpoint, strand, shift and view, a reference that variants of a chunk share only once. ``seconds`` are those of
    making sequences and predicting them, without the start of Python, the loading of weights and files.
    ``peak_memory_mib`` is the largest resident set of the process, ``device_memory_mib`` the largest allocation on a GPU
    (None without one); other models of the process are in both.
    """

    model: str
    architecture: str
    parameters: int
    checkpoints: int
    variants: int
    sequences: int
    seconds: float
    peak_memory_mib: float
    device_memory_mib: float | None
    threads: int
    device: str
    precision: str

    def write(self, path: Path) -> None:
        """Write the record as one JSON object, with ``variants_per_second``."""
        record = {**asdict(self), "variants_per_second": round(self.variants / max(self.seconds, 1e-9), 2)}
        with atomic_path(path) as partial:
            partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Cost":
        """Read a record; raises DataError when the file is missing or no such record."""
        if not path.is_file():
            raise DataError(f"{path}: no such file; check the path")
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{field.name: record[field.name] for field in fields(cls)})
        except (json.JSONDecodeError, UnicodeDecodeError, TypeError, KeyError) as error:
            raise DataError(f"{path}: not a record of cost ({error!r}); score again") from None


class Meter:
    """Adds up the time inside its ``with`` blocks; measures the process's memory."""

    def __init__(self) -> None:
        self._seconds, self._start = 0.0, 0.0

    def __enter__(self) -> "Meter":
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self._seconds += time.perf_counter() - self._start

    def cost(
        self,
        model: str,
        networks: Sequence[tuple[str, "torch.nn.Module"]],
        variants: int,
        sequences: int,
        precision: str,
    ) -> Cost:
        """The cost so far of scoring with ``networks`` (architecture, network)."""
        import torch

        place = next(networks[0][1].parameters()).device
        return Cost(
            model=model,
            architecture=", ".join(sorted({architecture for architecture, _ in networks})),
            parameters=max(sum(p.numel() for p in network.parameters()) for _, network in networks),
            checkpoints=len(networks), variants=variants, sequences=sequences, seconds=round(self._seconds, 3),
            peak_memory_mib=round(peak_memory(), 1),
            device_memory_mib=round(gpu_memory(), 1) or None, threads=torch.get_num_threads(),
            device=torch.cuda.get_device_name(place) if place.type == "cuda" else "cpu", precision=precision,
        )  # fmt: skip


def together(costs: Sequence[Cost]) -> Cost:
    """The cost of several tasks of one model: counts and seconds add up, memory is that of the largest.

    Raises DataError when they are of different models.
    """
    first = costs[0]
    for cost in costs[1:]:
        if (cost.model, cost.parameters, cost.checkpoints) != (first.model, first.parameters, first.checkpoints):
            raise DataError(f"records of cost of {first.model} and {cost.model}: not shards of one model")
    return replace(
        first,
        variants=sum(cost.variants for cost in costs),
        sequences=sum(cost.sequences for cost in costs),
        seconds=round(sum(cost.seconds for cost in costs), 3),
        peak_memory_mib=max(cost.peak_memory_mib for cost in costs),
        device_memory_mib=max(cost.device_memory_mib or 0 for cost in costs) or None,
        device=", ".join(sorted({cost.device for cost in costs})),
        precision=", ".join(sorted({cost.precision for cost in costs})),
    )
