"""Starting a pretrained network on a new kind of data: normalisation statistics and a head fitted in closed form."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from allelegro.models.encoding import reverse_complement
from allelegro.models.legnet import LegNet


@torch.no_grad()
def fit_head(network: LegNet, codes: Tensor, target: NDArray[np.float64], batch: int = 256) -> None:
    """Set the last layer by ridge regression of ``target`` on the pretrained features of ``codes``, both strands.

    A head in its right place from the start keeps early steps from distorting the trunk (linear probing before
    fine-tuning: Kumar et al. 2022, arXiv:2202.10054). The normalisation statistics are first taken from ``codes``, since
    genomic windows differ from reporter constructs. The penalty is chosen by generalised cross-validation.
    """
    both = torch.cat([codes, reverse_complement(codes)])
    norms = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # a plain average over batches
    network.train()
    for part in torch.split(both, batch):
        if len(part) > 1:
            network(LegNet.encode(part))
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    network.eval()
    features: list[Tensor] = []
    last = network.head[-1]
    assert isinstance(last, nn.Linear)
    hook = last.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    for part in torch.split(both, batch):
        network(LegNet.encode(part))
    hook.remove()
    # The strands' mean, not two rows each: they resemble one another, and validation would take them for independent.
    strands = torch.cat(features).double().view(2, len(codes), -1)
    weight, bias = ridge(strands.mean(0).numpy(), target)
    last.weight.copy_(torch.from_numpy(weight)[None])
    last.bias.copy_(torch.tensor([bias]))
    network.train()


def ridge(features: NDArray[np.float64], target: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Ridge weights and intercept, the penalty by generalised cross-validation (Golub, Heath & Wahba 1979)."""
    mean, level = features.mean(axis=0), target.mean()
    u, s, vt = np.linalg.svd(features - mean, full_matrices=False)
    projected = u.T @ (target - level)
    penalties = s[0] ** 2 * np.logspace(-8, 1, 40)
    shrink = s**2 / (s**2 + penalties[:, None])
    outside = ((target - level) ** 2).sum() - (projected**2).sum()
    residual = (((1 - shrink) * projected) ** 2).sum(axis=1) + max(outside, 0.0)
    freedom = len(target) - 1 - shrink.sum(axis=1)
    best = np.argmin(residual / np.maximum(freedom, 1) ** 2)
    weight = vt.T @ (shrink[best] / np.maximum(s, 1e-12) * projected)
    return weight, float(level - mean @ weight)
