"""What a store holds, window by window, and the genotypes that its haplotypes spell."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.genotype.store import HaplotypeStore


def summarise_windows(store: HaplotypeStore) -> pd.DataFrame:
    """One row a window: ``name chrom start end distinct_haplotypes variants heterozygosity private_haplotypes
    reference_share``.

    ``variants`` are alleles that any haplotype of the window carries; ``heterozygosity`` is the share of donors whose two
    sequences differ; ``private_haplotypes`` are carried by one donor alone; ``reference_share`` is that of haplotypes
    equal to the reference.
    """
    rows = np.diff(store.offsets)
    heterozygosity, private, reference, variants = (np.zeros(len(store)) for _ in range(4))
    for window, index in enumerate(store.index):
        first, second = index[:, 0], index[:, 1]
        differs = first != second
        carriers = np.bincount(first, minlength=rows[window]) + np.bincount(second[differs], minlength=rows[window])
        heterozygosity[window] = differs.mean()
        private[window] = (carriers[1:] == 1).sum()
        reference[window] = (index == 0).mean()
        low, high = store.allele_offsets[store.offsets[window : window + 2]]
        variants[window] = len(np.unique(store.alleles[low:high]))
    table = store.windows[["name", "chrom", "start", "end"]].copy()
    table["distinct_haplotypes"] = rows
    table["variants"] = variants.astype(int)
    table["heterozygosity"] = heterozygosity
    table["private_haplotypes"] = private.astype(int)
    table["reference_share"] = reference
    return table


def dosages(store: HaplotypeStore, variants: NDArray[np.integer[Any]]) -> NDArray[np.int8]:
    """Copies of the chosen variants (rows of ``store.variants``) that each donor carries, ``[variants, donors]``.

    Read from the haplotypes of the window whose centre is nearest to the variant. A missing genotype is the reference.
    """
    wanted = np.full(len(store.variants), -1, np.int64)
    wanted[variants] = np.arange(len(variants))
    position = store.variants["start"].to_numpy()
    centres = (store.windows["start"] + store.width // 2).to_numpy()
    nearest = np.full(len(variants), np.iinfo(np.int64).max)
    found = np.zeros((len(variants), len(store.donors)), np.int8)
    for window in range(len(store)):
        first, last = store.offsets[window : window + 2]
        edges = store.allele_offsets[first : last + 1]
        carried = store.alleles[edges[0] : edges[-1]]
        row = np.repeat(np.arange(last - first), np.diff(edges))
        here = np.unique(carried[wanted[carried] >= 0])
        slots = wanted[here]
        distance = np.abs(position[here] - centres[window])
        closer = distance < nearest[slots]
        here, slots = here[closer], slots[closer]
        if not len(here):
            continue
        nearest[slots] = distance[closer]
        table = np.zeros((last - first, len(here)), np.int8)
        column = np.searchsorted(here, carried)
        mine = column < len(here)
        mine[mine] = here[column[mine]] == carried[mine]
        table[row[mine], column[mine]] = 1
        found[slots] = (table[store.index[window, :, 0]] + table[store.index[window, :, 1]]).T
    return found
