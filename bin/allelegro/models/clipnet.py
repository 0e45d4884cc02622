"""CLIPNET (He et al., doi:10.1101/2024.03.13.583868): initiation profile and its sum from unphased sequence.

The published TensorFlow layers in PyTorch, with Keras' constants of batch normalisation (epsilon 0.001, momentum 0.99).
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from allelegro.models.encoding import two_hot

# CLIPNET's own evaluations add this to predicted RPM before taking a logarithm; its quantity head can be exactly zero.
QUANTITY_PSEUDOCOUNT = 1e-3

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "published": {},
    "small": {"filters": (32, 64), "channels": 32, "dilations": 7, "final_pool": 8, "norm_momentum": 0.1},
    "tiny": {"filters": (8, 8), "channels": 8, "dilations": 2, "final_pool": 16, "norm_momentum": 0.1},
}


class Dilated(nn.Module):
    """A residual block: dilated convolution, normalised before and after the sum."""

    def __init__(self, channels: int, dilation: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(channels, channels, (1, 3), padding=(0, dilation), dilation=(1, dilation)),
            norm(channels),
            nn.ReLU(),
        )
        self.output = nn.Sequential(norm(channels), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """``[n, channels, 1, width]`` in and out."""
        result: Tensor = self.output(x + self.residual(x))
        return result


class Clipnet(nn.Module):
    """Two-hot sequence to an initiation profile and its total; 8,036,893 parameters as published.

    The profile covers the central ``profile_width`` bp of both strands (default: half of ``width``).
    """

    def __init__(
        self,
        width: int = 1000,
        profile_width: int | None = None,
        filters: tuple[int, int] = (64, 128),
        channels: int = 64,
        dilations: int = 9,
        final_pool: int = 2,
        dropout: float = 0.3,
        norm_momentum: float = 0.01,
    ) -> None:
        super().__init__()
        self.width = width
        self.profile_width = width // 2 if profile_width is None else profile_width
        norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=norm_momentum)
        flat_norm = partial(nn.BatchNorm1d, eps=1e-3, momentum=norm_momentum)
        first, second = filters
        self.trunk = nn.Sequential(
            norm(4),
            nn.Conv2d(4, first, (1, 8)),
            norm(first),
            nn.ELU(),
            nn.MaxPool2d((1, 2)),
            nn.Conv2d(first, second, (1, 4)),
            norm(second),
            nn.ReLU(),
            nn.MaxPool2d((1, 2)),
            nn.Conv2d(second, channels, 1),
            *(Dilated(channels, 2**power, norm) for power in range(dilations)),
            nn.MaxPool2d((1, final_pool)),
        )
        positions = (((width - 7) // 2 - 3) // 2) // final_pool
        outputs = 2 * self.profile_width
        self.profile = nn.Sequential(
            nn.Linear(positions * channels, outputs), flat_norm(outputs), nn.ReLU(), nn.Dropout(dropout)
        )
        self.quantity = nn.Sequential(nn.Linear(channels, 1), flat_norm(1), nn.ReLU(), nn.Dropout(dropout))
        self.apply(initialise)

    @staticmethod
    def encode(first: Tensor, second: Tensor) -> Tensor:
        """Codes of a donor's two haplotypes, both ``[n, width]``, as unphased input ``[n, 4, width]``."""
        return two_hot(first, second)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Two-hot ``[n, 4, width]`` to profile ``[n, 2 * profile_width]`` (plus, then minus) and quantity ``[n]``."""
        if x.shape[-1] != self.width:
            raise ValueError(f"input of {x.shape[-1]} bp; this CLIPNET was made for {self.width} bp")
        features = self.trunk(x.unsqueeze(2))
        profile: Tensor = self.profile(features.flatten(1))
        # One number a sequence, normalised over the batch: bfloat16 would leave it two digits.
        with torch.autocast(x.device.type, enabled=False):
            quantity: Tensor = self.quantity(features.float().mean(dim=(2, 3))).squeeze(-1)
        return profile, quantity


def log_quantity(forward: Tensor, reverse: Tensor) -> Tensor:
    """Natural logarithm of the mean quantity of both strands.

    The mean comes first: a strand on which the ReLU is silent would otherwise move the logarithm by several units.
    """
    return torch.log((forward + reverse) / 2 + QUANTITY_PSEUDOCOUNT)


def reverse_profile(profile: Tensor) -> Tensor:
    """Profile ``[..., 2 * w]`` (plus, minus) of the reverse complement: strands exchanged, positions reversed."""
    return profile.flip(-1)


def initialise(layer: nn.Module) -> None:
    """Keras' initial weights: Glorot uniform, biases zero."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
