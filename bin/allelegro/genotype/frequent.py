"""Where donors differ: alleles near a window's centre that a good part of them carries and a good part does not."""

import numpy as np
import pandas as pd

from allelegro.errors import DataError
from allelegro.genotype.store import HaplotypeStore

COMMON = 0.1  # of the donors carry the allele, and as many carry another; at least FEWEST
FEWEST = 2


def common_alleles(store: HaplotypeStore, window: int, span: int) -> list[int]:
    """Rows of ``store.variants`` that replace bases in the central ``span`` bp of a window and are common, by position."""
    found, copies = store.copies(window)
    fewest = max(FEWEST, COMMON * copies.shape[1])
    region = store.windows.iloc[window]
    first = (int(region["start"]) + int(region["end"]) - span) // 2
    positions = store.variants["pos"].to_numpy(np.int64)[found]
    carriers, others = (copies > 0).sum(axis=1), (copies < 2).sum(axis=1)
    near = (first < positions) & (positions <= first + span)
    return [int(row) for row in found[near & (np.minimum(carriers, others) >= fewest)]]


def check_same_windows(windows: pd.DataFrame, store: HaplotypeStore) -> None:
    """Raise DataError unless the store was made of these windows."""
    columns = ["chrom", "start", "end", "name"]
    if not windows[columns].reset_index(drop=True).equals(store.windows[columns]):
        raise DataError(f"{store.folder}: made of other windows; run extract_haplotypes.py on these")
