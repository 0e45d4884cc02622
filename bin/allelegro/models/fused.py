"""LegNet's layers with fewer passes over memory on a CPU; anywhere else they are torch's own.

In training, normalisation and its activation become one operation, a squeeze-and-excitation another, and the weight gradient of a
depthwise convolution a third; for prediction (:mod:`allelegro.models.inference`) activations are joined to what follows them.
:mod:`allelegro.models.kernels` has the passes. The arithmetic is the same, in float32 between reading and writing, so
results differ from torch's by no more than rounding.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d

from allelegro.models import kernels
from allelegro.models.kernels import by_sequences, empty, memory


def fuses(x: Tensor) -> bool:
    """Whether training runs on our passes: float32 or bfloat16 on a CPU, not under ``torch.compile``, which fuses itself."""
    return x.dtype in (torch.float32, torch.bfloat16) and x.device.type == "cpu" and not torch.compiler.is_compiling()


def joins(x: Tensor) -> bool:
    """Whether prediction does: in bfloat16 alone."""
    return x.dtype == torch.bfloat16 and fuses(x)


class Layers(nn.Sequential):
    """Layers in a row, of which a batch normalisation and the SiLU after it are computed as one."""

    def forward(self, x: Tensor) -> Tensor:
        """``[n, channels, 1, width]`` in and out."""
        layers = list(self)
        while layers:
            layer = layers.pop(0)
            # A subclass, such as a normalisation over several processes, has its own forward pass.
            normalises = type(layer) is nn.BatchNorm2d and layer.training and fuses(x)
            if normalises and layers and isinstance(layers[0], nn.SiLU):
                layers.pop(0)
                x = _NormalisedSilu.apply(x, layer.weight, layer.bias, layer)
            else:
                x = layer(x)
        return x


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate computed from all channels' means."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        squeezed = channels // reduction
        self.gate = nn.Sequential(nn.Linear(channels, squeezed), nn.SiLU(), nn.Linear(squeezed, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """``[n, channels, 1, width]`` in and out."""
        if self.training and fuses(x):
            result: Tensor = _Gated.apply(x, self.gate, *self.gate.parameters())
            return result
        gate: Tensor = self.gate(x.mean(dim=(2, 3)))
        return x * gate[:, :, None, None]


class Depthwise(nn.Conv2d):
    """One kernel of odd width for every channel, no bias: ``[n, channels, 1, width]`` in and out."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__(channels, channels, (1, kernel), padding=(0, kernel // 2), groups=channels, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """``[n, channels, 1, width]`` in and out."""
        if self.training and fuses(input):
            result: Tensor = _DepthwiseConvolution.apply(input, self.weight)
            return result
        return super().forward(input)


def silu(x: Tensor) -> Tensor:
    """SiLU, in place where it can be: for prediction only."""
    if not joins(x):
        return torch.nn.functional.silu(x, inplace=True)
    x = x.contiguous(memory_format=torch.channels_last)
    by_sequences(kernels.silu, memory(x))
    return x


def gated_silu(x: Tensor, gate: nn.Module) -> Tensor:
    """SiLU and then squeeze-and-excitation with this ``gate``, in place where it can be: for prediction only."""
    if not joins(x):
        x = torch.nn.functional.silu(x, inplace=True)
        return x.mul_(gate(x.mean((2, 3), dtype=torch.float32)).to(x.dtype)[:, :, None, None])
    x = x.contiguous(memory_format=torch.channels_last)
    sums = torch.empty(x.shape[:2])
    by_sequences(kernels.silu_sums, memory(x), sums.numpy())
    by_sequences(kernels.gate, memory(x), gate(sums / x.shape[3]).numpy())
    return x


def pooled_silu(x: Tensor, size: int) -> Tensor:
    """The largest SiLU of each ``size`` neighbours along the sequence: for prediction only."""
    if not joins(x):
        return max_pool2d(torch.nn.functional.silu(x, inplace=True), (1, size))
    result = empty(x[..., : x.shape[3] // size])
    by_sequences(kernels.silu_max, memory(x), memory(result), size)
    return result


class _NormalisedSilu(torch.autograd.Function):
    """SiLU of a batch normalisation over the batch's own moments, which its running ones follow."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        mean, variance = _moments(x)
        _track(norm, mean, variance * (_values(x) / (_values(x) - 1)))
        deviation = torch.rsqrt(variance + norm.eps)
        scale = weight.double() * deviation
        shift = bias.double() - mean * scale
        ctx.save_for_backward(x, mean, deviation, scale, shift)
        result = empty(x)
        by_sequences(kernels.scaled_silu, memory(x), memory(result), _single(scale), _single(shift))
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, mean, deviation, scale, shift = ctx.saved_tensors
        sums, result = torch.empty(len(x), 2, x.shape[1]), empty(x)
        source, inner = memory(x), memory(result)
        by_sequences(
            kernels.scaled_silu_gradient, source, memory(gradient), inner, sums.numpy(), _single(scale), _single(shift)
        )
        to_bias, to_product = sums.double().sum(0)
        to_weight = (to_product - mean * to_bias) * deviation
        slope = -scale * deviation * to_weight / _values(x)
        offset = -scale * to_bias / _values(x) - slope * mean
        by_sequences(kernels.combine, inner, source, _single(scale), _single(slope), _single(offset))
        return result, to_weight.float(), to_bias.float(), None


def _values(x: Tensor) -> int:
    """Values of each channel."""
    return x.numel() // x.shape[1]


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel (float64)."""
    sums = torch.empty(len(x), 2, x.shape[1])
    by_sequences(kernels.moments, memory(x), sums.numpy())
    mean, square = sums.double().sum(0) / _values(x)
    return mean, (square - mean.square()).clamp(min=0)


def _track(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """The running moments: their momentum's share is new; without one they are the mean of all batches."""
    assert norm.num_batches_tracked is not None and norm.running_mean is not None and norm.running_var is not None
    norm.num_batches_tracked.add_(1)
    share = norm.momentum if norm.momentum is not None else 1 / int(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean.float(), share)
    norm.running_var.lerp_(variance.float(), share)


def _single(values: Tensor) -> Any:
    return values.float().numpy()


class _Gated(torch.autograd.Function):
    """Squeeze-and-excitation; the gate's own small graph is kept and walked inside the backward pass.

    As two operations, the mean's gradient would be spread over all positions and added in a pass of its own.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: nn.Module, *parameters: Tensor) -> Tensor:
        means = torch.empty(x.shape[:2])
        by_sequences(kernels.position_sums, memory(x), means.numpy())
        with torch.enable_grad(), torch.autocast("cpu", enabled=False):
            means = (means / x.shape[3]).requires_grad_()
            factors = gate(means)
        ctx.save_for_backward(x)
        ctx.means, ctx.factors, ctx.parameters = means, factors, parameters
        result = empty(x)
        by_sequences(
            kernels.scaled, memory(x), memory(result), factors.detach().numpy(), torch.zeros_like(means).numpy()
        )
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        incoming = memory(gradient)
        to_factors = torch.empty(x.shape[:2])
        by_sequences(kernels.product_sums, memory(x), incoming, to_factors.numpy())
        wanted = [parameter for parameter in ctx.parameters if parameter.requires_grad]
        to_means, *to_parameters = torch.autograd.grad(ctx.factors, [ctx.means, *wanted], to_factors)
        result = empty(x)
        spread = (to_means / x.shape[3]).numpy()
        by_sequences(kernels.scaled, incoming, memory(result), ctx.factors.detach().numpy(), spread)
        gradients = iter(to_parameters)
        return result, None, *(next(gradients) if parameter.requires_grad else None for parameter in ctx.parameters)


class _DepthwiseConvolution(torch.autograd.Function):
    """torch's convolution with our weight gradient: its own stalls in bfloat16."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolve(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        sums = torch.empty(-(-len(x) // kernels.PIECE), weight.shape[3], weight.shape[0])
        by_sequences(kernels.tap_sums, memory(x), memory(gradient), sums.numpy())
        return _convolve(gradient, weight.flip(3)), sums.sum(0).T.reshape(weight.shape)


def _convolve(x: Tensor, weight: Tensor) -> Tensor:
    return conv2d(x, weight.to(x.dtype), padding=(0, weight.shape[3] // 2), groups=weight.shape[0])
