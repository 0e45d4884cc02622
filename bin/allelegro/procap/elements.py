"""Divergent elements: a minus-strand peak and the plus-strand peak downstream of it that start transcription apart."""

import numpy as np
import pandas as pd

from allelegro.intervals import concatenated_ranges
from allelegro.io.tables import COUNT
from allelegro.procap.peaks import PEAK_KINDS

ELEMENT_KINDS = PEAK_KINDS | {"plus_summit": COUNT, "minus_summit": COUNT}
ELEMENT_COLUMNS = list(ELEMENT_KINDS)


def pair_elements(peaks: pd.DataFrame, max_distance: int, min_balance: float) -> pd.DataFrame:
    """Pair peaks into divergent elements, each peak in at most one.

    A pair is a minus summit at most ``max_distance`` bp upstream (left) of a plus summit whose weaker strand holds at least
    ``min_balance`` of the pair's reads. Where peaks compete, the pair with the stronger weaker strand wins, then the closer.
    Returns the elements format of docs/formats.md.
    """
    pairs = _possible_pairs(peaks, max_distance, min_balance)
    taken: set[int] = set()
    chosen = []
    for plus, minus in pairs:
        if plus not in taken and minus not in taken:
            taken.update((plus, minus))
            chosen.append((plus, minus))
    plus_peaks, minus_peaks = (peaks.loc[[pair[side] for pair in chosen]].reset_index(drop=True) for side in (0, 1))
    return _element_table(plus_peaks, minus_peaks, peaks["chrom"].drop_duplicates().tolist())


def _element_table(plus: pd.DataFrame, minus: pd.DataFrame, contigs: list[str]) -> pd.DataFrame:
    elements = pd.DataFrame(
        {
            "chrom": plus["chrom"],
            "start": np.minimum(plus["start"], minus["start"]),
            "end": np.maximum(plus["end"], minus["end"]),
            "name": "",
            "score": np.minimum(plus["score"], minus["score"]),
            "strand": ".",
            "qvalue": np.maximum(plus["qvalue"], minus["qvalue"]),
            "reads": plus["reads"] + minus["reads"],
            "summit": (plus["summit"] + minus["summit"]) // 2,
            "plus_summit": plus["summit"],
            "minus_summit": minus["summit"],
        },
        columns=ELEMENT_COLUMNS,
    )
    rank = elements["chrom"].map({contig: number for number, contig in enumerate(contigs)})
    elements = elements.iloc[np.lexsort((elements["start"], rank))].reset_index(drop=True)
    elements["name"] = [f"element_{number}" for number in range(1, len(elements) + 1)]
    return elements


def _possible_pairs(peaks: pd.DataFrame, max_distance: int, min_balance: float) -> list[tuple[int, int]]:
    """Index pairs (plus, minus), best first."""
    found = []
    for _, contig in peaks.groupby("chrom", sort=False):
        plus = contig[contig["strand"] == "+"].sort_values("summit")
        minus = contig[contig["strand"] == "-"].sort_values("summit")
        low = np.searchsorted(minus["summit"], plus["summit"] - max_distance, side="left")
        high = np.searchsorted(minus["summit"], plus["summit"], side="right")
        size = high - low
        left = np.repeat(np.arange(len(plus)), size)
        right = concatenated_ranges(low, size)
        reads = np.stack([plus["reads"].to_numpy()[left], minus["reads"].to_numpy()[right]])
        distance = plus["summit"].to_numpy()[left] - minus["summit"].to_numpy()[right]
        balanced = reads.min(0) >= min_balance * reads.sum(0)
        found.append(
            pd.DataFrame(
                {
                    "plus": plus.index.to_numpy()[left],
                    "minus": minus.index.to_numpy()[right],
                    "weaker": reads.min(0),
                    "distance": distance,
                }
            )[balanced]
        )
    if not found:
        return []
    best = pd.concat(found).sort_values(["weaker", "distance", "plus"], ascending=[False, True, True])
    return list(zip(best["plus"], best["minus"], strict=True))
