"""Relatedness and ancestry of donors, from the allele dosages of a store."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.genotype.store import HaplotypeStore

Floats = NDArray[np.float64]

MAX_SNVS = 50_000  # for relatedness: the estimate's error is below 0.01 long before
MOST_DOSAGES = 2**28  # SNVs x donors held in memory; of more donors fewer SNVs are taken
BLOCK = 500  # donors compared at once with as many others
MANY_DONORS = 2_000  # from which only the leading components are computed, never the donors x donors matrix
COMPONENTS = 10
ENOUGH_SNVS = 100
CONFIDENCE = 1.96
COMMON = 0.05

# Lower bounds of the kinship coefficient (Manichaikul et al. 2010, Table 1).
DEGREES = {"duplicate": 0.354, "first": 0.177, "second": 0.0884, "third": 0.0442}


def king_robust(
    dosage: NDArray[np.integer[Any]], blocks: int = 20, others: NDArray[np.integer[Any]] | None = None
) -> tuple[Floats, Floats]:
    """Kinship of every pair of donors and its standard error, each ``[donors, donors]``, or ``[donors, others]``.

    ``dosage`` ``[SNVs, donors]`` (0, 1 or 2) is in order of position; so is that of ``others``. The KING-robust estimator
    for pairs from a population with structure (Manichaikul et al., Bioinformatics 2010): 0.5 is expected of a person with
    themself, 0.25 of first-degree relatives, 0 or less of unrelated ones. The error is the jackknife's over ``blocks`` of
    neighbouring SNVs, as linkage makes neighbours repeat one another. NaN where a donor has no heterozygous SNV.
    """
    second = dosage if others is None else others
    parts = zip(np.array_split(dosage, blocks), np.array_split(second, blocks), strict=True)
    counts = [_pair_counts(mine, theirs) for mine, theirs in parts if len(mine)]
    both, opposite, het, other_het = (
        np.asarray(np.sum(values, axis=0, dtype=np.float64)) for values in zip(*counts, strict=True)
    )
    kinship = _kinship(both, opposite, het, other_het)
    total, squares = np.zeros_like(kinship), np.zeros_like(kinship)
    for own_both, own_opposite, own_het, own_other in counts:
        without = _kinship(both - own_both, opposite - own_opposite, het - own_het, other_het - own_other) - kinship
        total += without
        squares += without**2
    n = len(counts)
    return kinship, np.sqrt((n - 1) / n * np.maximum(squares - total**2 / n, 0))


_Singles = NDArray[np.float32]  # holds whole numbers exactly up to 2^24 SNVs


def _pair_counts(
    dosage: NDArray[np.integer[Any]], others: NDArray[np.integer[Any]]
) -> tuple[_Singles, _Singles, _Singles, _Singles]:
    """SNVs where both of a pair are heterozygous, where they are opposite homozygotes, and heterozygous ones of each."""
    het, low, high = ((dosage == copies).astype(np.float32) for copies in (1, 0, 2))
    other_het, other_low, other_high = ((others == copies).astype(np.float32) for copies in (1, 0, 2))
    opposite = low.T @ other_high + high.T @ other_low
    return het.T @ other_het, opposite, het.sum(axis=0), other_het.sum(axis=0)


def _kinship(both: Floats, opposite: Floats, het: Floats, other_het: Floats) -> Floats:
    fewer, more = np.minimum.outer(het, other_het), np.maximum.outer(het, other_het)
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
    Every SNV must vary. The sign of a component is chosen so that its largest score is positive. Of more than
    ``MANY_DONORS`` donors the components are found one after the other (Lanczos), with memory for the dosages alone.
    """
    frequency: Floats = dosage.mean(axis=1, keepdims=True, dtype=np.float64) / 2
    kind: Any = np.float32 if dosage.shape[1] > MANY_DONORS else np.float64
    scaled = dosage.astype(kind)
    scaled -= (2 * frequency).astype(kind)
    scaled /= np.sqrt(2 * frequency * (1 - frequency)).astype(kind)
    if dosage.shape[1] > MANY_DONORS:
        values, vectors, whole = _leading(scaled, components)
    else:
        values, vectors = np.linalg.eigh(scaled.T @ scaled / len(scaled))
        values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
        whole = float(values.sum())
    return oriented(vectors[:, :components] * np.sqrt(values[:components])), values[:components] / whole


def oriented(scores: Floats) -> Floats:
    """Scores ``[donors, components]`` with the sign of each component that makes its largest one positive."""
    largest = np.abs(scores).argmax(axis=0)
    return np.asarray(scores * np.where(scores[largest, np.arange(scores.shape[1])] < 0, -1, 1))


def _leading(scaled: NDArray[np.float32], components: int) -> tuple[Floats, Floats, float]:
    """The largest eigenvalues of the donors' covariance with their vectors, and the sum of all."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    snvs, donors = scaled.shape
    covariance: Any = LinearOperator(
        (donors, donors), matvec=lambda vector: scaled.T @ (scaled @ vector.astype(np.float32)) / snvs, dtype=np.float64
    )
    start = np.random.default_rng(0).normal(size=donors)
    leading: Any = eigsh
    values, vectors = leading(covariance, k=components, which="LA", v0=start, tol=1e-5)
    whole = sum(float(np.square(row, dtype=np.float64).sum()) for row in scaled) / snvs
    return np.maximum(values[::-1], 0), vectors[:, ::-1], whole


def _sampled(store: HaplotypeStore, seed: int) -> NDArray[np.int8]:
    """Dosages of SNVs for kinship: at most ``MAX_SNVS``, fewer of so many donors that they would be ``MOST_DOSAGES``."""
    snvs = _snvs(store)
    most = min(MAX_SNVS, max(MOST_DOSAGES // len(store.donors), 1))
    if len(snvs) > most:
        snvs = np.sort(np.random.default_rng(seed).choice(snvs, most, replace=False))
    return dosages(store, snvs)


def _blocks(dosage: NDArray[np.int8]) -> Iterator[tuple[int, int, Floats, Floats]]:
    """Kinship and its error of a block of donors with another: the first donor of each, and the two matrices."""
    donors = dosage.shape[1]
    for first in range(0, donors, BLOCK):
        for second in range(first, donors, BLOCK):
            others = dosage[:, second : second + BLOCK]
            yield first, second, *king_robust(dosage[:, first : first + BLOCK], others=others)


def kinship_pairs(store: HaplotypeStore, min_kinship: float, seed: int) -> tuple[pd.DataFrame, dict[str, int], int]:
    """Pairs above ``min_kinship`` with 95 % confidence, how many pairs have each degree, and the SNVs behind it.

    The table (``donor_1 donor_2 kinship se degree snvs``) has the closest first; a degree is that of the lower bound. Donors
    are compared block by block, at most ``MAX_SNVS`` SNVs drawn at random: memory does not grow with the pairs of donors, only with those that are listed.
    """
    dosage, tables, degrees = _sampled(store, seed), [], dict.fromkeys(DEGREES, 0)
    for first, second, kinship, error in _blocks(dosage):
        sure = kinship - CONFIDENCE * error
        if first == second:
            sure[np.tril_indices(len(sure))] = np.nan  # each pair once, nobody with themself
        for name, count in _by_degree(sure).items():
            degrees[name] += count
        rows, columns = np.nonzero(sure > min_kinship)
        tables.append(
            pd.DataFrame(
                {
                    "donor_1": rows + first,
                    "donor_2": columns + second,
                    "kinship": kinship[rows, columns],
                    "se": error[rows, columns],
                    "degree": [degree(value) for value in sure[rows, columns]],
                }
            )
        )
    pairs = pd.concat(tables).sort_values(["donor_1", "donor_2"]).sort_values("kinship", ascending=False, kind="stable")
    names = np.array(store.donors, dtype=object)
    for column in ("donor_1", "donor_2"):
        pairs[column] = names[pairs[column].to_numpy(np.int64)]
    return pairs.reset_index(drop=True).assign(snvs=len(dosage)), degrees, len(dosage)


def _by_degree(kinship: Floats) -> dict[str, int]:
    """Pairs of each degree of relationship; NaN is none."""
    bounds = [np.inf, *DEGREES.values()]
    return {
        name: int(((kinship > low) & (kinship <= high)).sum())
        for name, low, high in zip(DEGREES, bounds[1:], bounds, strict=False)
    }


def families(store: HaplotypeStore, seed: int = 0, min_kinship: float = DEGREES["second"]) -> dict[str, int]:
    """A number for each donor, the same for donors that are linked by kinship above ``min_kinship`` with 95 % confidence.

    With fewer than ``ENOUGH_SNVS`` SNVs, or alleles that the store does not name, nobody is known to be related.
    """
    alone = {donor: place for place, donor in enumerate(store.donors)}
    if not store.names_alleles or len(_snvs(store)) < ENOUGH_SNVS:
        return alone
    for pair in kinship_pairs(store, min_kinship, seed)[0].itertuples():
        first, second = sorted((alone[str(pair.donor_1)], alone[str(pair.donor_2)]))
        alone = {donor: first if family == second else family for donor, family in alone.items()}
    return alone


def ancestry(store: HaplotypeStore, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray, int]:
    """Principal components of common SNVs, one a window: scores (``donor PC1 …``), shares of variance, SNVs used.

    Without enough SNVs or donors the table holds the donors alone. Where donors are so many that dosages would be more
    than ``MOST_DOSAGES``, a random part of the SNVs is used.
    """
    table = pd.DataFrame({"donor": store.donors})
    snvs = _snvs(store)
    frequency = np.zeros(len(snvs))
    for slots, rows in _dosage_rows(store, snvs):
        frequency[slots] = rows.mean(axis=1) / 2
    snvs = snvs[(frequency >= COMMON) & (frequency <= 1 - COMMON)]
    # One SNV a window: neighbours in linkage would count one locus several times.
    site = store.variants.iloc[snvs]
    _, one_each = np.unique(site["chrom"] + ":" + (site["start"] // store.width).astype(str), return_index=True)
    if len(one_each) < ENOUGH_SNVS or len(store.donors) < 3:
        return table, np.zeros(0), len(one_each)
    most = max(MOST_DOSAGES // 2 // len(store.donors), ENOUGH_SNVS)
    if len(one_each) > most:
        one_each = np.sort(np.random.default_rng(seed).choice(one_each, most, replace=False))
    chosen = dosages(store, np.sort(snvs[one_each]))
    scores, shares = principal_components(chosen, min(COMPONENTS, len(store.donors) - 1))
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
    found = np.zeros((len(variants), len(store.donors)), np.int8)
    for slots, rows in _dosage_rows(store, variants):
        found[slots] = rows
    return found


def _dosage_rows(
    store: HaplotypeStore, variants: NDArray[np.integer[Any]]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int8]]]:
    """Places among ``variants`` and the copies of these, window by window, each variant once."""
    wanted = np.full(len(store.variants), -1, np.int64)
    wanted[variants] = np.arange(len(variants))
    position = store.variants["start"].to_numpy()
    centres = store.starts + store.width // 2
    nearest = np.full(len(variants), np.iinfo(np.int64).max)
    owner = np.full(len(variants), -1, np.int64)

    def carried_in(window: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Alleles of a window's haplotypes, the haplotype of each, and the wanted ones among the alleles."""
        first, last = store.offsets[window : window + 2]
        edges = store.allele_offsets[first : last + 1]
        carried = store.alleles[edges[0] : edges[-1]]
        return carried, np.repeat(np.arange(last - first), np.diff(edges)), np.unique(carried[wanted[carried] >= 0])

    for window in range(len(store)):
        here = carried_in(window)[2]
        slots = wanted[here]
        distance = np.abs(position[here] - centres[window])
        closer = distance < nearest[slots]
        nearest[slots[closer]], owner[slots[closer]] = distance[closer], window
    for window in np.unique(owner[owner >= 0]).tolist():
        carried, row, here = carried_in(window)
        here = here[owner[wanted[here]] == window]
        table = np.zeros((int(np.diff(store.offsets[window : window + 2])[0]), len(here)), np.int8)
        column = np.searchsorted(here, carried)
        mine = column < len(here)
        mine[mine] = here[column[mine]] == carried[mine]
        table[row[mine], column[mine]] = 1
        yield wanted[here], (table[store.index[window, :, 0]] + table[store.index[window, :, 1]]).T
