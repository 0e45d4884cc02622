"""A trained model for use from Python: effects of alleles given as sequences.

import allelegro
model = allelegro.load("lentimpra")
model.effects(["…ACGT…"], ["…ATGT…"])  # log2 alt/ref
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.effects.scoring import Scorer
from allelegro.effects.variants import VARIANT_COLUMNS, Dropped
from allelegro.effects.windows import sequence_pairs
from allelegro.errors import DataError
from allelegro.io.dna import N, encode
from allelegro.models.box import find_model
from allelegro.models.checkpoint import LoadedModel, load_model
from allelegro.models.device import choose_device
from allelegro.models.ensemble import members
from allelegro.models.inference import Precision

CHUNK = 4096  # pairs in memory at a time


class TrainedModel:
    """One checkpoint, or the mean of several (an ensemble); see :func:`load`."""

    def __init__(self, name: str, models: list[LoadedModel], precision: Precision = "auto") -> None:
        self.name, self.models = name, models
        self._scorer = Scorer(name, models, held_out_only=False, precision=precision)

    @property
    def width(self) -> int:
        """The longest sequence, in bp, that is used whole: the insert of a construct, or the network's input."""
        return self._scorer.narrowest

    def __repr__(self) -> str:
        return f"TrainedModel({self.name}, {len(self.models)} networks, {self.width} bp)"

    def saw(self, sequences: Sequence[str]) -> NDArray[np.bool_]:
        """Which sequences ``[n]`` are like one that some network was trained on, or chose its epoch by.

        Alike: they share 30 % or more of their sampled 24-mers, on either strand, as overlapping elements and alleles
        do. An effect in such a sequence was not trained on where training had one allele alone. Raises DataError for
        letters that are no DNA, and for a network that does not say what it saw.
        """
        silent = [model.name for model in self.models if model.seen.unknown]
        if silent:
            raise DataError(f"{', '.join(silent)} does not say what training saw; a checkpoint with seen.npz does")
        checked = _checked(sequences, "sequence")
        codes = np.full((len(checked), max(map(len, checked), default=1)), N, np.uint8)
        for row, sequence in enumerate(checked):
            codes[row, : len(sequence)] = encode(sequence)
        return np.asarray(np.any([model.seen.saw_sequences(codes) for model in self.models], axis=0))

    def effects(self, ref: Sequence[str], alt: Sequence[str]) -> NDArray[np.float32]:
        """log2 alt/ref ``[n]`` of pairs of sequences, positive when the alternative allele increases activity.

        Pair i is ``ref[i]`` and ``alt[i]``: the same stretch with either allele, of any length, which may differ (an
        insertion or deletion). It is put in the middle of the construct, between the adaptors of the assay; of one
        longer than ``width`` the middle is used. Both alleles begin at one base, so that they stay aligned to the left
        of the variant. The mean over networks, strands and, of shorter sequences, over what may surround them.
        Raises DataError for unequal numbers, an empty sequence or letters that are no DNA.
        """
        pairs = {"ref": _checked(ref, "ref"), "alt": _checked(alt, "alt")}
        if len(pairs["ref"]) != len(pairs["alt"]):
            raise DataError(
                f"{len(pairs['ref']):,} ref and {len(pairs['alt']):,} alt sequences; give one alt for each ref"
            )
        table = pd.DataFrame({f"{allele}_sequence": sequences for allele, sequences in pairs.items()})
        table = table.assign(chrom=".", pos=0, ref=".", alt=".", id=".")
        parts = [np.empty(0, np.float32)]
        for first in range(0, len(table), CHUNK):
            part = table.iloc[first : first + CHUNK].reset_index(drop=True)
            scores = self._scorer.score(
                part[[*VARIANT_COLUMNS, "ref_sequence", "alt_sequence"]], sequence_pairs, Dropped()
            )
            parts.append(scores["effect"].to_numpy(np.float32))
        return np.concatenate(parts)


def load(
    model: str | Path, output: str | Sequence[str] = (), device: str = "auto", precision: Precision = "auto"
) -> TrainedModel:
    """A model in the box by name (``lentimpra``), a checkpoint folder, or a folder of them: an ensemble.

    ``output`` chooses among a network's outputs (``K562``; without it their mean). Loading runs no code of the model.
    Raises DataError when there is no such model or output, or a file is damaged.
    """
    folder, place = find_model(model), choose_device(device)
    chosen = [output] if isinstance(output, str) else list(output)
    networks = [load_model(path, place, chosen) for path in members([folder])]
    return TrainedModel(folder.name, networks, precision)


def _checked(sequences: Sequence[str], side: str) -> list[str]:
    """Sequences in capital letters; DataError naming the first that is none."""
    if isinstance(sequences, str):
        raise DataError(f"{side} is one sequence; give a list of sequences")
    capital = [str(sequence).upper() for sequence in sequences]
    for number, sequence in enumerate(capital):
        if not sequence or set(sequence) - set("ACGTN"):
            raise DataError(
                f"{side} sequence {number + 1}: '{sequence[:20]}' is not a DNA sequence; use the letters A C G T N"
            )
    return capital
