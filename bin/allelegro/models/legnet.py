"""LegNet for lentiMPRA (MPRA-LegNet: Agarwal et al. 2025, doi:10.1038/s41586-024-08430-9), for any input width.

The published layers, written as two-dimensional convolutions of height one: the same arithmetic, but CPU and GPU
libraries then work on channels-last memory, which is faster than their one-dimensional paths.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from allelegro.models.encoding import one_hot
from allelegro.models.fused import Depthwise, Layers, SqueezeExcite

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "published": {},
    "compact": {"stem_kernel": 5, "kernel": 3},
    "small": {"stem_channels": 32, "channels": (48, 64, 64), "stem_kernel": 11, "kernel": 7, "expansion": 2, "pool": 3},
    "tiny": {"stem_channels": 8, "channels": (8, 12), "stem_kernel": 5, "kernel": 3, "expansion": 2, "pool": 4},
}


def convolution(inside: int, outside: int, kernel: int) -> nn.Conv2d:
    """A convolution along the sequence that keeps its width; no bias, since batch normalisation follows."""
    return nn.Conv2d(inside, outside, (1, kernel), padding=(0, kernel // 2), bias=False)


def normalised(layer: nn.Conv2d) -> list[nn.Module]:
    """The layer with the batch normalisation and activation that follow every convolution."""
    return [layer, nn.BatchNorm2d(layer.out_channels), nn.SiLU()]


class Block(nn.Module):
    """One stage: inverted residual with squeeze-excite, concatenated to its input, a local convolution, max-pooling."""

    def __init__(self, inside: int, outside: int, kernel: int, expansion: int, pool: int) -> None:
        super().__init__()
        inner = inside * expansion
        self.inverted = Layers(
            *normalised(convolution(inside, inner, 1)),
            *normalised(Depthwise(inner, kernel)),
            SqueezeExcite(inner, expansion),
            *normalised(convolution(inner, inside, 1)),
        )
        self.local = Layers(*normalised(convolution(2 * inside, outside, kernel)))
        self.pool = nn.MaxPool2d((1, pool))

    def forward(self, x: Tensor) -> Tensor:
        """``[n, inside, 1, width]`` to ``[n, outside, 1, width // pool]``."""
        result: Tensor = self.pool(self.local(torch.cat([self.inverted(x), x], dim=1)))
        return result


class LegNet(nn.Module):
    """Sequence to one number: log2 activity after lentiMPRA training, log rate after PRO-cap fine-tuning.

    Defaults are the published sizes (1,322,465 parameters); ``PRESETS`` names others. ``dropout`` acts on the pooled
    features before the head (0 as published). Several ``outputs`` share all but the last layer: one a cell line.
    """

    def __init__(
        self,
        stem_channels: int = 64,
        stem_kernel: int = 11,
        channels: Sequence[int] = (80, 96, 112, 128),
        kernel: int = 9,
        expansion: int = 4,
        pool: int = 2,
        dropout: float = 0.0,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        self.shrink = pool ** len(channels)
        self.stem = Layers(*normalised(convolution(4, stem_channels, stem_kernel)))
        inputs = (stem_channels, *channels)
        self.blocks = nn.Sequential(
            *(Block(inside, outside, kernel, expansion, pool) for inside, outside in pairwise(inputs))
        )
        last = inputs[-1]
        self.mapper = nn.Sequential(nn.BatchNorm2d(last), nn.Conv2d(last, 2 * last, 1))
        self.head = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(2 * last, 2 * last),
            nn.BatchNorm1d(2 * last),
            nn.SiLU(),
            nn.Linear(2 * last, outputs),
        )
        self.apply(initialise)

    @staticmethod
    def encode(codes: Tensor) -> Tensor:
        """Codes ``[n, width]`` as network input ``[n, 4, width]``; N is 0.25 in every channel."""
        return one_hot(codes, 0.25)

    def forward(self, x: Tensor) -> Tensor:
        """One-hot ``[n, 4, width]`` to ``[n]``, or ``[n, outputs]`` when there are several."""
        if x.shape[-1] < self.shrink:
            raise ValueError(f"input of {x.shape[-1]} bp is narrower than the {self.shrink} bp that pooling needs")
        features = self.mapper(self.blocks(self.stem(x.unsqueeze(2))))
        result: Tensor = self.head(features.mean(dim=(2, 3))).squeeze(-1)
        return result


def initialise(layer: nn.Module) -> None:
    """The published initial weights: normal, variance 2 / (kernel · outputs) for convolutions, SD 0.001 for linear."""
    if isinstance(layer, nn.Conv2d | nn.Linear) and layer.weight.is_meta:
        return  # nothing to fill, and torch takes two seconds to import what would fill it
    if isinstance(layer, nn.Conv2d):
        nn.init.normal_(layer.weight, 0.0, (2 / (layer.kernel_size[1] * layer.out_channels)) ** 0.5)
    elif isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, 0.0, 0.001)
    if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
        nn.init.zeros_(layer.bias)
