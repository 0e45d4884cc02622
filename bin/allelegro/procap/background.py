"""The null model of the peak caller: locally clumped, zero-inflated initiation noise on one strand.

Sites are occupied positions, not reads: a PCR-duplicate pile-up is one site whatever its height. Heights enter as
*levels*: the sites with at least L reads, L = 1, 2, 4, 8 …, are themselves a sparse point process with its own rate, so a
sharp promoter stands out at a high level while a lone pile-up stays one site at every level. See docs/methods.md, "PRO-cap".
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from allelegro.intervals import Ints, inside

Floats = NDArray[np.float64]

SCALES = (8, 16, 32, 64)  # bp scanned downstream of a site; initiation clusters are tens of bp wide
RATE_WINDOWS = (500, 2_000, 10_000)  # bp around a site over which its background rate is taken; the largest holds
CORE = 150  # bp on both sides of a site kept out of its own background rate
MIN_EXPOSURE = 0.25  # share of a window that must be unmasked for its rate to count
STRATA = 8  # density classes in which clumping is measured: relative clumping is strongest where reads are rare
LEAD_SHARE = 0.05  # share of sites that must lead a clump for the leading ones to stand for all
MIN_STRATUM = 200  # sites a class needs for its own estimate
STUTTER_REACH, STUTTER_RATIO = (
    2,
    5,
)  # bp around a pile-up over which its reads may leak, and how much lower they then are
EXCESS_GRID = np.geomspace(1e-3, 1e3, 61)  # values of φ tried


@dataclass(frozen=True)
class Mask:
    """Disjoint ascending intervals (0-based half-open, genome axis) excluded from the background."""

    start: Ints
    end: Ints
    _before: Ints = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_before", np.concatenate([[0], np.cumsum(self.end - self.start)]))

    def length_before(self, x: Ints) -> Ints:
        """Masked bp at positions below ``x``."""
        if len(self.start) == 0:
            return np.zeros(len(x), np.int64)
        i = np.searchsorted(self.start, x, side="right")
        within = np.minimum(x, self.end[i - 1]) - self.start[i - 1]
        return np.where(i > 0, self._before[i - 1] + within, 0)

    def covers(self, x: Ints) -> NDArray[np.bool_]:
        """Whether each position is in a masked interval."""
        return inside(x, self.start, self.end)


def stutters(position: Ints, count: Ints) -> NDArray[np.bool_]:
    """Sites that may be the leak of a pile-up: at most a fifth as high as one within 2 bp. They are no evidence of their own.

    An initiation cluster falls off more slowly than that, and its sites further out remain.
    """
    leak = np.zeros(len(position), bool)
    for step in range(1, min(STUTTER_REACH, len(position) - 1) + 1):
        near = position[step:] - position[:-step] <= STUTTER_REACH
        leak[step:] |= near & (count[step:] * STUTTER_RATIO <= count[:-step])
        leak[:-step] |= near & (count[:-step] * STUTTER_RATIO <= count[step:])
    return leak


@dataclass(frozen=True)
class Level:
    """The sites of one strand with at least ``reads`` reads, and their neighbourhoods, which no mask changes.

    ``among`` indexes the sites among those of level 1. ``companions[scale]`` counts further sites downstream of each;
    ``low[window]`` and ``high[window]`` bound the sites around each; the first pair bounds its core.
    """

    reads: int
    among: Ints
    position: Ints
    companions: list[NDArray[np.uint8]]
    low: list[NDArray[np.uint32]]
    high: list[NDArray[np.uint32]]

    @classmethod
    def of(cls, position: Ints, count: Ints, reads: int) -> "Level":
        """The level of sites at ``position`` (ascending) with ``count`` reads."""
        among = np.flatnonzero(count >= reads)
        position = position[among]
        first = np.arange(1, len(position) + 1)
        further = [
            (np.searchsorted(position, position + scale, side="right") - first).astype(np.uint8) for scale in SCALES
        ]
        reach = (CORE, *(window // 2 for window in RATE_WINDOWS))
        low = [np.searchsorted(position, position - bp).astype(np.uint32) for bp in reach]
        high = [np.searchsorted(position, position + bp).astype(np.uint32) for bp in reach]
        return cls(reads, among, position, further, low, high)

    def rate(self, free: NDArray[np.bool_], exposure: list[Ints], genome: int) -> Floats:
        """Background sites per bp around each site: the largest of the window rates and the genome's.

        ``free`` marks unmasked sites, ``exposure[window]`` their unmasked surroundings and ``genome`` the unmasked length,
        bp. A window that is mostly masked does not count.
        """
        total = np.concatenate([[0], np.cumsum(free)])
        rate = np.full(len(self.position), (total[-1] + 1) / genome)
        core, *around = (total[high] - total[low] for low, high in zip(self.low, self.high, strict=True))
        for window, sites, unmasked in zip(RATE_WINDOWS, around, exposure, strict=True):
            usable = unmasked >= MIN_EXPOSURE * window
            np.maximum(rate, np.where(usable, (sites - core) / np.maximum(unmasked, 1), 0), out=rate)
        return rate


def exposures(position: Ints, mask: Mask) -> list[Ints]:
    """Unmasked bp around each position without its core, for each of ``RATE_WINDOWS``."""
    core, *around = (
        window - (mask.length_before(position + window // 2) - mask.length_before(position - window // 2))
        for window in (2 * CORE, *RATE_WINDOWS)
    )
    return [unmasked - core for unmasked in around]


@dataclass(frozen=True)
class Clumping:
    """How many more companions a background site has than its local rate predicts, by density class and scale.

    ``excess[class, scale]`` is φ: a background site has on average (1 + φ)·rate·scale companions.
    """

    edges: Floats
    excess: Floats

    @classmethod
    def measure(cls, rate: Floats, counts: list[NDArray[np.uint8]], gap: Ints) -> "Clumping":
        """Measure φ on background sites: ``rate`` per bp, companions at each scale and the ``gap`` bp to the site before.

        Taken are the first sites of clumps, those with none before them within the scale, so that peaks not yet found weigh
        once each; where reads are so dense that such sites are few, all are taken.
        """
        classes = int(np.clip(len(rate) // MIN_STRATUM, 1, STRATA))
        edges = np.unique(np.quantile(rate, np.linspace(0, 1, classes + 1)[1:-1])) if len(rate) else np.empty(0)
        stratum = np.searchsorted(edges, rate, side="right")
        excess = np.zeros((len(edges) + 1, len(SCALES)))
        for number in range(len(edges) + 1):
            own = np.flatnonzero(stratum == number)
            for column, (scale, observed) in enumerate(zip(SCALES, counts, strict=True)):
                first = own[gap[own] > scale]
                leading = len(first) >= LEAD_SHARE * len(own)
                chosen = first if leading else own
                if len(chosen):
                    mean = float(rate[chosen].mean()) * scale
                    excess[number, column] = fit_excess(observed[chosen], mean, leading)
        return cls(edges, excess)

    def at(self, rate: Floats, column: int) -> Floats:
        """φ for sites of the given local rates at scale ``SCALES[column]``."""
        excess: Floats = self.excess[np.searchsorted(self.edges, rate, side="right"), column]
        return excess


def fit_excess(observed: Ints | NDArray[np.uint8], mean: float, leading: bool) -> float:
    """The φ of :data:`EXCESS_GRID` under which the bulk of the companions of background sites is likeliest.

    The bulk reaches one standard deviation above the Poisson mean, short of the companions that peaks have. ``leading``
    sites have none before them over the same length, which makes a high rate less likely (see docs/methods.md).
    """
    from scipy.special import gammaln, xlog1py

    limit = max(1, int(mean + mean**0.5))
    seen = np.bincount(observed[observed <= limit], minlength=limit + 1)
    n, phi = np.arange(limit + 1), EXCESS_GRID[:, None]
    shape, odds = 1 / phi + 1, phi * mean
    if leading:
        odds = odds / (1 + odds)
    log_p = gammaln(n + shape) - gammaln(n + 1) - gammaln(shape) + n * np.log(odds / (1 + odds)) - xlog1py(shape, odds)
    log_p -= np.logaddexp.reduce(log_p, axis=1, keepdims=True)
    return float(EXCESS_GRID[np.argmax(log_p @ seen)])


def tail(observed: Ints | NDArray[np.uint8], mean: Floats, excess: Floats) -> Floats:
    """P(companions ≥ ``observed``) of a background site, exact at any count.

    For gamma-mixed Poisson noise with squared coefficient of variation φ, the neighbours of a site follow its Palm law: a
    negative binomial of shape 1/φ + 1 and mean (1 + φ)·``mean``; φ → 0 is the Poisson.
    """
    from scipy.special import betainc

    phi = np.maximum(excess, 1e-9)
    odds = phi * mean
    return np.asarray(betainc(np.maximum(observed, 1), 1 / phi + 1, odds / (1 + odds)), np.float64)
