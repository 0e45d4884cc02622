"""Codes to network input, on whatever device the codes are."""

import torch
from torch import Tensor

from allelegro.io.dna import ALPHABET, N

_COMPLEMENT = [3, 2, 1, 0, 4]


def one_hot(codes: Tensor, order: str = "ACGT", dtype: torch.dtype = torch.float32) -> Tensor:
    """One-hot sequences ``[n, 4, width]`` from uint8 codes ``[n, width]``; N is 0.25 in all four channels.

    ``order`` names the bases of the channels; LegNet's is ``AGCT``.
    """
    hot = (codes.unsqueeze(1) == _channels(order, codes)).to(dtype)
    return hot.add_((codes == N).unsqueeze(1).to(dtype), alpha=0.25)


def two_hot(first: Tensor, second: Tensor, order: str = "ACGT", dtype: torch.dtype = torch.float32) -> Tensor:
    """Unphased diploid input ``[n, 4, width]`` of two haplotypes' codes ``[n, width]``, as CLIPNET takes it.

    A homozygous base is 2 in its channel, a heterozygous one 1 in each of two channels, N adds nothing.
    """
    channels = _channels(order, first)
    return (first.unsqueeze(1) == channels).to(dtype).add_((second.unsqueeze(1) == channels).to(dtype))


def reverse_complement(codes: Tensor) -> Tensor:
    """Reverse complement of codes along the last axis; N stays N."""
    complement = torch.tensor(_COMPLEMENT, dtype=torch.uint8, device=codes.device)
    return complement[codes.flip(-1).int()]


def _channels(order: str, like: Tensor) -> Tensor:
    if sorted(order) != sorted(ALPHABET[:4]):
        raise ValueError(f"order {order}: the letters A, C, G, T once each are needed")
    return torch.tensor([ALPHABET.index(base) for base in order], dtype=like.dtype, device=like.device).unsqueeze(1)
