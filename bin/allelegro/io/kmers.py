"""A sample of a sequence's k-mers, the same ones on either strand: what sequences share, wherever they come from."""

import numpy as np
from numpy.typing import NDArray

from allelegro.io.dna import N, reverse_complement

Rows = NDArray[np.int64]
Kmers = NDArray[np.uint64]

K = 24  # bp of a k-mer: long enough to be rare, short enough that an allele in the middle of 200 bp leaves most of them
SAMPLED = 8  # one k-mer in eight is looked at, the same ones in every sequence
SHARED = 0.3  # share of a sequence's sampled k-mers that makes two sequences alike
OF_ELEMENT = 22  # sampled k-mers of an element of 200 bp, on average
FEWEST = 2  # k-mers that alike sequences share at least
MAX_BUCKET = 64  # k-mers of more sequences than this are repeats and say nothing about a pair

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def sampled_kmers(codes: NDArray[np.uint8], block: int = 20_000) -> tuple[Rows, Kmers]:
    """Distinct (row, canonical k-mer) of ``codes`` ``[n, width]`` whose hash is in the sample; those with N are excluded."""
    rows, kmers = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
    for start in range(0, len(codes), block):
        part = codes[start : start + block]
        if part.shape[1] < K:
            break
        canonical = np.minimum(_packed(part), _packed(reverse_complement(part))[:, ::-1])
        hashed = (canonical * _MULTIPLIER) >> np.uint64(40)
        unknown = np.lib.stride_tricks.sliding_window_view(part == N, K, axis=1).any(-1)
        row, column = np.nonzero((hashed % np.uint64(SAMPLED) == 0) & ~unknown)
        pairs = np.unique(np.stack([(row + start).astype(np.uint64), canonical[row, column]]), axis=1)
        rows.append(pairs[0].astype(np.int64))
        kmers.append(pairs[1])
    return np.concatenate(rows), np.concatenate(kmers)


def _packed(codes: NDArray[np.uint8]) -> Kmers:
    """Every k-mer as an integer of two bits a base, ``[n, width - K + 1]``."""
    width = codes.shape[1] - K + 1
    packed = np.zeros((len(codes), width), np.uint64)
    for offset in range(K):
        packed = (packed << np.uint64(2)) | (codes[:, offset : offset + width] & 3)
    return packed


def short(kmers: Kmers) -> NDArray[np.uint32]:
    """Half as many bits for each k-mer: enough to recognise it among millions."""
    return ((kmers * _MULTIPLIER) >> np.uint64(32)).astype(np.uint32)
