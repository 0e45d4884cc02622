"""Checkpoint folders: ``model.safetensors``, ``model.json``, ``seen.npz``, ``history.tsv``. Loading never executes code."""

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from allelegro import __version__
from allelegro.errors import DataError
from allelegro.io.atomic import atomic_folder
from allelegro.io.checksums import sha256
from allelegro.io.dna import encode
from allelegro.io.tables import write_table
from allelegro.models.clipnet import QUANTITY_PSEUDOCOUNT, Clipnet, log_quantity
from allelegro.models.config import MOST_WIDTH, REQUIRED, Config, read_config
from allelegro.models.encoding import reverse_complement
from allelegro.models.legnet import LegNet
from allelegro.models.outputs import with_one_output
from allelegro.models.published import read_published
from allelegro.models.seen import FILE as SEEN
from allelegro.models.seen import Seen

WEIGHTS = "model.safetensors"
ARCHITECTURES: dict[str, type[nn.Module]] = {"legnet": LegNet, "clipnet": Clipnet}
# What model.json may ask for before anything is allocated.
MOST_CHANNELS, MOST_PARAMETERS = 2**14, 2**30
LARGEST = {"width": MOST_WIDTH, "profile_width": MOST_WIDTH, "dilations": 24, "dropout": 1, "norm_momentum": 1}


def build_model(architecture: str, hyperparameters: dict[str, Any]) -> nn.Module:
    """A model with fresh weights; raises DataError for an unknown architecture or hyperparameter."""
    if architecture not in ARCHITECTURES:
        raise DataError(f"architecture {architecture!r} is unknown; choose one of {', '.join(ARCHITECTURES)}")
    for name, value in hyperparameters.items():
        for number in value if isinstance(value, list | tuple) else [value]:
            if (
                isinstance(number, bool)
                or not isinstance(number, int | float)
                or not 0 <= number <= LARGEST.get(name, MOST_CHANNELS)
            ):
                raise DataError(f"hyperparameter {name}: {str(value)[:40]} is no size of a {architecture}")
    try:
        with torch.device("meta"):  # counts without allocating
            parameters = sum(tensor.numel() for tensor in ARCHITECTURES[architecture](**hyperparameters).parameters())
        if parameters > MOST_PARAMETERS:
            raise DataError(f"a {architecture} of {parameters:,} parameters is larger than {MOST_PARAMETERS:,}")
        return ARCHITECTURES[architecture](**hyperparameters)
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise DataError(f"hyperparameters do not fit {architecture}: {' '.join(str(error).split())[:200]}") from None


def save_model(
    path: Path,
    module: nn.Module,
    config: Config,
    history: pd.DataFrame,
    half: bool = False,
    seen: Seen | None = None,
) -> None:
    """Write a checkpoint folder whole; ``config`` has the keys of docs/formats.md, software is added here.

    With ``half`` weights are stored in 16 bits; they are computed with in 32 all the same. ``seen`` is what all stages of
    its training saw; without it the checkpoint does not say.
    """
    missing = [key for key in REQUIRED if key not in config]
    if missing:
        raise ValueError(f"model.json lacks {', '.join(missing)}")
    software = {"allelegro": __version__, "torch": str(torch.__version__), "python": platform.python_version()}
    with atomic_folder(path, "checkpoint") as partial:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
        if half:
            weights = {name: x.half() if x.is_floating_point() else x for name, x in weights.items()}
        # Not save_file, whose files only their owner can read whatever the umask says.
        (partial / WEIGHTS).write_bytes(save(weights))
        if seen is not None:
            seen.write(partial / SEEN)
        checksums = {file.name: sha256(file) for file in (partial / WEIGHTS, partial / SEEN) if file.is_file()}
        document = {**config, "software": software, "metrics": config.get("metrics", {}), "checksums": checksums}
        (partial / "model.json").write_text(json.dumps(document, indent=2) + "\n")
        write_table(history, partial / "history.tsv")


def _read_weights(file: Path, expected: str | None) -> dict[str, Tensor]:
    """Tensors of a weights file; DataError when it is damaged, not the one that ``model.json`` recorded, or not finite."""
    try:
        weights = load_file(file)
    except FileNotFoundError:
        raise DataError(f"{file}: no such file; copy the checkpoint again") from None
    except SafetensorError as error:
        raise DataError(f"{file}: not readable ({error}); the file is truncated, copy the checkpoint again") from None
    if expected is not None and sha256(file) != expected:
        raise DataError(f"{file}: not the weights that model.json was written with; copy the checkpoint again")
    return weights


def load_module(path: Path, outputs: Sequence[str] = ()) -> tuple[nn.Module, Config]:
    """The network (in training mode, on the CPU) and its config, from a checkpoint folder or human_legnet's ``.ckpt``.

    Of a network with several outputs: the mean of those named, or of all, as one output.
    """
    module, config = load_stored(path)
    return with_one_output(module, config, outputs, path)


def load_stored(path: Path) -> tuple[nn.Module, Config]:
    """The network as it is stored, with all its outputs, and its config."""
    if path.suffix == ".ckpt":
        weights, config = read_published(path)
        file = path
    else:
        config = read_config(path)
        file = path / WEIGHTS
        weights = _read_weights(file, config.get("checksums", {}).get(WEIGHTS))
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise DataError(f"{file}: {name} holds numbers that are not finite; train the model again")
    try:
        module = build_model(config["architecture"], config["hyperparameters"])
    except DataError as error:
        raise DataError(f"{path / 'model.json'}: {error}") from None
    narrowest = getattr(module, "shrink", 1)
    if isinstance(config.get("width"), int) and config["width"] < narrowest:
        raise DataError(
            f"{path / 'model.json'}: a width of {config['width']} bp, below the {narrowest} bp of its pooling; train the model again"
        )
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{file}: weights do not fit the {config['architecture']} of model.json ({reason})") from None
    return module, config


@dataclass
class LoadedModel:
    """A model ready to predict."""

    config: Config
    module: nn.Module
    name: str
    device: torch.device
    seen: Seen = field(default_factory=lambda: Seen.untold("model"))

    def saw(
        self, chrom: pd.Series, start: pd.Series, end: pd.Series, codes: NDArray[np.uint8] | None = None
    ) -> NDArray[np.bool_]:
        """Which intervals some stage of training saw: see :meth:`allelegro.models.seen.Seen.saw`."""
        return self.seen.saw(chrom, start, end, codes)

    @property
    def width(self) -> int:
        """Input width in bp, construct context included."""
        return int(self.config["width"])

    @property
    def insert_width(self) -> int:
        """Genomic bp of the input: ``width`` less the construct's flanks."""
        context = self.config["context"] or {"left": "", "right": ""}
        return self.width - len(context["left"]) - len(context["right"])

    def in_context(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Genomic codes ``[n, insert_width]`` with the construct's flanks: ``[n, width]``; as is without context."""
        if not self.config["context"]:
            return codes
        left, right = (encode(self.config["context"][side]) for side in ("left", "right"))
        n = len(codes)
        return np.concatenate([np.tile(left, (n, 1)), codes, np.tile(right, (n, 1))], axis=1)

    @torch.inference_mode()
    def predict_log2(self, codes: NDArray[np.uint8], batch_size: int = 512) -> NDArray[np.float32]:
        """log2 activity ``[n]`` of haplotype sequences ``[n, width]`` (uint8 codes), the mean of both strands.

        Effects are differences of this. CLIPNET sees each haplotype as a homozygote; its quantities are averaged over
        strands before the logarithm.
        """
        if codes.ndim != 2 or codes.shape[1] != self.width:
            raise ValueError(f"{self.name} takes sequences of {self.width} bp, got an array of shape {codes.shape}")
        results = np.empty(len(codes), np.float32)
        for start in range(0, len(codes), batch_size):
            batch = torch.from_numpy(np.ascontiguousarray(codes[start : start + batch_size])).to(self.device)
            results[start : start + batch_size] = self.log2_of_both_strands(batch).float().cpu().numpy()
        return results

    def log2_of_both_strands(self, codes: Tensor) -> Tensor:
        """log2 activity ``[n]`` of codes ``[n, width]`` on the model's device, both strands together."""
        both = torch.cat([codes, reverse_complement(codes)])
        if isinstance(self.module, Clipnet):
            _, quantity = self.module(Clipnet.encode(both, both))
            return log_quantity(*quantity.chunk(2)) / float(np.log(2))
        return self.log2(both).view(2, -1).mean(0)

    def log2(self, codes: Tensor) -> Tensor:
        """log2 activity ``[n]`` of codes ``[n, width]`` on the model's device, as they are given (one strand)."""
        if isinstance(self.module, Clipnet):
            _, quantity = self.module(Clipnet.encode(codes, codes))
            return torch.log2(quantity + QUANTITY_PSEUDOCOUNT)
        return self.in_log2(self.module(LegNet.encode(codes)))

    def in_log2(self, output: Tensor) -> Tensor:
        """LegNet's output as log2 activity: as it is after lentiMPRA, from a natural log rate after PRO-cap."""
        return output if self.config["target"]["kind"] == "log2_activity" else output / float(np.log(2))


def load_model(path: Path, device: str | torch.device = "cpu", outputs: Sequence[str] = ()) -> LoadedModel:
    """Load a checkpoint folder, or human_legnet's ``.ckpt``, for prediction; raises DataError when it is incomplete or its parts do not fit.

    ``outputs``: see :func:`load_module`.
    """
    module, config = load_module(path, outputs)
    place = torch.device(device)
    return LoadedModel(config, module.eval().to(place), config.get("name", path.name), place, Seen.read(path))
