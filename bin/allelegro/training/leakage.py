"""Rows that must not be separated by folds: disjoint sets, and sequences that share much of their length on either strand."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from allelegro.io.kmers import FEWEST, MAX_BUCKET, SHARED, Rows, sampled_kmers


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
    rows, kmers = sampled_kmers(codes)
    counts = np.bincount(rows, minlength=len(codes))
    first, second = _pairs_within_buckets(rows, kmers)
    if not len(first):
        return first, second
    pair, shared = np.unique(first * len(codes) + second, return_counts=True)
    first, second = pair // len(codes), pair % len(codes)
    enough = shared >= np.maximum(SHARED * np.minimum(counts[first], counts[second]), FEWEST)
    return first[enough], second[enough]


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
