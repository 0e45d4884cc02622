"""Several processes as one: rank and size from ``torchrun``'s environment, synchronised batch normalisation."""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class World:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process logs and writes."""
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """This process's examples of a global batch."""
        return batch[self.rank :: self.size]

    def mean(self, value: Tensor) -> float:
        """The mean of every process's scalar."""
        if self.size > 1:
            value = value.clone()
            dist.all_reduce(value)
        return float(value) / self.size

    def agree(self, values: dict[str, float]) -> dict[str, float]:
        """The leading process's values, so that all take the same decisions."""
        if self.size == 1:
            return values
        holder: list[object] = [values]
        dist.broadcast_object_list(holder)
        return dict(holder[0])  # type: ignore[call-overload, no-any-return]


def join_world(device: torch.device) -> World:
    """Join the processes that ``torchrun`` started; a single process outside it."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    if not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return World(dist.get_rank(), size)


class _SumOverProcesses(torch.autograd.Function):
    """The sum of every process's tensor; gradients are summed likewise."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class SynchronisedNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation over all processes' examples, for the CPU; torch's own works on GPUs only."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions after ``[n, channels]``."""

    def forward(self, input: Tensor) -> Tensor:
        """``[n, channels, ...]`` in and out."""
        if not self.training:
            return super().forward(input)
        dims = [0, *range(2, input.dim())]
        x = input.float()
        count = torch.full((1,), x.numel() / x.shape[1])
        own = torch.cat([x.sum(dims), x.square().sum(dims), count])
        sums: Tensor = _SumOverProcesses.apply(own)
        total, (mean, square) = sums[-1], (sums[:-1] / sums[-1]).chunk(2)
        variance = square - mean.square()
        self._track(mean.detach(), variance.detach() * total / (total - 1))
        shape = (1, -1, *[1] * (input.dim() - 2))
        normal = (x - mean.view(shape)) * torch.rsqrt(variance + self.eps).view(shape)
        result: Tensor = normal * self.weight.view(shape) + self.bias.view(shape)
        return result.to(input.dtype)

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        for running, value in ((self.running_mean, mean), (self.running_var, variance)):
            assert running is not None and self.momentum is not None
            running.lerp_(value, self.momentum)


def synchronise_norms(module: nn.Module, device: torch.device) -> nn.Module:
    """Replace every batch normalisation by one over all processes; weights and names stay."""
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return converted
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            synchronised = SynchronisedNorm(child.num_features, child.eps, child.momentum)
            synchronised._parameters, synchronised._buffers = child._parameters, child._buffers
            setattr(module, name, synchronised)
        else:
            synchronise_norms(child, device)
    return module
