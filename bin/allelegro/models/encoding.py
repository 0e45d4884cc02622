"""DNA codes (A0 C1 G2 T3 N4, uint8) to network input, on whatever device the codes are."""

import torch
from torch import Tensor

_COMPLEMENT = (3, 2, 1, 0, 4)


def one_hot(codes: Tensor, unknown: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """One-hot of ``codes`` ``[..., width]`` as ``[..., 4, width]``; N becomes ``unknown`` in all four channels.

    Memory is laid out position by position (channels last), which is what the convolutions want.
    """
    table = torch.eye(5, 4, dtype=dtype, device=codes.device)
    table[4] = unknown
    return torch.nn.functional.embedding(codes.int(), table).transpose(-1, -2)


def two_hot(first: Tensor, second: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Unphased input ``[..., 4, width]`` of two haplotypes ``[..., width]``: homozygote 2, heterozygote 1 + 1, N 0.

    Reversing both axes is its reverse complement: A/T and C/G heterozygotes, being their own complements, stay.
    """
    return one_hot(first, 0.0, dtype) + one_hot(second, 0.0, dtype)


def reverse_complement(codes: Tensor) -> Tensor:
    """Reverse complement of codes ``[..., width]``; N stays N."""
    table = torch.tensor(_COMPLEMENT, dtype=codes.dtype, device=codes.device)
    return table[codes.flip(-1).int()]
