"""Fast prediction by strand, for scoring many sequences.

LegNet is folded (batch normalisation into the convolution before it, the mean over positions before the linear mapper), kept in
channels-last memory and computed in bfloat16 where the hardware has it; means over positions, the gates and the head stay in float32.
Activations are computed in place, on CPUs together with what is read next (:mod:`allelegro.models.fused`).
Batches are small enough for a block's activations to stay in the processor's cache.
"""

import copy
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import embedding
from torch.nn.utils.fusion import fuse_conv_bn_eval

from allelegro.models.checkpoint import LoadedModel
from allelegro.models.device import autocast_dtype
from allelegro.models.encoding import reverse_complement
from allelegro.models.fused import SqueezeExcite, gated_silu, pooled_silu, silu
from allelegro.models.legnet import Block, LegNet

Precision = Literal["auto", "fp32"]

BOTH = 2  # strands together

CPU_BATCH_BASES = 2**14
CUDA_BATCH_BASES = 2**21


def _folded(convolution: nn.Module, normalisation: nn.Module, dtype: torch.dtype) -> nn.Conv2d:
    assert isinstance(convolution, nn.Conv2d) and isinstance(normalisation, nn.BatchNorm2d)
    return fuse_conv_bn_eval(convolution, normalisation).to(dtype, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


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
        hidden = gated_silu(self.depthwise(silu(self.expand(x))), self.gate)
        return pooled_silu(self.merge(torch.cat([silu(self.project(hidden)), x], dim=1)), self.pool)


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
        # Rows of letters are in memory as channels-last layers want them.
        encoded = embedding(codes.int(), self.letters).permute(0, 2, 1).unsqueeze(2)
        features = silu(self.stem(encoded))
        for block in self.blocks:
            features = block(features)
        result: Tensor = self.head(self.mapper(features.mean((2, 3), True, dtype=torch.float32)).flatten(1)).squeeze(-1)
        return result


class StrandPredictor:
    """log2 activity of sequences as given (strand 0), of their reverse complement (strand 1), or of ``BOTH`` together.

    ``BOTH``, and for LegNet the mean of the two strands, is ``LoadedModel.predict_log2``, up to bfloat16 rounding when
    ``precision`` is auto.
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

    @property
    def strands(self) -> tuple[int, ...]:
        """The strands whose predictions are averaged: CLIPNET's quantities are, before their logarithm, so that it has one."""
        return (BOTH,) if self._folded is None else (0, 1)

    def __call__(self, codes: NDArray[np.uint8], strand: int) -> NDArray[np.float32]:
        """Predictions ``[n]`` of codes ``[n, width]``."""
        batches = [codes[start : start + self.batch_size] for start in range(0, len(codes), self.batch_size)]
        threads = 1 if self.model.device.type == "cuda" else torch.get_num_threads()
        predict = partial(self._predict, strand=strand)
        results = list(map(predict, batches) if threads == 1 else _workers(threads).map(predict, batches))
        return np.concatenate(results) if results else np.empty(0, np.float32)

    @torch.inference_mode()
    def _predict(self, codes: NDArray[np.uint8], strand: int) -> NDArray[np.float32]:
        batch = torch.from_numpy(np.ascontiguousarray(codes)).to(self.model.device)
        if strand == BOTH:
            return self.model.log2_of_both_strands(batch).float().cpu().numpy()
        batch = reverse_complement(batch) if strand == 1 else batch
        values = self.model.log2(batch) if self._folded is None else self.model.in_log2(self._folded(batch))
        return values.float().cpu().numpy()


@cache
def _workers(threads: int) -> ThreadPoolExecutor:
    """Threads that compute a batch each, alone: they never wait for one another after every layer, as torch's own do."""
    return ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
