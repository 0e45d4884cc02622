"""What any model must be compared with: the locus mean, a linear model on a window's genotypes, and replicate libraries."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
    kernel = np.empty((len(loci), len(columns), len(columns)))
    for place, locus in enumerate(loci):
        dosage = store.copies(int(locus))[1][:, columns].T.astype(np.float64)
        dosage -= dosage[centre_on].mean(axis=0)
        kernel[place] = dosage @ dosage.T
    scale = np.einsum("ldd->ld", kernel)[:, centre_on].mean(axis=1)
    return np.asarray(kernel / np.where(scale > 0, scale, 1)[:, None, None])


def replicate_pairs(libraries: pd.DataFrame) -> list[tuple[str, int, int]]:
    """Donors with two or more libraries, sorted by name, and the rows of their first two."""
    rows = libraries.reset_index(drop=True).groupby("donor", sort=True).indices
    return [(str(donor), int(found[0]), int(found[1])) for donor, found in rows.items() if len(found) > 1]
