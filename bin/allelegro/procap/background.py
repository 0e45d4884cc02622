"""The null model of the peak caller: locally clumped, zero-inflated initiation noise on one strand.

Sites are occupied positions, not reads: a tower of PCR duplicates is one site whatever its height. Heights enter as
*levels*: the sites with at least L reads, L = 1, 2, 4, 8 …, are themselves a sparse point process with its own rate, so a
sharp promoter stands out at a high level while a lone tower stays one site at every level. See docs/methods.md, "PRO-cap".
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SCALES = (8, 16, 32, 64)  # bp scanned downstream of a site; initiation clusters are tens of bp wide
RATE_WINDOWS = (
    1_000,
    5_000,
    10_000,
)  # bp around a site over which its background rate is taken; the largest rate holds
MIN_EXPOSURE = 0.25  # share of a window that must be unmasked for its rate to count
STRATA = 8  # density classes in which clumping is measured: relative clumping is strongest where reads are rare
MIN_STRATUM = 200  # sites a class needs for its own estimate
PRIOR_CLUMPING = 3.0  # excess of companions assumed before any peak is known, high so that the first round is cautious


@dataclass(frozen=True)
class Mask:
    """Disjoint ascending intervals (0-based half-open, genome axis) left out of the background."""

    start: Ints
    end: Ints
    _before: Ints = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_before", np.concatenate([[0], np.cumsum(self.end - self.start)]))

    @classmethod
    def union(cls, start: Ints, end: Ints) -> "Mask":
        """Merge any intervals into disjoint ones."""
        if len(start) == 0:
            return cls(start, end)
        order = np.argsort(start, kind="stable")
        start, reach = start[order], np.maximum.accumulate(end[order])
        first = np.concatenate([[True], start[1:] > reach[:-1]])
        last = np.concatenate([first[1:], [True]])
        return cls(start[first], reach[last])

    def length_before(self, x: Ints) -> Ints:
        """Masked bp at positions below ``x``."""
        if len(self.start) == 0:
            return np.zeros(len(x), np.int64)
        i = np.searchsorted(self.start, x, side="right")
        inside = np.minimum(x, self.end[i - 1]) - self.start[i - 1]
        return np.where(i > 0, self._before[i - 1] + inside, 0)

    def covers(self, x: Ints) -> NDArray[np.bool_]:
        """Whether each position lies in a masked interval."""
        if len(self.start) == 0:
            return np.zeros(len(x), bool)
        i = np.searchsorted(self.start, x, side="right")
        return (i > 0) & (x < self.end[i - 1])


def companions(position: Ints, scale: int) -> Ints:
    """Number of further sites within ``scale`` bp downstream of each site."""
    return np.searchsorted(position, position + scale, side="right") - np.arange(1, len(position) + 1)


def local_rate(position: Ints, background: Ints, mask: Mask, genome: int) -> Floats:
    """Background sites per bp around each position: the largest of the window rates and the genome's.

    ``background`` are the unmasked sites. A window that is mostly masked does not count. ``genome`` is the unmasked length.
    """
    rate = np.full(len(position), (len(background) + 1) / genome)
    for window in RATE_WINDOWS:
        low, high = position - window // 2, position + window // 2
        sites = np.searchsorted(background, high) - np.searchsorted(background, low)
        exposure = window - (mask.length_before(high) - mask.length_before(low))
        usable = exposure >= MIN_EXPOSURE * window
        np.maximum(rate, np.where(usable, sites / np.maximum(exposure, 1), 0), out=rate)
    return rate


@dataclass(frozen=True)
class Clumping:
    """How many more companions a background site has than its local rate predicts, by density class and scale.

    ``excess[class, scale]`` is φ ≥ 0: a background site has on average (1 + φ)·rate·scale companions.
    """

    edges: Floats
    excess: Floats

    @classmethod
    def prior(cls) -> "Clumping":
        """The cautious first guess, before peaks are known."""
        return cls(np.empty(0), np.full((1, len(SCALES)), PRIOR_CLUMPING))

    @classmethod
    def measure(cls, rate: Floats, counts: list[Ints]) -> "Clumping":
        """Measure φ on background sites: ``rate`` per bp and, for each scale, the number of companions."""
        classes = int(np.clip(len(rate) // MIN_STRATUM, 1, STRATA))
        edges = np.unique(np.quantile(rate, np.linspace(0, 1, classes + 1)[1:-1])) if len(rate) else np.empty(0)
        stratum = np.searchsorted(edges, rate, side="right")
        expected = np.bincount(stratum, rate, len(edges) + 1)
        excess = np.empty((len(edges) + 1, len(SCALES)))
        for column, (scale, observed) in enumerate(zip(SCALES, counts, strict=True)):
            seen = np.bincount(stratum, observed, len(edges) + 1)
            excess[:, column] = (seen + 1) / np.maximum(expected * scale + 1, 1e-12) - 1
        return cls(edges, np.maximum(excess, 0))

    def at(self, rate: Floats, column: int) -> Floats:
        """φ for sites of the given local rates at scale ``SCALES[column]``."""
        return self.excess[np.searchsorted(self.edges, rate, side="right"), column]


def tail(observed: Ints, mean: Floats, excess: Floats) -> Floats:
    """P(companions ≥ ``observed``) of a background site, exact at any count.

    For gamma-mixed Poisson noise with squared coefficient of variation φ, the neighbours of a site follow its Palm law: a
    negative binomial of shape 1/φ + 1 and mean (1 + φ)·``mean``; φ = 0 is the Poisson.
    """
    from scipy.special import betainc, gammainc

    observed = np.maximum(observed, 1).astype(np.float64)
    phi = np.maximum(excess, 1e-9)
    clumped = betainc(observed, 1 / phi + 1, phi * mean / (1 + phi * mean))
    return np.where(excess < 1e-6, gammainc(observed, mean), clumped)
