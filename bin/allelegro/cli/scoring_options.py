"""Options that the tools share which score with checkpoints."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from allelegro.models.checkpoint import LoadedModel

Checkpoints = Annotated[
    list[Path],
    typer.Option("--checkpoint", help="Checkpoint folder, or a folder of them (an ensemble); repeat for more."),
]
ModelName = Annotated[str, typer.Option("--name", help="Name of the model (the ensemble) in what is written.")]
Context = Annotated[
    Literal["auto", "genomic", "construct"],
    typer.Option("--context", help="Genomic window or reporter construct; auto: as the checkpoint was trained."),
]
HeldOutOnly = Annotated[
    bool,
    typer.Option(
        "--held-out-only/--all-models",
        help="Score a variant by the checkpoints that did not see its place in training, and by all (column seen: yes) where "
        "each of them did; or always by all.",
    ),
]
DroppedList = Annotated[
    Path | None, typer.Option("--dropped", help="List of the variants that were not scored, and why.")
]
CostRecord = Annotated[
    Path | None, typer.Option("--cost", help="Record of what scoring cost: parameters, time, memory (JSON).")
]


OutputNames = Annotated[
    list[str] | None,
    typer.Option(
        "--output", help="Of a network with several outputs this one, as K562; repeatable (default: their mean)."
    ),
]


def load_models(checkpoints: list[Path], device: str, outputs: Sequence[str] = ()) -> list["LoadedModel"]:
    """The models of ``--checkpoint`` on the device of ``--device``, in a process that keeps its memory."""
    from allelegro.models.checkpoint import load_model
    from allelegro.models.device import choose_device, keep_freed_memory
    from allelegro.models.ensemble import members

    keep_freed_memory()
    place = choose_device(device)
    return [load_model(path, place, outputs) for path in members(checkpoints)]
