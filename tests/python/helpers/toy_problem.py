"""A objective that trains in a moment: LegNet tiny learns the GC content of 48-bp sequences. As a script, one run of it.

python toy_problem.py CHECKPOINT_DIR OUT.pt [kill EPOCH | terminate STEP]
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from allelegro.models.legnet import PRESETS, LegNet
from allelegro.training.engine import Objective, fit
from allelegro.training.settings import TrainingSettings

SETTINGS = TrainingSettings(epochs=4, batch_size=32, max_lr=0.02, average=0.9)


class GcContent(Objective):
    """Squared error of the GC content, with a random strand for every example and epoch."""

    def __init__(self, examples: int = 128, dropout: float = 0.2, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.module: nn.Module = LegNet(**PRESETS["tiny"], dropout=dropout)
        codes = np.random.default_rng(1).integers(0, 4, (examples, 48), np.uint8)
        self.examples, self.codes = examples, torch.from_numpy(codes)
        self.target = 5 * torch.isin(self.codes, torch.tensor([1, 2])).float().mean(1)
        self.flipped = torch.zeros(examples, dtype=torch.bool)

    def to(self, device: torch.device) -> None:
        self.module.to(device)
        self.codes, self.target, self.flipped = (x.to(device) for x in (self.codes, self.target, self.flipped))

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        self.flipped = (torch.rand(self.examples, generator=generator) < 0.5).to(self.codes.device)

    def loss(self, module: nn.Module, batch: Tensor) -> Tensor:
        codes = self.codes[batch]
        codes = torch.where(self.flipped[batch, None], codes.flip(1), codes)
        return (module(LegNet.encode(codes)).float() - self.target[batch]).square().mean()

    def validate(self, module: nn.Module) -> dict[str, float]:
        predicted = module(LegNet.encode(self.codes)).float()
        return {"pearson": float(np.corrcoef(predicted.cpu(), self.target.cpu())[0, 1])}

    def fingerprint(self) -> str:
        return "gc-content"


class Interrupted(GcContent):
    """The same, sending a signal to its own process at the start of an epoch or within a step."""

    def __init__(self, how: str, when: int) -> None:
        super().__init__()
        self.how, self.when, self.steps = how, when, 0

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        super().begin_epoch(epoch, generator)
        if self.how == "kill" and epoch == self.when:
            os.kill(os.getpid(), signal.SIGKILL)

    def loss(self, module: nn.Module, batch: Tensor) -> Tensor:
        self.steps += 1
        if self.how == "terminate" and self.steps == self.when:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().loss(module, batch)


if __name__ == "__main__":
    torch.set_num_threads(1)
    checkpoint_dir, out, *interruption = sys.argv[1:]
    objective = Interrupted(interruption[0], int(interruption[1])) if interruption else GcContent()
    fit(objective, SETTINGS, "cpu", Path(checkpoint_dir))
    torch.save(objective.module.state_dict(), out)
