"""Effects on people's haplotypes: does the effect of a variant depend on the alleles around it?"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from allelegro.effects.scoring import Scorer
from allelegro.effects.variants import Dropped
from allelegro.effects.windows import AllelePairs, Codes, nearest_windows
from allelegro.genotype.store import HaplotypeStore
from allelegro.io.dna import N, encode

HAPLOTYPE_COLUMNS = [
    "chrom", "pos", "ref", "alt", "id", "model", "window", "backgrounds", "haplotypes",
    "effect_reference", "effect_mean", "effect_sd", "effect_min", "effect_max", "seen",
]  # fmt: skip


def score_haplotypes(
    chunks: Iterator[pd.DataFrame], scorer: Scorer, store: HaplotypeStore, dropped: Dropped
) -> Iterator[pd.DataFrame]:
    """Score single-nucleotide variants on every distinct haplotype of the store window whose centre is nearest.

    Both alleles are put on each haplotype, in a window of the model's width centred on the variant (bases beyond the
    store window are N for every haplotype alike). ``effect_mean`` and ``effect_sd`` weigh each distinct haplotype by
    the people's haplotypes that carry it (``haplotypes``); ``effect_reference`` is the effect on the reference haplotype.
    Haplotypes that lack the position (a deletion) are excluded; variants outside every window or that are not SNVs are
    dropped with their reason.
    """
    for frame in chunks:
        snv = (frame["before"].str.len() == 1) & (frame["after"].str.len() == 1)
        frame = dropped.keep(frame, snv, "not_snv")
        window = nearest_windows(frame, store.windows)
        frame, window = dropped.keep(frame, window >= 0, "outside_windows"), window[window >= 0]
        tables = [
            _one_variant(row, int(at), scorer, store, dropped)
            for (_, row), at in zip(frame.iterrows(), window, strict=True)
        ]
        scored = [table for table in tables if table is not None]
        if scored:
            yield pd.DataFrame(scored, columns=HAPLOTYPE_COLUMNS)


def _one_variant(
    row: pd.Series, window: int, scorer: Scorer, store: HaplotypeStore, dropped: Dropped
) -> list[object] | None:
    first = int(store.offsets[window])
    offset = int(row["start"] - store.starts[window])
    carriers = np.bincount(store.index[window].ravel(), minlength=len(store.distinct(window)))
    places = [(number, int(store.haplotype_offsets(first + number)[offset])) for number in range(len(carriers))]
    places = [(number, place) for number, place in places if place >= 0]
    if not places or store.sequences[first, offset] != encode(row["before"])[0]:
        dropped.add(pd.DataFrame([row]), "ref_mismatch" if places else "on_no_haplotype")
        return None
    frame = pd.DataFrame([row] * len(places))

    def make_pairs(_: pd.DataFrame, width: int) -> AllelePairs:
        cut = np.stack([_centred(store.sequences[first + number], place, width) for number, place in places])
        alleles = [cut.copy(), cut.copy()]
        for codes, allele in zip(alleles, (row["before"], row["after"]), strict=True):
            codes[:, width // 2] = encode(allele)[0]
        return AllelePairs(alleles[0][:, None], np.arange(len(places)), alleles[1][:, None])

    scores = scorer.score(frame, make_pairs, dropped)
    effect = scores["effect"].to_numpy()
    weight = carriers[[number for number, _ in places]].astype(float)
    weight = weight if weight.any() else np.ones_like(weight)
    mean = float(np.average(effect, weights=weight))
    spread = float(np.sqrt(np.average((effect - mean) ** 2, weights=weight)))
    reference = effect[0] if places[0][0] == 0 else np.nan
    return [
        *(row[name] for name in ("chrom", "pos", "ref", "alt", "id")), scorer.name, store.windows["name"].iloc[window],
        len(places), int(weight.sum()), reference, mean, spread, effect.min(), effect.max(),
        scores["seen"].iloc[0],
    ]  # fmt: skip


def _centred(codes: Codes, place: int, width: int) -> Codes:
    """``width`` bases with ``place`` at index ``width // 2``; N beyond the haplotype."""
    padded = np.full(width, N, np.uint8)
    start = place - width // 2
    first, last = max(start, 0), min(start + width, codes.size)
    padded[first - start : last - start] = codes[first:last]
    return padded
