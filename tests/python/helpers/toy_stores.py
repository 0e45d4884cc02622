"""Hand-made counts and haplotype stores in the formats of docs/formats.md, with a known truth.

Activity counts copies of one motif: log rate = 5 + EFFECT per copy. Every locus has two SNVs near its centre; the first breaks
a copy of the motif, the second does nothing.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from allelegro.io.dna import encode
from allelegro.io.windows import write_windows

MOTIF = encode("TGACTCA")
EFFECT = 0.8
READS = 1_000_000


@dataclass
class Toy:
    """Paths of the two stores and what is true of them."""

    counts: Path
    haplotypes: Path
    sequences: np.ndarray  # [locus, 4, width] the four haplotypes of a locus: none, first SNV, second SNV, both
    index: np.ndarray  # [locus, donor, 2]
    log_rate: np.ndarray  # [locus, 4]
    library_counts: np.ndarray  # [locus, library]
    donors: list[str]
    libraries: list[str]


def make_toy(
    folder: Path,
    loci: int = 60,
    donors: int = 12,
    width: int = 120,
    seed: int = 1,
    second_libraries: int = 2,
    genetic: bool = True,
    depth: float = 1.0,
) -> Toy:
    """Write ``counts`` and ``haplotypes`` under ``folder``. Without ``genetic``, counts come from the reference alone."""
    rng = np.random.default_rng(seed)
    sequences = _sequences(loci, width, rng)
    copies = _copies(sequences)
    log_rate = 5 + EFFECT * copies
    index = rng.choice(4, (loci, donors, 2), p=[0.4, 0.3, 0.2, 0.1])
    names = [f"D{i:02d}" for i in range(donors)]
    owner = [*range(donors), *range(second_libraries)]
    seen = index if genetic else np.zeros_like(index)
    rate = np.exp(np.take_along_axis(log_rate, seen.reshape(loci, -1), axis=1)).reshape(seen.shape).mean(axis=2)
    totals = rng.uniform(0.6, 1.6, len(owner)) * READS
    counts = rng.poisson(depth * rate[:, owner] * totals / READS)
    libraries = [f"{names[d]}_{owner[:i].count(d) + 1}" for i, d in enumerate(owner)]
    windows = toy_windows(loci, width)
    write_counts(folder / "counts", windows, libraries, [names[d] for d in owner], counts, totals.astype(int), rng)
    write_haplotypes(folder / "haplotypes", windows, names, sequences, index)
    return Toy(folder / "counts", folder / "haplotypes", sequences, index, log_rate, counts, names, libraries)


def with_alleles(toy: Toy, *, swapped: bool) -> None:
    """Give the counts store of a toy the allelic reads of its libraries, 60 a heterozygous window, from the true rates."""
    rng = np.random.default_rng(5)
    owner = [toy.donors.index(name.split("_")[0]) for name in toy.libraries]
    pair = np.take_along_axis(toy.log_rate, toy.index.reshape(len(toy.index), -1), axis=1).reshape(toy.index.shape)[
        :, owner
    ]
    share = 1 / (1 + np.exp(pair[..., 1] - pair[..., 0]))
    first = rng.binomial(60, share) * (toy.index[:, owner, 0] != toy.index[:, owner, 1])
    total = 60 * (toy.index[:, owner, 0] != toy.index[:, owner, 1])
    counts = np.stack([first, total - first], axis=-1)[:, :, None].repeat(2, axis=2)
    if swapped:
        flip = rng.random(counts.shape[:2]) < 0.5
        counts[flip] = counts[flip][..., ::-1]
    np.save(toy.counts / "allelic.npy", counts.astype(np.uint32))
    np.save(toy.counts / "allelic_reference.npy", np.zeros(counts.shape[:2], np.float32))


def toy_windows(loci: int, width: int, folds: int = 4) -> pd.DataFrame:
    """Windows on one chromosome a fold."""
    number = np.arange(loci)
    start = 1000 + 2000 * (number // folds)
    return pd.DataFrame(
        {
            "chrom": [f"chr{i % folds + 1}" for i in number],
            "start": start,
            "end": start + width,
            "name": [f"w{i}" for i in number],
            "score": 0,
            "strand": ".",
            "fold": number % folds,
        }
    )


def write_counts(folder, windows, libraries, donors, counts, totals, rng) -> None:
    """A counts store in which each read starts at a random place of the central half, a third of them on the minus strand."""
    folder.mkdir(parents=True)
    write_windows(windows, folder / "windows.bed")
    width = int(windows["end"].iloc[0] - windows["start"].iloc[0])
    minus = rng.binomial(counts, 1 / 3)
    offsets, positions, values = [0], [], []
    for total, reverse in zip(counts.ravel(), minus.ravel(), strict=True):
        place = rng.integers(width // 4, width - width // 4, total) + width * (np.arange(total) < reverse)
        where, how_many = np.unique(place, return_counts=True)
        positions.append(where)
        values.append(how_many)
        offsets.append(offsets[-1] + len(where))
    np.save(folder / "counts.npy", np.stack([counts - minus, minus], axis=2).astype(np.uint32))
    np.save(folder / "profile_offsets.npy", np.array(offsets, np.int64))
    np.save(folder / "profile_positions.npy", np.concatenate(positions).astype(np.uint16))
    np.save(folder / "profile_values.npy", np.concatenate(values).astype(np.uint16))
    table = {"library": libraries, "donor": donors, "total_reads": totals, "size_factor": totals / totals.mean()}
    pd.DataFrame(table).to_csv(folder / "libraries.tsv", sep="\t", index=False)
    _metadata(folder, {"format": 1, "width": width, "windows_sha256": _sha256(folder / "windows.bed")})


def write_haplotypes(folder, windows, donors, sequences, index) -> None:
    """A haplotype store with the four haplotypes of ``sequences`` ``[locus, 4, width]``, the first as reference."""
    folder.mkdir(parents=True)
    write_windows(windows, folder / "windows.bed")
    loci, each, width = sequences.shape
    np.save(folder / "sequences.npy", sequences.reshape(-1, width).astype(np.uint8))
    np.save(folder / "offsets.npy", np.arange(loci + 1, dtype=np.int64) * each)
    np.save(folder / "index.npy", index.astype(np.uint8))
    per_row = np.tile([0, 1, 1, 2], loci)  # alleles carried: none, the first, the second, both
    np.save(folder / "allele_offsets.npy", np.concatenate([[0], np.cumsum(per_row)]))
    np.save(folder / "alleles.npy", (np.array([0, 1, 0, 1]) + 2 * np.arange(loci)[:, None]).ravel().astype(np.int32))
    names = ["sequences.npy", "offsets.npy", "index.npy", "allele_offsets.npy", "alleles.npy", "windows.bed"]
    document = {
        "format": "allelegro-haplotypes",
        "version": 1,
        "donors": donors,
        "width": width,
        "sizes": {name: (folder / name).stat().st_size for name in names},
        "checksums": {name: _sha256(folder / name) for name in names},
    }
    _metadata(folder, document)


def _sequences(loci: int, width: int, rng: np.random.Generator) -> np.ndarray:
    reference = rng.integers(0, 4, (loci, width))
    slots = width // 2 + np.array([0, -20, 20, -35, 35])
    for locus in range(loci):
        for slot in slots[: rng.integers(1, 6)]:
            reference[locus, slot : slot + len(MOTIF)] = MOTIF
    haplotypes = np.repeat(reference[:, None], 4, axis=1)
    haplotypes[:, 1::2, width // 2 + 3] = (reference[:, width // 2 + 3, None] + 2) % 4
    haplotypes[:, 2:, width // 2 + 10] = (reference[:, width // 2 + 10, None] + 1) % 4
    return haplotypes.astype(np.uint8)


def _copies(sequences: np.ndarray) -> np.ndarray:
    views = np.lib.stride_tricks.sliding_window_view(sequences, len(MOTIF), axis=2)
    return (views == MOTIF).all(axis=-1).sum(axis=-1)


def _metadata(folder: Path, document: dict) -> None:
    (folder / "metadata.json").write_text(json.dumps(document))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
