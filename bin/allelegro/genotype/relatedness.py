"""Relatedness and ancestry from allele dosages."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

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
