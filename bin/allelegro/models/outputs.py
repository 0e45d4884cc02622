"""Networks with several outputs, an activity each (the cell lines of a lentiMPRA library): names, scales, choice.

Such a network is trained on standardised activities. Its last layer is linear, so that one output, or the mean of several,
in log2 is a network with one output: what reads a checkpoint sees that network and no other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from allelegro.errors import DataError
from allelegro.models.config import Config
from allelegro.models.legnet import LegNet


@dataclass(frozen=True)
class Outputs:
    """Names of the outputs of a network, and mean and SD of each one's activity (log2) in training."""

    names: tuple[str, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Outputs | None":
        """What a checkpoint says of its outputs; None when it has a single unnamed one."""
        names = config.get("outputs")
        return cls(tuple(names), tuple(config["target"]["mean"]), tuple(config["target"]["sd"])) if names else None

    @classmethod
    def measured(cls, names: Sequence[str], activity: NDArray[np.float64]) -> "Outputs":
        """The scale of activities ``[n, outputs]``; NaN where one was not measured."""
        mean, sd = np.nanmean(activity, axis=0), np.nanstd(activity, axis=0, ddof=1)
        return cls(tuple(names), tuple(mean.tolist()), tuple(sd.tolist()))

    def standardised(self, activity: NDArray[np.float64]) -> NDArray[np.float64]:
        """Activities ``[n, outputs]`` (log2) with mean 0 and SD 1 in training."""
        return np.asarray((activity - np.array(self.mean)) / np.array(self.sd))

    def config(self) -> dict[str, Any]:
        """The entries of ``model.json`` about outputs."""
        scale = {"mean": list(self.mean), "sd": list(self.sd)}
        return {"outputs": list(self.names), "target": {"kind": "log2_activity", **scale}}

    def weights(self, chosen: Sequence[str]) -> NDArray[np.float64]:
        """Weight of each output ``[outputs]`` in the mean of the ``chosen`` ones; of all when none is named.

        Raises ValueError for a name that is none of the outputs'.
        """
        for name in chosen:
            if name not in self.names:
                raise ValueError(f"no output {name}; its outputs are {', '.join(self.names)}")
        counted = np.array([not chosen or name in chosen for name in self.names], np.float64)
        return np.asarray(counted / counted.sum())


def with_one_output(
    network: nn.Module, config: Config, chosen: Sequence[str] = (), source: object = "checkpoint"
) -> tuple[nn.Module, Config]:
    """The network and config of the mean of the ``chosen`` outputs in log2 (of all without), as one output.

    A network that has one output already is returned as it is. Raises DataError for an output that it does not have.
    """
    outputs = Outputs.of(config)
    if outputs is None:
        if chosen:
            raise DataError(f"{source}: no output {chosen[0]}; it has a single one without a name, leave --output out")
        return network, config
    try:
        weights = torch.from_numpy(outputs.weights(chosen))
    except ValueError as error:
        raise DataError(f"{source}: {error}") from None
    assert isinstance(network, LegNet)
    last = network.head[-1]
    assert isinstance(last, nn.Linear)
    one = nn.Linear(last.in_features, 1)
    scaled = weights * torch.tensor(outputs.sd, dtype=torch.float64)
    with torch.no_grad():
        one.weight.copy_((scaled @ last.weight.double())[None])
        one.bias.copy_(scaled @ last.bias.double() + weights @ torch.tensor(outputs.mean, dtype=torch.float64))
    network.head[-1] = one
    hyperparameters = {name: value for name, value in config["hyperparameters"].items() if name != "outputs"}
    kept = {name: value for name, value in config.items() if name != "outputs"}
    target = {"kind": config["target"]["kind"], "outputs": list(chosen or outputs.names)}
    return network, {**kept, "hyperparameters": hyperparameters, "target": target}
