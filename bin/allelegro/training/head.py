"""Starting a pretrained network on a new kind of data: normalisation statistics and a head fitted in closed form."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from allelegro.models.encoding import reverse_complement
from allelegro.models.legnet import LegNet
from allelegro.statistics import ridge


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
