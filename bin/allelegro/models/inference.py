"""Fast prediction by strand, for scoring many sequences.

LegNet is folded (batch normalisation into the convolution before it, the mean over positions before the linear mapper), kept in
channels-last memory and computed in bfloat16 where the hardware has it; means over positions, the gates and the head stay in float32.
Batches are small enough for a block's activations to stay in the processor's cache.
"""

import copy
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, embedding, silu
from torch.nn.utils.fusion import fuse_conv_bn_eval

from allelegro.models.checkpoint import LoadedModel
from allelegro.models.device import autocast_dtype
from allelegro.models.encoding import reverse_complement
from allelegro.models.fused import SqueezeExcite
from allelegro.models.legnet import Block, LegNet

Precision = Literal["auto", "fp32"]

CPU_BATCH_BASES = 2**15
CUDA_BATCH_BASES = 2**21
MEAN_STEP = 8  # positions averaged at the activations' own precision before the mean in float32


def _folded(convolution: nn.Module, normalisation: nn.Module, dtype: torch.dtype) -> nn.Conv2d:
    assert isinstance(convolution, nn.Conv2d) and isinstance(normalisation, nn.BatchNorm2d)
    return fuse_conv_bn_eval(convolution, normalisation).to(dtype, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def position_mean(x: Tensor) -> Tensor:
    """Mean over positions in float32: ``[n, channels, 1, width]`` to ``[n, channels]``.

    In two steps, since a float32 copy of all positions would take longer than a convolution.
    """
    parts = avg_pool2d(x, (1, MEAN_STEP), ceil_mode=True).float().squeeze(2)
    parts[..., -1] *= (
        x.shape[3] - 1
    ) % MEAN_STEP / MEAN_STEP + 1 / MEAN_STEP  # the last part may be of fewer positions
    return parts.sum(2) * (MEAN_STEP / x.shape[3])


def position_max(x: Tensor, size: int) -> Tensor:
    """Largest of each ``size`` neighbours (a rest is left out); whole rows are compared, without the places of the largest."""
    whole = x.shape[3] // size * size
    result = x[..., 0:whole:size]
    for offset in range(1, size):
        result = torch.maximum(result, x[..., offset:whole:size])
    return result


class _FoldedBlock(nn.Module):
    def __init__(self, block: Block, dtype: torch.dtype) -> None:
        super().__init__()
        expand, expand_norm, _, local, local_norm, _, excite, project, project_norm, _ = block.inverted
        self.expand = _folded(expand, expand_norm, dtype)
        self.depthwise = _folded(local, local_norm, dtype)
        assert isinstance(excite, SqueezeExcite)
        self.gate = excite.gate
        self.project = _folded(project, project_norm, dtype)
        self.merge = _folded(block.local[0], block.local[1], dtype)
        assert isinstance(block.pool.kernel_size, tuple)
        self.pool = block.pool.kernel_size[1]

    def forward(self, x: Tensor) -> Tensor:
        hidden = silu(self.depthwise(silu(self.expand(x), inplace=True)), inplace=True)
        gate = self.gate(position_mean(hidden)).to(hidden.dtype)
        projected = silu(self.project(hidden.mul_(gate[:, :, None, None])), inplace=True)
        merged = silu(self.merge(torch.cat([projected, x], dim=1)), inplace=True)
        return position_max(merged, self.pool)


class FoldedLegNet(nn.Module):
    """A trained LegNet for prediction only: codes ``[n, width]`` to ``[n]``, the numbers of the network it was made of."""

    def __init__(self, network: LegNet, dtype: torch.dtype) -> None:
        super().__init__()
        network = copy.deepcopy(network).eval()
        self.dtype = dtype
        self.stem = _folded(network.stem[0], network.stem[1], dtype)
        self.blocks = nn.ModuleList(_FoldedBlock(block, dtype) for block in network.blocks if isinstance(block, Block))
        self.mapper, self.head = network.mapper, network.head
        letters = LegNet.encode(torch.arange(5, dtype=torch.uint8)[None])[0].T
        self.letters: Tensor
        self.register_buffer("letters", letters.to(dtype).contiguous())

    def forward(self, codes: Tensor) -> Tensor:
        """Codes ``[n, width]`` (uint8) to ``[n]`` (float32)."""
        # Rows of letters lie in memory as channels-last layers want them.
        encoded = embedding(codes.int(), self.letters).permute(0, 2, 1).unsqueeze(2)
        features = silu(self.stem(encoded), inplace=True)
        for block in self.blocks:
            features = block(features)
        result: Tensor = self.head(self.mapper(position_mean(features)[:, :, None, None]).flatten(1)).squeeze(-1)
        return result


class StrandPredictor:
    """log2 activity of sequences as given (strand 0) or of their reverse complement (strand 1).

    The mean of both is ``LoadedModel.predict_log2``, up to bfloat16 rounding when ``precision`` is auto.
    """

    def __init__(self, model: LoadedModel, precision: Precision = "auto", batch_size: int | None = None) -> None:
        self.model = model
        bases = CUDA_BATCH_BASES if model.device.type == "cuda" else CPU_BATCH_BASES
        self.batch_size = batch_size or max(1, bases // model.width)
        dtype = autocast_dtype(model.device) if precision == "auto" else None
        self._folded: FoldedLegNet | None = None
        if isinstance(model.module, LegNet):
            self._folded = FoldedLegNet(model.module, dtype or torch.float32).to(model.device)

    @property
    def precision(self) -> str:
        """``bf16`` or ``fp32``: what the convolutions are computed in."""
        return "bf16" if self._folded is not None and self._folded.dtype == torch.bfloat16 else "fp32"

    @torch.inference_mode()
    def __call__(self, codes: NDArray[np.uint8], strand: int) -> NDArray[np.float32]:
        """Predictions ``[n]`` of codes ``[n, width]``."""
        results = np.empty(len(codes), np.float32)
        for start in range(0, len(codes), self.batch_size):
            batch = torch.from_numpy(np.ascontiguousarray(codes[start : start + self.batch_size]))
            batch = batch.to(self.model.device)
            batch = reverse_complement(batch) if strand else batch
            values = self.model.log2(batch) if self._folded is None else self.model.in_log2(self._folded(batch))
            results[start : start + self.batch_size] = values.cpu().numpy()
        return results
