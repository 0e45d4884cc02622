"""Augmentation of constructs: small shifts along the vector and either strand, on whole batches of codes."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from allelegro.io.dna import encode
from allelegro.models.encoding import reverse_complement

# What surrounds the 230-bp construct in the lentiMPRA vector; the right flank begins the minimal promoter.
LEFT_FLANK = "GGCCCGCTCTAGACCTGCAGG"
RIGHT_FLANK = "CACTAGAGGGTATATAATGGAAGCTCGACTTCCAGCTTGGCAATCCGGTACTGT"


class Shifter:
    """Constructs ``[n, width]`` inside their vector, read from up to ``before`` bp earlier to ``after`` bp later.

    The published recipe shifts by 0 to 21 bp to the right only. Raises ValueError for shifts longer than the vector's flanks.
    """

    def __init__(self, codes: NDArray[np.uint8], before: int = 0, after: int = len(LEFT_FLANK)) -> None:
        if not (0 <= before <= len(LEFT_FLANK) and 0 <= after <= len(RIGHT_FLANK)):
            raise ValueError(
                f"shifts must be within {len(LEFT_FLANK)} bp to the left and {len(RIGHT_FLANK)} bp to the right"
            )
        self.width, self.before, self.after = codes.shape[1], before, after
        left, right = encode(LEFT_FLANK)[len(LEFT_FLANK) - before :], encode(RIGHT_FLANK)[:after]
        n = len(codes)
        self.vector = torch.from_numpy(np.concatenate([np.tile(left, (n, 1)), codes, np.tile(right, (n, 1))], axis=1))
        self.shift = torch.full((n,), before)
        self.turned = torch.zeros(n, dtype=torch.bool)

    def to(self, device: torch.device) -> None:
        """Move everything to the device."""
        self.vector, self.shift, self.turned = (x.to(device) for x in (self.vector, self.shift, self.turned))

    def draw(self, generator: torch.Generator) -> None:
        """Draw a shift and a strand for every construct."""
        n, device = len(self.vector), self.vector.device
        self.shift = torch.randint(self.before + self.after + 1, (n,), generator=generator).to(device)
        self.turned = (torch.rand(n, generator=generator) < 0.5).to(device)

    def __getitem__(self, batch: Tensor) -> Tensor:
        """Codes ``[len(batch), width]`` of these constructs as drawn."""
        columns = self.shift[batch, None] + torch.arange(self.width, device=batch.device)
        codes = self.vector[batch].gather(1, columns)
        return torch.where(self.turned[batch, None], reverse_complement(codes), codes)
