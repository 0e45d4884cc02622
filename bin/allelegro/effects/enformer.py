"""Optional comparison: Enformer (Avsec et al. 2021, doi:10.1038/s41592-021-01252-x) by way of ``enformer-pytorch``.

The variant is in the centre of the input; both alleles are read forward and reverse; the effect is the log2 ratio of the
chosen tracks' sums over the central bins.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from allelegro.effects.scoring import GenomeCheck
from allelegro.effects.variants import Dropped
from allelegro.effects.windows import Genome, fitting_alleles, genome_pairs
from allelegro.errors import DataError
from allelegro.models.encoding import one_hot, reverse_complement

BIN = 128
WIDTH = 196_608
PSEUDOCOUNT = 1e-3
ENFORMER_COLUMNS = ["chrom", "pos", "ref", "alt", "score"]


class EnformerScorer:
    """Scores variants by chosen tracks of an ``enformer_pytorch.Enformer``.

    ``width`` is the input in bp and ``bins`` the number of central 128-bp bins that are summed.
    """

    def __init__(
        self, network: torch.nn.Module, tracks: Sequence[int], device: torch.device, width: int = WIDTH, bins: int = 3
    ) -> None:
        self.network = network.eval().to(device)
        self.tracks, self.device, self.width, self.bins = list(tracks), device, width, bins
        self.sequences = 0  # that went through the network so far

    @classmethod
    def load(cls, weights: Path, tracks: Sequence[int], device: torch.device, bins: int) -> "EnformerScorer":
        """From a local folder of weights (``config.json`` and ``pytorch_model.bin``); nothing is downloaded.

        Raises DataError when enformer-pytorch is not installed, the folder is not whole or a track does not exist.
        """
        try:
            from enformer_pytorch import from_pretrained
        except ImportError:
            raise DataError(
                "enformer-pytorch is not installed; install containers/requirements/enformer.txt, or join Enformer by a score table "
                "(benchmark_variants.py --comparator)"
            ) from None
        if not (weights / "config.json").is_file():
            raise DataError(f"{weights}: no config.json; give the folder of Enformer's weights")
        network = from_pretrained(str(weights), use_tf_gamma=False, local_files_only=True)
        available = int(network.config.output_heads["human"])
        beyond = [track for track in tracks if not 0 <= track < available]
        if beyond:
            raise DataError(f"{weights}: track {beyond[0]} does not exist; there are {available} human tracks, from 0")
        return cls(network, tracks, device, WIDTH, bins)

    def score(self, chunks: Iterator[pd.DataFrame], genome: Genome, dropped: Dropped) -> Iterator[pd.DataFrame]:
        """``ENFORMER_COLUMNS`` of parsed variants, one variant at a time; those not in the genome are dropped."""
        check = GenomeCheck(genome)
        for chunk in chunks:
            frame = fitting_alleles(check(chunk, dropped), self.width, dropped)
            for first in range(len(frame)):
                row = frame.iloc[[first]]
                pairs = genome_pairs(row, genome, self.width, [0])
                effect = self._log2(pairs.alternative[:, 0]) - self._log2(pairs.reference[:, 0])
                yield row[ENFORMER_COLUMNS[:4]].assign(score=effect)
        check.finish()

    @torch.inference_mode()
    def _log2(self, codes: NDArray[np.uint8]) -> NDArray[np.float64]:
        batch = torch.from_numpy(codes).to(self.device)
        both = torch.cat([batch, reverse_complement(batch)])
        self.sequences += len(both)
        output: Any = self.network(one_hot(both, 0.0).transpose(1, 2))
        human = output["human"] if isinstance(output, dict) else output
        first = (human.shape[1] - self.bins) // 2
        activity = human[:, first : first + self.bins, self.tracks].sum(dim=(1, 2)).view(2, -1).mean(dim=0)
        return np.asarray(torch.log2(activity + PSEUDOCOUNT).double().cpu().numpy())
