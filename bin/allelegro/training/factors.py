"""What moves many loci of a donor at once: covariates and principal components, as offsets between donors.

A donor's batch, sex, ancestry or the state of its cells changes thousands of loci together, and hides what its alleles
change at one. As in expression-QTL studies (Stegle et al. 2012, doi:10.1038/nprot.2011.457) these factors are regressed
on at each locus; what they explain becomes an offset of the donor's expected log rate there.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.genotype.relatedness import ancestry, oriented
from allelegro.genotype.store import HaplotypeStore
from allelegro.io.covariates import of_donors, read_covariates
from allelegro.statistics import kernel_ridge
from allelegro.training.cohort import Cohort
from allelegro.training.settings import FinetuneSettings

log = logging.getLogger(__name__)

Matrix = NDArray[np.float64]

_LOCI_AT_ONCE = 1024


def hidden_factors(
    settings: FinetuneSettings, cohort: Cohort, haplotypes: Path, loci: NDArray[np.int64]
) -> pd.DataFrame:
    """Factors of the cohort's donors ``[donor, factor]``, each of mean 0 and variance 1; no column when none is asked for.

    Principal components of counts are those of ``loci`` (of training) alone. Raises DataError for a sheet that lacks a
    donor, for more components than the donors have, and for as many factors as donors.
    """
    parts = []
    if settings.covariates is not None:
        table = of_donors(read_covariates(settings.covariates), settings.covariates, cohort.donors)
        parts.append(pd.get_dummies(table, drop_first=True, dtype=float))
    if settings.count_components:
        parts.append(_named(count_components(cohort.rpm[loci], settings.count_components), "counts_PC"))
    if settings.genotype_components:
        store = HaplotypeStore(haplotypes)
        scores = ancestry(store)[0].set_index("donor").loc[cohort.donors]
        if scores.shape[1] < settings.genotype_components:
            raise DataError(
                f"{haplotypes}: {scores.shape[1]} principal components of genotypes (they need 100 common SNVs in different "
                f"windows); lower --genotype-components {settings.genotype_components}"
            )
        parts.append(_named(scores.to_numpy()[:, : settings.genotype_components], "genotypes_PC"))
    factors = pd.concat([part.reset_index(drop=True) for part in parts], axis=1) if parts else pd.DataFrame()
    if factors.shape[1] and factors.shape[1] >= len(cohort.donors) - 1:
        raise DataError(
            f"{factors.shape[1]} covariates and components for {len(cohort.donors)} training donors would explain everything; "
            "give fewer"
        )
    spread = factors.std(ddof=0)
    for name in factors.columns[spread <= 0]:
        log.warning("covariate %s is the same for all training donors and is not used", name)
    factors = factors.loc[:, spread > 0]
    return (factors - factors.mean()) / factors.std(ddof=0)


def _named(scores: Matrix, stem: str) -> pd.DataFrame:
    return pd.DataFrame(scores, columns=[f"{stem}{k + 1}" for k in range(scores.shape[1])])


def count_components(rpm: Matrix, components: int) -> Matrix:
    """Scores ``[donor, components]`` of the principal components of log1p RPM ``[locus, donor]``, each locus standardised."""
    logs = np.log1p(rpm)
    spread = logs.std(axis=1, keepdims=True)
    logs = ((logs - logs.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1))[spread[:, 0] > 0]
    if components > min(len(logs), rpm.shape[1] - 1):
        raise DataError(f"--count-components {components}: {rpm.shape[1]} training donors have fewer; lower it")
    _, vectors = np.linalg.eigh(logs.T @ logs)
    return oriented(vectors[:, ::-1][:, :components])


def between_donors(rpm: Matrix, factors: pd.DataFrame) -> Matrix:
    """Offsets of the log rate ``[locus, donor]``: what factors explain of log1p RPM at each locus, of mean 0 over donors.

    A ridge regression a locus, its penalty chosen by generalised cross-validation, so that a locus on which factors do
    not act keeps what its donors differ in.
    """
    design = factors.to_numpy()
    kernel = design @ design.T / design.shape[1]
    everyone = np.arange(len(design))
    offsets = np.empty(rpm.shape)
    for start in range(0, len(rpm), _LOCI_AT_ONCE):
        part = slice(start, start + _LOCI_AT_ONCE)
        values = np.log1p(rpm[part])
        fitted = kernel_ridge(np.broadcast_to(kernel, (len(values), *kernel.shape)), values, everyone)
        offsets[part] = fitted - fitted.mean(axis=1, keepdims=True)
    return offsets
