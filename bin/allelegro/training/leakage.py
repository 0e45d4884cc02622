"""Rows that must not be separated by folds: disjoint sets, and sequences that share much of their length on either strand."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from allelegro.io.dna import N, reverse_complement

Rows = NDArray[np.int64]

K = 24  # bp of a k-mer: long enough to be rare, short enough that an allele in the middle of 200 bp leaves most of them
SAMPLED = 8  # one k-mer in eight is looked at, the same ones in every sequence
SHARED = 0.3  # share of a sequence's sampled k-mers that makes two sequences alike
MAX_BUCKET = 64  # k-mers of more rows than this are repeats and say nothing about a pair


class Groups:
    """Rows joined into groups."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._first: list[Rows] = []
        self._second: list[Rows] = []

    def join(self, first: Rows, second: Rows) -> None:
        """Put row ``first[i]`` and row ``second[i]`` into one group, for every i."""
        self._first.append(np.asarray(first, np.int64))
        self._second.append(np.asarray(second, np.int64))

    def join_equal(self, keys: NDArray[np.generic]) -> None:
        """Put rows of equal keys ``[rows]`` into one group."""
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        self.join(first[inverse], np.arange(self.rows))

    def labels(self) -> Rows:
        """Group numbers ``[rows]`` from 0, in the order of their first rows."""
        first, second = np.concatenate(self._first), np.concatenate(self._second)
        graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(self.rows, self.rows))
        _, component = connected_components(graph, directed=False)
        _, start, inverse = np.unique(component, return_index=True, return_inverse=True)
        rank = np.empty(len(start), np.int64)
        rank[np.argsort(start)] = np.arange(len(start))
        return rank[inverse]


def similar_sequences(codes: NDArray[np.uint8]) -> tuple[Rows, Rows]:
    """Pairs of rows of ``codes`` ``[n, width]`` that share at least 30 % of their k-mers on either strand.

    Two tiles that overlap by half share over 40 %, two alleles of one base over 85 %. Every eighth 24-mer by hash is compared;
    k-mers of repeats are ignored, so that families of repeats do not chain unrelated elements together.
    """
    rows, kmers = _sampled_kmers(codes)
    counts = np.bincount(rows, minlength=len(codes))
    first, second = _pairs_within_buckets(rows, kmers)
    if not len(first):
        return first, second
    pair, shared = np.unique(first * len(codes) + second, return_counts=True)
    first, second = pair // len(codes), pair % len(codes)
    enough = shared >= np.maximum(SHARED * np.minimum(counts[first], counts[second]), 2)
    return first[enough], second[enough]


def _sampled_kmers(codes: NDArray[np.uint8], block: int = 20_000) -> tuple[Rows, NDArray[np.uint64]]:
    """Distinct (row, canonical k-mer) of the k-mers whose hash is in the sample; those with N are excluded."""
    rows, kmers = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
    for start in range(0, len(codes), block):
        part = codes[start : start + block]
        if part.shape[1] < K:
            break
        canonical = np.minimum(_packed(part), _packed(reverse_complement(part))[:, ::-1])
        hashed = (canonical * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
        unknown = np.lib.stride_tricks.sliding_window_view(part == N, K, axis=1).any(-1)
        row, column = np.nonzero((hashed % np.uint64(SAMPLED) == 0) & ~unknown)
        pairs = np.unique(np.stack([(row + start).astype(np.uint64), canonical[row, column]]), axis=1)
        rows.append(pairs[0].astype(np.int64))
        kmers.append(pairs[1])
    return np.concatenate(rows), np.concatenate(kmers)


def _packed(codes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Every k-mer as an integer of two bits a base, ``[n, width - K + 1]``."""
    width = codes.shape[1] - K + 1
    packed = np.zeros((len(codes), width), np.uint64)
    for offset in range(K):
        packed = (packed << np.uint64(2)) | (codes[:, offset : offset + width] & 3)
    return packed


def _pairs_within_buckets(rows: Rows, kmers: NDArray[np.uint64]) -> tuple[Rows, Rows]:
    """All pairs (smaller row first) that share a k-mer, once for each shared k-mer."""
    order = np.lexsort((rows, kmers))
    rows, kmers = rows[order], kmers[order]
    first, second = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    sizes = np.unique(kmers, return_counts=True)[1]
    size_of = np.repeat(sizes, sizes)
    rows, kmers = rows[size_of <= MAX_BUCKET], kmers[size_of <= MAX_BUCKET]
    for distance in range(1, MAX_BUCKET):
        same = kmers[distance:] == kmers[:-distance]
        if not same.any():
            break
        first.append(rows[:-distance][same])
        second.append(rows[distance:][same])
    return np.concatenate(first), np.concatenate(second)
