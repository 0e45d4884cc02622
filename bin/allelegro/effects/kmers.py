"""What sequence alone predicts of a variant's effect, for models to beat: base composition and a linear k-mer model."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.effects.variants import Dropped, canonical_key, read_sequence_pairs, with_alleles
from allelegro.effects.windows import (
    AllelePairs,
    Genome,
    fitting_alleles,
    genome_pairs,
    place_variants,
    reference_agrees,
    require_contigs,
    sequence_pairs,
)
from allelegro.errors import DataError
from allelegro.intervals import Regions
from allelegro.io.arrays import UNREADABLE
from allelegro.io.atomic import atomic_path
from allelegro.io.contigs import plain_contig
from allelegro.io.dna import N, encode
from allelegro.io.windows import read_windows
from allelegro.statistics import LinearMoments

KMERS = ((0, 1, 2, 3, 4, 5), (0, 1, 2, 6, 7, 8))  # offsets of the letters: 6-mers, and 3 + 3 letters with a gap of 3
LETTERS = 6
PENALTIES = (10.0, 100.0, 1000.0, 10000.0)
CHUNK = 4096
FEWEST = 50  # sequences to fit on
WINDOW = 200  # bp around a variant; k-mers that do not touch it cancel

logger = logging.getLogger(__name__)

Codes = NDArray[np.uint8]
Kmers = Sequence[tuple[int, ...]]


def gc_change(pairs: AllelePairs) -> NDArray[np.float64]:
    """G and C bases gained by the alternative sequences."""

    def count(codes: Codes) -> NDArray[np.float64]:
        return np.asarray(((codes == 1) | (codes == 2)).sum(axis=-1)[:, 0], dtype=np.float64)

    return count(pairs.alternative) - count(pairs.reference)[pairs.reference_row]


def _canonical() -> NDArray[np.int64]:
    """Feature of each 6-mer; one and its reverse complement share one (2,080 of 4,096)."""
    letters = np.arange(4**LETTERS)[:, None] // 4 ** np.arange(LETTERS) % 4
    complement = (3 - letters[:, ::-1]) @ 4 ** np.arange(LETTERS)
    return np.unique(np.minimum(np.arange(4**LETTERS), complement), return_inverse=True)[1]


_FEATURE = _canonical()
_FEATURES = int(_FEATURE.max()) + 1


def kmer_counts(codes: Codes, kmers: Kmers = KMERS) -> NDArray[np.float32]:
    """Counts of (gapped) k-mers, ``[n, features]``, from codes ``[n, width]``; strands are alike, k-mers with N are not counted."""
    parts = []
    for word in kmers:
        places = codes.shape[1] - word[-1]
        letters = np.stack([codes[:, offset : offset + places] for offset in word]).astype(np.int64)
        feature = _FEATURE[np.minimum(np.tensordot(4 ** np.arange(LETTERS), letters, axes=1), 4**LETTERS - 1)]
        feature += np.arange(len(codes))[:, None] * _FEATURES
        known = feature[(letters != N).all(axis=0)]
        parts.append(np.bincount(known, minlength=len(codes) * _FEATURES).reshape(len(codes), _FEATURES))
    return np.concatenate(parts, axis=1).astype(np.float32)


def _moments(codes: Codes, activity: NDArray[np.float64], kmers: Kmers) -> LinearMoments:
    parts = (slice(first, first + CHUNK) for first in range(0, len(codes), CHUNK))
    return LinearMoments.of(
        ((kmer_counts(codes[part], kmers), activity[part]) for part in parts), len(kmers) * _FEATURES
    )


@dataclass
class KmerModel:
    """Ridge regression of activity on k-mer counts."""

    weights: NDArray[np.float64]
    kmers: Kmers = KMERS

    @classmethod
    def fit(
        cls, sequences: Sequence[str], activity: NDArray[np.float64], seed: int = 0, kmers: Kmers = KMERS
    ) -> "KmerModel":
        """Fit on sequences of one width; the penalty is chosen on a tenth of the rows, then all are used.

        Raises DataError for fewer than 50 sequences or sequences of several widths.
        """
        widths = {len(sequence) for sequence in sequences}
        if len(sequences) < FEWEST or len(widths) > 1:
            raise DataError(
                f"{len(sequences)} sequences of {len(widths)} widths: a k-mer model needs {FEWEST} of one width"
            )
        codes = np.stack([encode(sequence) for sequence in sequences])
        held_out = np.random.default_rng(seed).permutation(len(codes)) < len(codes) // 10
        train, check = (_moments(codes[part], activity[part], kmers) for part in (~held_out, held_out))
        best = min(PENALTIES, key=lambda penalty: check.error(train.ridge(penalty)))
        return cls((train + check).ridge(best), kmers)

    def save(self, path: Path) -> None:
        """Write the weights as ``.npz``."""
        with atomic_path(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, weights=self.weights.astype(np.float32), kmers=np.array(self.kmers))

    @classmethod
    def load(cls, path: Path) -> "KmerModel":
        """Read what ``save`` wrote; DataError for anything else."""
        try:
            with np.load(path) as stored:
                weights, kmers = stored["weights"].astype(np.float64), tuple(map(tuple, stored["kmers"].tolist()))
        except (*UNREADABLE, AttributeError) as error:
            raise DataError(f"{path}: is not a k-mer model of fit_kmers.py") from error
        return cls(weights, kmers)

    def effects(self, pairs: AllelePairs) -> NDArray[np.float64]:
        """Predicted change of activity of each pair."""
        reference = self._predict(pairs.reference[:, 0])
        return self._predict(pairs.alternative[:, 0]) - reference[pairs.reference_row]

    def _predict(self, codes: Codes) -> NDArray[np.float64]:
        parts = [
            kmer_counts(codes[first : first + CHUNK], self.kmers) @ self.weights
            for first in range(0, len(codes), CHUNK)
        ]
        return np.concatenate(parts)


def without_held_out(
    examples: pd.DataFrame, windows: Sequence[Path], folds: Sequence[int], source: Path
) -> pd.DataFrame:
    """The training sequences (``chrom start end``, 0-based) that overlap no window of the ``folds`` that are tested.

    Raises DataError when none is left. A table without coordinates cannot be compared; it is used whole, with a warning.
    """
    if not windows:
        return examples
    if not {"chrom", "start", "end"} <= set(examples.columns):
        logger.warning("%s: no coordinates; the k-mer model may be fitted on sequences of held-out windows", source)
        return examples
    table = pd.concat([read_windows(path) for path in windows])
    held_out = Regions.of(table[table["fold"].isin(folds)].assign(chrom=table["chrom"].map(plain_contig)))
    seen = np.zeros(len(examples), bool)
    rows = np.flatnonzero(examples["start"].notna() & examples["end"].notna())
    plain = examples["chrom"].astype(str).map(plain_contig).to_numpy(object)[rows]
    starts, ends = (examples[name].to_numpy(float)[rows].astype(np.int64) for name in ("start", "end"))
    seen[rows] = held_out.overlap_rows(plain, starts, ends)
    logger.info("%s: %s of %s sequences are in held-out windows", source, f"{int(seen.sum()):,}", f"{len(seen):,}")
    if seen.all():
        raise DataError(
            f"{source}: every sequence is in a held-out window; the k-mer model has nothing to be fitted on"
        )
    return examples[~seen]


@dataclass
class Sequences:
    """Allele sequences of the rows ``rows`` (index labels) of a table of variants."""

    rows: pd.Index
    pairs: AllelePairs


def sequences_of(table: pd.DataFrame, fasta: Path | None, sequences: Path | None) -> Sequences | None:
    """Sequences around the variants of a table: its own, of a genome, or of a table of sequence pairs; None without.

    Variants that the genome or the table does not have are excluded, with their number logged.
    """
    if "ref_sequence" in table:
        longest = int(table["ref_sequence"].str.len().max())
        found: Sequences | None = Sequences(table.index, sequence_pairs(table, longest, fill=False))
    elif fasta is not None:
        genome = Genome(fasta)
        require_contigs(table["chrom"].unique(), genome)
        placed = place_variants(fitting_alleles(with_alleles(table, Dropped()), WINDOW, Dropped()), genome, Dropped())
        placed = placed[reference_agrees(placed, genome)]
        found = None if placed.empty else Sequences(placed.index, genome_pairs(placed, genome, WINDOW, [0]))
    elif sequences is not None:
        given = read_sequence_pairs(sequences)
        given = given.set_axis(canonical_key(given))
        given = given[~given.index.duplicated()]
        at = given.index.get_indexer(canonical_key(table))
        rows = table.index[at >= 0]
        longest = int(given["ref_sequence"].str.len().max())
        found = None if rows.empty else Sequences(rows, sequence_pairs(given.iloc[at[at >= 0]], longest, fill=False))
    else:
        return None
    if found is None:
        raise DataError(
            f"{fasta or sequences}: has the sequence of none of the variants; give what they were called on"
        )
    logger.info("baselines: sequences of %s of %s variants", f"{len(found.rows):,}", f"{len(table):,}")
    return found


def signed_baselines(
    table: pd.DataFrame, found: Sequences | None, kmers: KmerModel | None
) -> dict[str, NDArray[np.float64]]:
    """``baseline_gc`` and, given a k-mer model, ``baseline_kmer``: effects of every row, NaN without sequence."""
    if found is None:
        return {}
    effects = {"baseline_gc": gc_change(found.pairs)}
    if kmers is not None:
        effects["baseline_kmer"] = kmers.effects(found.pairs)
    places = table.index.get_indexer(found.rows)
    columns = {name: np.full(len(table), np.nan) for name in effects}
    for name, values in effects.items():
        columns[name][places] = values
    return columns
