"""Observed allelic imbalance: which of a donor's two haplotypes its allelic reads came from, by window and donor."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allelegro.procap.allelic_events import fit_null, imbalance
from allelegro.statistics import benjamini_hochberg
from allelegro.training.cohort import LN2, AllelicReads

Matrix = NDArray[np.float64]

LEAST_READS = 5  # with fewer, the half read that is added to each haplotype decides the ratio
FDR = 0.05


@dataclass(frozen=True)
class Imbalance:
    """log2 of reads of haplotype 0 over haplotype 1, ``[locus, unit]`` (donors or libraries), less the reference bias.

    ``observed`` is NaN with fewer than ``LEAST_READS`` reads and where the two haplotypes are alike. ``information`` is the
    number of independent reads that the ratio is worth, ``n / (1 + (n - 1) / (c + 1))`` with the fitted concentration c.
    ``significant`` marks imbalance at an FDR of 5 % over all.
    """

    observed: Matrix
    information: Matrix
    significant: NDArray[np.bool_]

    def of(self, loci: NDArray[np.int64], units: NDArray[np.int64]) -> "Imbalance":
        """That of some loci and units."""
        box = np.ix_(loci, units)
        return Imbalance(self.observed[box], self.information[box], self.significant[box])

    @property
    def asked(self) -> NDArray[np.bool_]:
        """Where there is something to predict."""
        return np.isfinite(self.observed)


def observed_imbalance(reads: AllelicReads, differ: NDArray[np.bool_], *, by_library: bool = False) -> Imbalance | None:
    """Imbalance of donors (or of single libraries) whose haplotypes ``differ`` ``[locus, donor]``; None where there is none.

    Each library's preference for reference bases and one concentration are fitted to all its windows at balance
    (:func:`~allelegro.procap.allelic_events.fit_null`); p is that of a likelihood ratio over the libraries of a donor.
    """
    units = len(reads.donor) if by_library else differ.shape[1]
    unit_of = np.arange(units) if by_library else reads.donor
    locus, library = np.nonzero((reads.counts.sum(axis=2) > 0) & differ[:, reads.donor])
    if not len(locus):
        return None
    first, second = reads.counts[locus, library].astype(np.float64).T
    direction = reads.reference[locus, library].astype(np.float64)
    bias, concentration = fit_null(second, first, library, len(reads.donor), direction)
    offset = bias[library] * direction
    cell = locus * units + unit_of[library]
    size = len(differ) * units
    k0, k1, moved = (np.bincount(cell, value, size) for value in (first, second, offset * (first + second)))
    n = k0 + k1
    kept = np.flatnonzero(n >= LEAST_READS)
    if not len(kept):
        return None
    observed, information, significant = np.full(size, np.nan), np.zeros(size), np.zeros(size, np.bool_)
    observed[kept] = (np.log((k0 + 0.5) / (k1 + 0.5))[kept] - moved[kept] / n[kept]) / LN2
    information[kept] = n[kept] / (1 + (n[kept] - 1) / (concentration + 1))
    tested = np.isin(cell, kept)
    site = np.searchsorted(kept, cell[tested])
    _, p = imbalance(second[tested], first[tested], offset[tested], concentration, site)
    significant[kept] = benjamini_hochberg(p) < FDR
    shape = (len(differ), units)
    return Imbalance(observed.reshape(shape), information.reshape(shape), significant.reshape(shape))
