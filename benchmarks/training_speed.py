#!/usr/bin/env python3
"""Training speed of the published LegNet at 230 bp on a CPU: the tool's own path against a plain PyTorch loop.

    python benchmarks/training_speed.py --threads 2 --repeats 3
    python benchmarks/training_speed.py --threads 1 --precision fp32   # as fine-tuning computes

Each measurement is a process of its own (the allocator's settings belong to a process), the two kinds take turns, and the ratio is
that of the medians, by wall time and by CPU time (which says more on a machine that does other work; with 1 thread, since threads
that wait count as well). The plain loop: the published layers as one-dimensional convolutions, float32, ready one-hot tensors,
AdamW, clipping, glibc's default allocator. The tool's path includes augmentation, one-hot encoding and a small validation.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "bin"))

WIDTH = 230


Rates = tuple[float, float]


class Stopwatch:
    """Wall and CPU times between calls; the first interval is warming up and does not count."""

    def __init__(self, batch: int) -> None:
        self.batch, self.marks = batch, []

    def mark(self) -> None:
        """Note the time."""
        self.marks.append((time.monotonic(), time.process_time()))

    def rates(self) -> Rates:
        """Sequences per second of wall time and of CPU time, medians over the steps."""
        wall, cpu = zip(*self.marks[1:], strict=True)
        return self._rate(wall), self._rate(cpu)

    def _rate(self, marks: tuple[float, ...]) -> float:
        return self.batch / statistics.median(later - earlier for earlier, later in pairwise(marks))


def plain(batch: int, steps: int, threads: int, _: str) -> Rates:
    """The plain loop."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = plain_legnet().train()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters == 1_322_465, parameters
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.001, weight_decay=0.1)
    x = nn.functional.one_hot(torch.randint(4, (batch, WIDTH)), 4).float().transpose(1, 2).contiguous()
    y = torch.randn(batch)
    watch = Stopwatch(batch)
    watch.mark()
    for _ in range(steps + 1):
        optimiser.zero_grad()
        nn.functional.mse_loss(model(x).squeeze(1), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        watch.mark()
    return watch.rates()


def plain_legnet():  # type: ignore[no-untyped-def]
    """The published layers in the plainest form."""
    import torch
    from torch import nn

    def local(inside: int, outside: int, kernel: int, groups: int = 1) -> list[nn.Module]:
        convolution = nn.Conv1d(inside, outside, kernel, padding="same", groups=groups, bias=False)
        return [convolution, nn.BatchNorm1d(outside), nn.SiLU()]

    class Excite(nn.Module):
        def __init__(self, inner: int) -> None:
            super().__init__()
            self.fc = nn.Sequential(nn.Linear(inner, inner // 4), nn.SiLU(), nn.Linear(inner // 4, inner), nn.Sigmoid())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.fc(x.mean(2)).unsqueeze(2)

    class Concatenate(nn.Module):
        def __init__(self, inside: int) -> None:
            super().__init__()
            inner = 4 * inside
            self.block = nn.Sequential(
                *local(inside, inner, 1), *local(inner, inner, 9, inner), Excite(inner), *local(inner, inside, 1)
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([self.block(x), x], dim=1)

    layers = local(4, 64, 11)
    for inside, outside in zip((64, 80, 96, 112), (80, 96, 112, 128), strict=True):
        layers += [Concatenate(inside), *local(2 * inside, outside, 9), nn.MaxPool1d(2)]
    layers += [nn.BatchNorm1d(128), nn.Conv1d(128, 256, 1), nn.AdaptiveAvgPool1d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(256, 256), nn.BatchNorm1d(256), nn.SiLU(), nn.Linear(256, 1))


def ours(batch: int, steps: int, threads: int, precision: str) -> Rates:
    """The training engine; every epoch is one batch."""
    import numpy as np
    import pandas as pd
    import torch

    from allelegro.io.dna import decode
    from allelegro.models.legnet import LegNet
    from allelegro.training.engine import fit
    from allelegro.training.pretrain import MpraObjective
    from allelegro.training.settings import Augmentation, TrainingSettings

    class Watched(MpraObjective):
        def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
            watch.mark()
            super().begin_epoch(epoch, generator)

    torch.set_num_threads(threads)
    watch = Stopwatch(batch)
    generator = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "seq_id": np.arange(batch),
            "seq": [decode(codes) for codes in generator.integers(0, 4, (batch, WIDTH), np.uint8)],
            "mean_value": generator.normal(size=batch),
        }
    )
    # The marks are at the starts of epochs, so one epoch more ends the last interval.
    settings = TrainingSettings(epochs=steps + 2, batch_size=batch, max_lr=0.001, precision=precision)  # type: ignore[arg-type]
    fit(Watched(LegNet(), table, table[:8], Augmentation()), settings, "cpu")
    return watch.rates()


def main() -> None:
    """Measure every batch size, print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="+", default=[256, 1024])
    parser.add_argument(
        "--precision", choices=("auto", "fp32"), default="auto", help="auto: bfloat16, of the tool's path"
    )
    parser.add_argument("--one", nargs=2, metavar=("KIND", "BATCH"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        kind, batch = arguments.one
        measure = {"plain": plain, "ours": ours}[kind]
        print(json.dumps(measure(int(batch), arguments.steps, arguments.threads, arguments.precision)))
        return
    print("batch\tclock\tplain_seq_per_s\tours_seq_per_s\tratio")
    for batch in arguments.batches:
        rates: dict[str, list[Rates]] = {"plain": [], "ours": []}
        for _ in range(arguments.repeats):
            for kind, results in rates.items():
                command = [sys.executable, __file__, "--one", kind, str(batch)]
                command += ["--steps", str(arguments.steps), "--threads", str(arguments.threads)]
                command += ["--precision", arguments.precision]
                environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
                output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
                results.append(json.loads(output))
        for clock, name in enumerate(("wall", "cpu")):
            slow, fast = (statistics.median(rate[clock] for rate in rates[kind]) for kind in ("plain", "ours"))
            print(f"{batch}\t{name}\t{slow:.0f}\t{fast:.0f}\t{fast / slow:.2f}", flush=True)


if __name__ == "__main__":
    main()
