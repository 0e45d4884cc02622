"""Relatedness and ancestry of donors, from the allele dosages of a store."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.genotype.store import HaplotypeStore

Floats = NDArray[np.float64]

MAX_SNVS = 50_000  # for relatedness: the estimate's error is below 0.01 long before
COMPONENTS = 10
ENOUGH_SNVS = 100
CONFIDENCE = 1.96
COMMON = 0.05

# Lower bounds of the kinship coefficient (Manichaikul et al. 2010, Table 1).
DEGREES = {"duplicate": 0.354, "first": 0.177, "second": 0.0884, "third": 0.0442}


def king_robust(dosage: NDArray[np.integer[Any]], blocks: int = 20) -> tuple[Floats, Floats]:
    """Kinship of every pair of donors and its standard error, each ``[donors, donors]``.

    ``dosage`` ``[SNVs, donors]`` (0, 1 or 2) is in order of position. The KING-robust estimator for pairs from a population
    with structure (Manichaikul et al., Bioinformatics 2010): 0.5 is expected of a person with themself, 0.25 of
    first-degree relatives, 0 or less of unrelated ones. The error is the jackknife's over ``blocks`` of neighbouring
    SNVs, as linkage makes neighbours repeat one another. NaN where a donor has no heterozygous SNV.
    """
    parts = [part for part in np.array_split(dosage, blocks) if len(part)]
    both, opposite, het = (sum(values) for values in zip(*map(_pair_counts, parts), strict=True))
    kinship = _kinship(both, opposite, het)
    total, squares = np.zeros_like(kinship), np.zeros_like(kinship)
    for part in parts:
        own_both, own_opposite, own_het = _pair_counts(part)
        without = _kinship(both - own_both, opposite - own_opposite, het - own_het) - kinship
        total += without
        squares += without**2
    n = len(parts)
    return kinship, np.sqrt((n - 1) / n * np.maximum(squares - total**2 / n, 0))


def _pair_counts(dosage: NDArray[np.integer[Any]]) -> tuple[Floats, Floats, Floats]:
    """SNVs where both donors are heterozygous, where they are opposite homozygotes, and heterozygous ones of each."""
    het, low, high = ((dosage == copies).astype(np.float32) for copies in (1, 0, 2))
    opposite = (low.T @ high).astype(np.float64)
    return (het.T @ het).astype(np.float64), opposite + opposite.T, het.sum(axis=0, dtype=np.float64)


def _kinship(both: Floats, opposite: Floats, het: Floats) -> Floats:
    fewer, more = np.minimum.outer(het, het), np.maximum.outer(het, het)
    with np.errstate(invalid="ignore", divide="ignore"):
        kinship: Floats = (both - 2 * opposite) / (2 * fewer) + 0.5 - 0.25 * (fewer + more) / fewer
    kinship[fewer == 0] = np.nan
    return kinship


def degree(kinship: float) -> str:
    """Name of the relationship that a kinship coefficient means."""
    return next((name for name, bound in DEGREES.items() if kinship > bound), "unrelated")


def principal_components(dosage: NDArray[np.integer[Any]], components: int) -> tuple[Floats, Floats]:
    """Scores ``[donors, components]`` and the share of variance of each, from ``dosage`` ``[SNVs, donors]``.

    Each SNV is centred and scaled by the binomial deviation of its frequency (Patterson et al., PLoS Genetics 2006).
    Every SNV must vary. The sign of a component is chosen so that its largest score is positive.
    """
    frequency = dosage.mean(axis=1, keepdims=True) / 2
    scaled = (dosage - 2 * frequency) / np.sqrt(2 * frequency * (1 - frequency))
    values, vectors = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    scores = vectors[:, :components] * np.sqrt(values[:components])
    largest = np.abs(scores).argmax(axis=0)
    scores *= np.where(scores[largest, np.arange(scores.shape[1])] < 0, -1, 1)
    return scores, values[:components] / values.sum()


def relatedness(store: HaplotypeStore, seed: int) -> tuple[Floats, Floats, int]:
    """KING-robust kinship of all pairs, its error and the number of SNVs (at most ``MAX_SNVS``, drawn at random)."""
    snvs = _snvs(store)
    if len(snvs) > MAX_SNVS:
        snvs = np.sort(np.random.default_rng(seed).choice(snvs, MAX_SNVS, replace=False))
    return *king_robust(dosages(store, snvs)), len(snvs)


def related_pairs(donors: list[str], kinship: Floats, error: Floats, n_snvs: int, min_kinship: float) -> pd.DataFrame:
    """Pairs above ``min_kinship`` with 95 % confidence, the closest first: ``donor_1 donor_2 kinship se degree snvs``.

    The degree is that of the lower bound.
    """
    first, second = np.triu_indices(len(donors), 1)
    values, errors = kinship[first, second], error[first, second]
    sure = values - CONFIDENCE * errors
    kept = np.flatnonzero(sure > min_kinship)
    kept = kept[np.argsort(-values[kept], kind="stable")]
    names = np.array(donors, dtype=object)
    return pd.DataFrame(
        {
            "donor_1": names[first[kept]],
            "donor_2": names[second[kept]],
            "kinship": values[kept],
            "se": errors[kept],
            "degree": [degree(value) for value in sure[kept]],
            "snvs": n_snvs,
        }
    )


def ancestry(store: HaplotypeStore) -> tuple[pd.DataFrame, np.ndarray, int]:
    """Principal components of common SNVs, one a window: scores (``donor PC1 …``), shares of variance, SNVs used.

    Without enough SNVs or donors the table holds the donors alone.
    """
    table = pd.DataFrame({"donor": store.donors})
    snvs = _snvs(store)
    dosage = dosages(store, snvs)
    frequency = dosage.mean(axis=1) / 2
    common = (frequency >= COMMON) & (frequency <= 1 - COMMON)
    snvs, dosage = snvs[common], dosage[common]
    # One SNV a window: neighbours in linkage would count one locus several times.
    site = store.variants.iloc[snvs]
    _, one_each = np.unique(site["chrom"] + ":" + (site["start"] // store.width).astype(str), return_index=True)
    if len(one_each) < ENOUGH_SNVS or len(store.donors) < 3:
        return table, np.zeros(0), len(one_each)
    scores, shares = principal_components(dosage[one_each], min(COMPONENTS, len(store.donors) - 1))
    for k in range(scores.shape[1]):
        table[f"PC{k + 1}"] = scores[:, k]
    return table, shares, len(one_each)


def _snvs(store: HaplotypeStore) -> np.ndarray:
    variants = store.variants
    return np.flatnonzero((variants["end"] - variants["start"] == 1) & (variants["bases"].str.len() == 1))


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
