"""What donors and libraries do to all haplotypes of a locus alike: trans variation, hidden factors, dispersion, batches."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allelegro.simulate.grammar import CEILING, FLOOR, Grammar, saturate
from allelegro.simulate.haplotypes import Loci
from allelegro.simulate.settings import Settings
from allelegro.simulate.streams import stream

Codes = NDArray[np.uint8]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Donors:
    """What a donor or batch is across the genome: relative deviations of factors and scores of hidden factors."""

    factor: Floats  # [donors, T], in units of the factor's weight
    hidden: Floats  # [donors, K], standard normal


@dataclass(frozen=True)
class LocusShifts:
    """log2 factors of the rate of both haplotypes of each locus of a chromosome; zero columns where nothing varies."""

    donor: NDArray[np.float32]  # [E, donors]
    batch: NDArray[np.float32]  # [E, batches]


def draw_donors(settings: Settings) -> Donors:
    """Deviations of every donor, the same on all chromosomes."""
    rng = stream(settings.seed, "donors")
    factors = settings.activators + settings.repressors
    return Donors(
        rng.normal(0, settings.trans_sd, (settings.individuals, factors)),
        rng.normal(0, 1, (settings.individuals, settings.hidden_factors)),
    )


def draw_batches(settings: Settings, donor: NDArray[np.int64], run: NDArray[np.int64]) -> NDArray[np.int64]:
    """Batch of each library: donors are dealt to batches at random, and a donor's second library goes to the next batch."""
    dealt = stream(settings.seed, "batches").permutation(settings.individuals)
    return np.asarray((dealt[donor] + run) % settings.batches)


def locus_shifts(
    number: int, genome: Codes, loci: Loci, grammar: Grammar, donors: Donors, settings: Settings
) -> LocusShifts:
    """Shifts at the loci of chromosome ``number``.

    A factor whose weight deviates moves a locus by what its occupied sites on the reference contribute, to first order.
    """
    rng = stream(settings.seed, "locus shifts", number)
    count = len(loci.centre)
    donor = np.zeros((count, settings.individuals))
    if settings.trans_sd > 0:
        donor += factor_contributions(genome, loci, grammar, settings) @ donors.factor.T
    if settings.hidden_factors:
        donor += settings.hidden_sd * rng.normal(size=(count, settings.hidden_factors)) @ donors.hidden.T
    if settings.donor_dispersion > 0:
        shape = 1 / settings.donor_dispersion
        donor += np.log2(np.maximum(rng.gamma(shape, 1 / shape, donor.shape), 1e-6))
    batch = rng.normal(0, settings.batch_sd, (count, settings.batches))
    return LocusShifts(donor.astype(np.float32), batch.astype(np.float32))


def factor_contributions(genome: Codes, loci: Loci, grammar: Grammar, settings: Settings) -> Floats:
    """What each factor adds to the log2 activity of each locus on the reference, to first order ``[E, T]``."""
    reach = np.arange(-(settings.width // 2), settings.width // 2)
    dose, pair = grammar.doses(genome[loci.centre[:, None] + reach])
    level = grammar.intercept + grammar.scale * grammar.raw_level(dose, pair, "LCL")
    bound = 1 / (2.0**-level + 2.0**-CEILING)
    slope = bound**2 * 2.0**-level / (2.0**FLOOR + bound)
    return np.asarray(slope[:, None] * grammar.scale * grammar.weights["LCL"] * saturate(dose))
