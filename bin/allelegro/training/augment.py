"""Augmentation of constructs: shifts along the vector, either strand and changed bases, on whole batches of codes."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from allelegro.io.dna import encode
from allelegro.models.encoding import reverse_complement
from allelegro.training.settings import Augmentation

# What surrounds the 230-bp construct in the lentiMPRA vector; the right flank begins the minimal promoter.
LEFT_FLANK = "GGCCCGCTCTAGACCTGCAGG"
RIGHT_FLANK = "CACTAGAGGGTATATAATGGAAGCTCGACTTCCAGCTTGGCAATCCGGTACTGT"


class Constructs:
    """Constructs ``[n, width]`` inside their vector, shifted, reverse-complemented and randomly mutated in every epoch.

    Raises ValueError for shifts longer than the vector's flanks.
    """

    def __init__(self, codes: NDArray[np.uint8], augmentation: Augmentation) -> None:
        before, after = augmentation.before, augmentation.after
        if not (0 <= before <= len(LEFT_FLANK) and 0 <= after <= len(RIGHT_FLANK)):
            raise ValueError(
                f"shifts must be within {len(LEFT_FLANK)} bp to the left and {len(RIGHT_FLANK)} bp to the right"
            )
        self.width, self.augmentation = codes.shape[1], augmentation
        left, right = encode(LEFT_FLANK)[len(LEFT_FLANK) - before :], encode(RIGHT_FLANK)[:after]
        n = len(codes)
        self.vector = torch.from_numpy(np.concatenate([np.tile(left, (n, 1)), codes, np.tile(right, (n, 1))], axis=1))
        self.drawn = self.vector
        self.shift = torch.full((n,), before)
        self.reversed = torch.zeros(n, dtype=torch.bool)

    def to(self, device: torch.device) -> None:
        """Move everything to the device."""
        self.vector, self.shift, self.reversed = (x.to(device) for x in (self.vector, self.shift, self.reversed))
        self.drawn = self.vector

    def draw(self, generator: torch.Generator) -> None:
        """Draw a shift, a strand and changed bases for every construct."""
        n, device = len(self.vector), self.vector.device
        reach = self.augmentation.before + self.augmentation.after + 1
        self.shift = torch.randint(reach, (n,), generator=generator).to(device)
        self.reversed = (torch.rand(n, generator=generator) < 0.5).to(device)
        if self.augmentation.mutation:
            changed = torch.rand(self.vector.shape, generator=generator) < self.augmentation.mutation
            bases = torch.randint(4, self.vector.shape, generator=generator, dtype=torch.uint8)
            self.drawn = torch.where(changed.to(device), bases.to(device), self.vector)

    def __getitem__(self, batch: Tensor) -> Tensor:
        """Codes ``[len(batch), width]`` of these constructs as drawn."""
        columns = self.shift[batch, None] + torch.arange(self.width, device=batch.device)
        codes = self.drawn[batch].gather(1, columns)
        return torch.where(self.reversed[batch, None], reverse_complement(codes), codes)
