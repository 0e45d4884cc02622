"""What any model must be compared with: the locus mean, a linear model on a window's genotypes, and replicate libraries."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.intervals import concatenated_ranges
from allelegro.statistics import kernel_ridge
from allelegro.training.cohort import Cohort

if TYPE_CHECKING:
    from allelegro.genotype.store import HaplotypeStore

Matrix = NDArray[np.float64]

_LOCI_AT_ONCE = 256


def locus_mean(cohort: Cohort, loci: NDArray[np.int64], donors: NDArray[np.int64]) -> Matrix:
    """Mean RPM of the training ``donors`` at each training locus, for every donor alike; NaN at other loci."""
    predicted = np.full(cohort.counts.shape, np.nan)
    predicted[loci] = cohort.rpm[np.ix_(loci, donors)].mean(axis=1, keepdims=True)
    return predicted


def linear_genotypes(
    store: "HaplotypeStore", cohort: Cohort, loci: NDArray[np.int64], donors: NDArray[np.int64]
) -> Matrix:
    """RPM ``[locus, donor]`` by ridge regression of log1p RPM on the alleles of each locus's window; NaN at other loci.

    One model a locus, fitted to the training ``donors`` (rows of ``cohort.donors``), as an expression-QTL study would; the
    penalty is chosen per locus by generalised cross-validation. It can say nothing about a locus it was not fitted to.
    """
    predicted = np.full(cohort.counts.shape, np.nan)
    columns = np.array([store.donor(name) for name in cohort.donors])
    for start in range(0, len(loci), _LOCI_AT_ONCE):
        part = loci[start : start + _LOCI_AT_ONCE]
        kernel = genotype_kernel(store, part, columns, donors)
        predicted[part] = np.expm1(np.maximum(kernel_ridge(kernel, np.log1p(cohort.rpm[part]), donors), 0))
    return predicted


def genotype_kernel(
    store: "HaplotypeStore", loci: NDArray[np.int64], columns: NDArray[np.int64], centre_on: NDArray[np.int64]
) -> Matrix:
    """Inner products of donors' allele dosages ``[locus, donor, donor]``, centred on some donors, their mean diagonal 1."""
    carried = haplotype_alleles(store, loci)
    copies = (np.asarray(store.index[loci])[:, columns, :, None] == np.arange(carried.shape[1])).sum(axis=2)
    dosage = copies @ carried
    dosage -= dosage[:, centre_on].mean(axis=1, keepdims=True)
    kernel = dosage @ dosage.transpose(0, 2, 1)
    scale = np.einsum("ldd->ld", kernel)[:, centre_on].mean(axis=1)
    return np.asarray(kernel / np.where(scale > 0, scale, 1)[:, None, None])


def haplotype_alleles(store: "HaplotypeStore", loci: NDArray[np.int64]) -> Matrix:
    """Which alleles of its window each haplotype carries, ``[locus, haplotype, allele]`` 0 or 1, padded with 0."""
    first, rows = store.offsets[loci], store.offsets[loci + 1] - store.offsets[loci]
    row = concatenated_ranges(first, rows)
    row_locus, row_local = np.repeat(np.arange(len(loci)), rows), concatenated_ranges(np.zeros_like(rows), rows)
    begin, sizes = store.allele_offsets[row], store.allele_offsets[row + 1] - store.allele_offsets[row]
    entry = np.repeat(np.arange(len(row)), sizes)
    alleles = np.asarray(store.alleles)[concatenated_ranges(begin, sizes)].astype(np.int64)
    key = row_locus[entry] * (int(alleles.max(initial=0)) + 1) + alleles
    _, found, number = np.unique(key, return_index=True, return_inverse=True)
    per_locus = np.bincount(row_locus[entry][found], minlength=len(loci))
    local = number - (np.cumsum(per_locus) - per_locus)[row_locus[entry]]
    carried = np.zeros((len(loci), int(rows.max()), max(1, int(per_locus.max(initial=0)))))
    carried[row_locus[entry], row_local[entry], local] = 1
    return carried


def replicate_pairs(libraries: pd.DataFrame) -> list[tuple[str, int, int]]:
    """Donors with two or more libraries, sorted by name, and the rows of their first two."""
    rows = libraries.reset_index(drop=True).groupby("donor", sort=True).indices
    return [(str(donor), int(found[0]), int(found[1])) for donor, found in rows.items() if len(found) > 1]
