"""What the stages of a model's training saw: places on the genome, and sequences where there are no places.

Kept with the weights (``seen.npz``). A model that goes on from another has seen what that one saw as well. Readable
where there is no torch.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.intervals import Regions
from allelegro.io.arrays import UNREADABLE
from allelegro.io.contigs import plain_contigs
from allelegro.io.kmers import FEWEST, OF_ELEMENT, SHARED, sampled_kmers, short
from allelegro.models.config import HeldOut, read_config

FILE = "seen.npz"

AROUND = 230  # bp around a variant that are compared with sequences without a place
NO_PLACE = "."  # chromosome of a sequence whose place is not known

_PLACE = ["chrom", "start", "end"]
_NO_KMERS = np.empty(0, np.uint32)


@dataclass(frozen=True, eq=False)
class Seen:
    """All that was trained on or chose an epoch. Make it with :meth:`nothing`, :meth:`training` and :meth:`plus`.

    ``regions`` (``chrom start end``, 0-based, half-open) are the sequences whose place is known; ``kmers`` are sampled
    k-mers of all sequences, ``unplaced`` of those without a place (both sorted uint32). ``unknown`` names the stages
    that do not say what they saw; ``held_out`` is what an earlier version wrote instead, the rest counts as seen.
    """

    regions: pd.DataFrame
    kmers: NDArray[np.uint32]
    unplaced: NDArray[np.uint32]
    unknown: tuple[str, ...] = ()
    held_out: HeldOut | None = None

    @classmethod
    def nothing(cls) -> "Seen":
        """Before any training."""
        return cls(pd.DataFrame({"chrom": [], "start": [], "end": []}), _NO_KMERS, _NO_KMERS)

    @classmethod
    def untold(cls, stage: str) -> "Seen":
        """A stage of which nothing is known."""
        return cls(cls.nothing().regions, _NO_KMERS, _NO_KMERS, (stage,))

    @classmethod
    def training(cls, codes: NDArray[np.uint8], places: pd.DataFrame | None) -> "Seen":
        """One stage that saw the sequences ``codes`` ``[n, width]``, at ``places`` (``chrom start end``, one row each).

        A row with missing values is a sequence without a place; None: all are.
        """
        placed = np.zeros(len(codes), bool) if places is None else places[_PLACE].notna().all(axis=1).to_numpy()
        row, kmers = sampled_kmers(codes)
        brief = short(kmers)
        here = cls.nothing().regions if places is None else places.loc[placed, _PLACE]
        return cls(
            _union(here.assign(chrom=plain_contigs(here["chrom"]))), np.unique(brief), np.unique(brief[~placed[row]])
        )

    def plus(self, later: "Seen") -> "Seen":
        """What two stages saw together."""
        return Seen(
            _union(pd.concat([self.regions, later.regions])),
            np.union1d(self.kmers, later.kmers),
            np.union1d(self.unplaced, later.unplaced),
            tuple(dict.fromkeys(self.unknown + later.unknown)),
            self.held_out or later.held_out,
        )

    @property
    def by_sequence(self) -> bool:
        """Whether some stage's sequences have no place, so that only sequence tells whether it saw something."""
        return len(self.unplaced) > 0

    @property
    def by_place(self) -> "Seen":
        """This without the sequences that have no place."""
        return replace(self, unplaced=_NO_KMERS)

    @cached_property
    def _by_contig(self) -> Regions:
        return Regions.of(self.regions)

    def saw(
        self, chrom: pd.Series, start: pd.Series, end: pd.Series, codes: NDArray[np.uint8] | None = None
    ) -> NDArray[np.bool_]:
        """Which intervals ``[n]`` (0-based, half-open) share at least one base with a sequence that some stage saw.

        ``codes`` ``[n, width]``, the reference sequence around each, is compared with sequences that have no place
        (see :func:`saw_sequences`), and with all of them where an interval has none (``chrom`` ``.``). Raises
        ValueError when it is wanted and not given. Stages in ``unknown`` are not counted.
        """
        without = (chrom == NO_PLACE).to_numpy()
        if codes is None and (self.by_sequence or without.any()):
            raise ValueError("places say nothing here: give the sequences around the intervals")
        starts, ends = start.to_numpy(np.int64), end.to_numpy(np.int64)
        seen = self._by_contig.overlap_rows(plain_contigs(chrom), starts, ends)
        if self.held_out is not None:
            seen |= ~self.held_out.unseen(chrom, start)
        if codes is not None:
            rows = np.flatnonzero(~seen) if self.by_sequence else np.flatnonzero(~seen & without)
            seen[rows] = np.where(without[rows], _alike(codes[rows], self.kmers), _alike(codes[rows], self.unplaced))
        return seen

    def saw_sequences(self, codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which sequences ``[n, width]`` are like one that some stage saw, wherever it came from.

        Alike: they share 30 % or more of their sampled 24-mers, on either strand, as overlapping tiles and alleles do;
        of a sequence longer than an element, 30 % of as many as an element has.
        """
        return _alike(codes, self.kmers)

    def write(self, path: Path) -> None:
        """Write ``seen.npz``: sorted k-mers as the steps between them, byte by byte, which compress to half their size."""
        contigs, contig = np.unique(self.regions["chrom"].to_numpy(str), return_inverse=True)
        np.savez_compressed(
            path,
            contigs=contigs.astype(str),
            contig=contig.astype(np.int32),
            start=self.regions["start"].to_numpy(np.int64),
            end=self.regions["end"].to_numpy(np.int64),
            kmer_steps=np.diff(self.kmers, prepend=np.uint32(0)).astype("<u4").view(np.uint8).reshape(-1, 4).T,
            unplaced_bits=np.packbits(np.isin(self.kmers, self.unplaced, assume_unique=True)),
            unknown=np.array(self.unknown, str),
            held_out=np.array(json.dumps(self.held_out and self.held_out.document)),
        )

    @classmethod
    def read(cls, checkpoint: Path) -> "Seen":
        """What a checkpoint saw: a folder says it, a file (``.ckpt``) does not.

        Raises DataError when ``seen.npz`` is damaged, or missing where ``model.json`` names it.
        """
        file = checkpoint / FILE
        if not file.is_file():
            return cls._without_file(checkpoint)
        try:
            with np.load(file, allow_pickle=False) as parts:
                regions = {"chrom": parts["contigs"][parts["contig"]], "start": parts["start"], "end": parts["end"]}
                unknown = tuple(str(stage) for stage in parts["unknown"])
                earlier = json.loads(str(parts["held_out"])) if "held_out" in parts else None
                held_out = HeldOut.of(earlier) if earlier else None
                return cls(pd.DataFrame(regions), *_kmers_of(parts), unknown, held_out)
        except UNREADABLE:
            raise DataError(f"{file}: not readable; copy the checkpoint again") from None

    @classmethod
    def _without_file(cls, checkpoint: Path) -> "Seen":
        if checkpoint.is_file():
            return cls.untold(checkpoint.name)
        config = read_config(checkpoint)
        if FILE in config.get("checksums", {}):
            raise DataError(f"{checkpoint / FILE}: no such file; copy the checkpoint again")
        held_out = HeldOut.of(config["training"])
        if held_out.unknown:
            return cls.untold(checkpoint.name)
        return replace(cls.nothing(), held_out=held_out)


def _kmers_of(parts: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """All k-mers and those of sequences without a place, as :meth:`Seen.write` or an earlier version stored them."""
    if "kmers" in parts:
        return parts["kmers"], parts["unplaced"]
    steps = np.ascontiguousarray(parts["kmer_steps"].T).view("<u4").ravel()
    kmers = np.cumsum(steps, dtype=np.uint32)
    return kmers, kmers[np.unpackbits(parts["unplaced_bits"], count=len(kmers)).astype(bool)]


def _union(regions: pd.DataFrame) -> pd.DataFrame:
    """Disjoint sorted regions."""
    parts = Regions.of(regions).by_contig
    return pd.DataFrame(
        {
            "chrom": np.repeat(list(parts), [len(starts) for starts, _ in parts.values()]) if parts else [],
            "start": np.concatenate([starts for starts, _ in parts.values()]) if parts else np.empty(0, np.int64),
            "end": np.concatenate([ends for _, ends in parts.values()]) if parts else np.empty(0, np.int64),
        }
    )


def _alike(codes: NDArray[np.uint8], known: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Which sequences share enough of their sampled k-mers with the sorted ``known`` ones."""
    row, kmers = sampled_kmers(codes)
    brief = short(kmers)
    place = np.searchsorted(known, brief)
    found = place < len(known)
    found[found] = known[place[found]] == brief[found]
    shared = np.bincount(row[found], minlength=len(codes))
    own = np.minimum(np.bincount(row, minlength=len(codes)), OF_ELEMENT)
    return np.asarray(shared >= np.maximum(SHARED * own, FEWEST))
