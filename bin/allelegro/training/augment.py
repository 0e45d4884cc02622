"""Augmentation of constructs: shifts along the vector, either strand and changed bases, on whole batches of codes."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from allelegro.io.dna import encode
from allelegro.models.encoding import reverse_complement

# What surrounds the 230-bp construct in the lentiMPRA vector; the right flank begins the minimal promoter.
LEFT_FLANK = "GGCCCGCTCTAGACCTGCAGG"
RIGHT_FLANK = "CACTAGAGGGTATATAATGGAAGCTCGACTTCCAGCTTGGCAATCCGGTACTGT"


@dataclass(frozen=True)
class Augmentation:
    """Shifts of up to ``before`` bp to the left and ``after`` bp to the right, and the share of bases drawn anew.

    The published recipe shifts by 0 to 21 bp to the right only. Bases drawn anew, under an activity that stays, keep a network
    from learning few sequences by heart (Lee et al. 2023, doi:10.1186/s13059-023-02941-w).
    """

    before: int = 0
    after: int = 21
    mutation: float = 0.0


class Constructs:
    """Constructs ``[n, width]`` inside their vector, shifted, turned and mutated anew in every epoch.

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
        self.turned = torch.zeros(n, dtype=torch.bool)

    def to(self, device: torch.device) -> None:
        """Move everything to the device."""
        self.vector, self.shift, self.turned = (x.to(device) for x in (self.vector, self.shift, self.turned))
        self.drawn = self.vector

    def draw(self, generator: torch.Generator) -> None:
        """Draw a shift, a strand and changed bases for every construct."""
        n, device = len(self.vector), self.vector.device
        reach = self.augmentation.before + self.augmentation.after + 1
        self.shift = torch.randint(reach, (n,), generator=generator).to(device)
        self.turned = (torch.rand(n, generator=generator) < 0.5).to(device)
        if self.augmentation.mutation:
            anew = torch.rand(self.vector.shape, generator=generator) < self.augmentation.mutation
            bases = torch.randint(4, self.vector.shape, generator=generator, dtype=torch.uint8)
            self.drawn = torch.where(anew.to(device), bases.to(device), self.vector)

    def __getitem__(self, batch: Tensor) -> Tensor:
        """Codes ``[len(batch), width]`` of these constructs as drawn."""
        columns = self.shift[batch, None] + torch.arange(self.width, device=batch.device)
        codes = self.drawn[batch].gather(1, columns)
        return torch.where(self.turned[batch, None], reverse_complement(codes), codes)
