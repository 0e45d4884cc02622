"""A reference genome with regional GC and CpG depletion, and the elements written into it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.io.dna import reverse_complement
from allelegro.simulate.grammar import INITIATOR, INITIATOR_START, LOCAL_REACH, TSS_OFFSET, Grammar
from allelegro.simulate.settings import Settings

Codes = NDArray[np.uint8]
GC_MEAN, GC_SD, GC_BLOCK = 0.41, 0.05, 2000
PROMOTER_GC = 0.58
CPG_DEPLETION = 0.75
SITES, SITES_SHAPE = 8.0, 3.0  # motif instances written into an element: gamma-Poisson, partners of pairs not counted
INSTANCE_SHARPNESS = (
    1.5  # exponent of motif probabilities when an instance is drawn: bound sites are better than average
)
ISLAND = 400  # bp on either side of a promoter that keep its CpGs
CLOSED_SLOT = 600  # bp between cCREs that are closed in the LCL
ARM = 500  # bp on either side of an element's centre in which its sites lie
INITIATOR_SHARE, ACTIVATOR_SHARE, DISTAL_SHARE, PAIRED_SHARE = 0.85, 0.78, 0.6, 0.4
EDGE = 2000  # bp at chromosome ends without variants or elements


@dataclass(frozen=True)
class Elements:
    """Elements of one chromosome, ordered by position."""

    centre: NDArray[np.int64]  # 0-based
    promoter: NDArray[np.bool_]
    open: NDArray[np.bool_]  # transcribed in the LCL; the rest are cCREs for the MPRA library only


def background(length: int, rng: np.random.Generator, gc: float = GC_MEAN) -> Codes:
    """Random DNA whose GC drifts by region and whose CpGs are depleted by deamination to TpG or CpA."""
    blocks = -(-length // GC_BLOCK)
    drift = np.empty(blocks)
    drift[0] = rng.normal(0, GC_SD)
    innovation = rng.normal(0, GC_SD * np.sqrt(1 - 0.8**2), blocks)
    for block in range(1, blocks):
        drift[block] = 0.8 * drift[block - 1] + innovation[block]
    level = np.repeat(np.clip(gc + drift, 0.3, 0.7), GC_BLOCK)[:length]
    strong = rng.random(length) < level
    codes = np.where(strong, rng.integers(1, 3, length), 3 * rng.integers(0, 2, length)).astype(np.uint8)
    deplete_cpg(codes, CPG_DEPLETION, rng)
    return codes


def deplete_cpg(codes: Codes, share: float, rng: np.random.Generator) -> None:
    """Deaminate ``share`` of the CpGs in place."""
    cpg = np.flatnonzero((codes[:-1] == 1) & (codes[1:] == 2))
    cpg = cpg[rng.random(len(cpg)) < share]
    forward = rng.random(len(cpg)) < 0.5
    codes[cpg[forward]] = 3
    codes[cpg[~forward] + 1] = 0


def place_elements(loci: int, closed: int, settings: Settings, rng: np.random.Generator) -> tuple[Elements, int]:
    """Lay ``loci`` open elements and ``closed`` cCREs on one chromosome; returns them and its length."""
    length = loci * settings.spacing + 2 * EDGE
    jitter = rng.integers(-settings.spacing // 8, settings.spacing // 8 + 1, loci)
    open_centre = EDGE + settings.spacing // 2 + np.arange(loci) * settings.spacing + jitter
    slots = np.arange(EDGE, length - EDGE, CLOSED_SLOT) + CLOSED_SLOT // 2
    nearest = np.abs(slots - open_centre[np.searchsorted(open_centre, slots).clip(0, loci - 1)])
    before = np.abs(slots - open_centre[(np.searchsorted(open_centre, slots) - 1).clip(0, loci - 1)])
    slots = slots[np.minimum(nearest, before) > settings.width / 2 + CLOSED_SLOT / 2]
    if closed > len(slots):
        raise DataError(
            f"--mpra-elements {settings.mpra_elements}: {closed} do not fit on a chromosome with room for {len(slots)}; "
            "lower it or raise --loci or --spacing"
        )
    closed_centre = rng.choice(slots, closed, replace=False) + rng.integers(-80, 81, closed)
    centre = np.concatenate([open_centre, closed_centre])
    is_open = np.arange(len(centre)) < loci
    promoter = rng.random(len(centre)) < np.where(is_open, 0.5, 0.15)
    order = np.argsort(centre)
    return Elements(centre[order], promoter[order], is_open[order]), length


def build_chromosome(elements: Elements, length: int, grammar: Grammar, rng: np.random.Generator) -> Codes:
    """Background with every element's sequence written into it."""
    codes = background(length, rng)
    writer = ElementWriter(grammar, rng)
    for centre, promoter in zip(elements.centre, elements.promoter, strict=True):
        writer.write(codes, int(centre), bool(promoter))
    return codes


class ElementWriter:
    """Writes elements: composition, initiators on both strands, then motif instances drawn from sharpened PWMs."""

    def __init__(self, grammar: Grammar, rng: np.random.Generator) -> None:
        self.grammar, self.rng = grammar, rng
        weights = grammar.weights["LCL"]
        self.activators, self.repressors = np.flatnonzero(weights > 0), np.flatnonzero(weights < 0)
        self.motifs = [_cumulative(motif) for motif in grammar.motifs]
        self.initiator = _cumulative(INITIATOR)
        self.partner = {
            int(t): (int(u), p) for p, pair in enumerate(grammar.pair_members) for t, u in (pair, pair[::-1])
        }

    def write(self, codes: Codes, centre: int, promoter: bool) -> None:
        """Write one element around ``centre`` in place."""
        rng, grammar = self.rng, self.grammar
        if promoter:
            codes[centre - ISLAND // 2 : centre + ISLAND // 2] = background(ISLAND, rng, PROMOTER_GC)
        taken = np.zeros(2 * ARM, bool)
        region = codes[centre - ARM : centre + ARM]
        for strand in (1, -1):
            if rng.random() < INITIATOR_SHARE:
                middle = ARM + strand * round(rng.normal(TSS_OFFSET, 8))
                self._site(region, taken, middle, self.initiator, strand < 0, INITIATOR_START)
        for _ in range(rng.poisson(SITES * rng.gamma(SITES_SHAPE, 1 / SITES_SHAPE))):
            activating = rng.random() < ACTIVATOR_SHARE or not len(self.repressors)
            factor = int(rng.choice(self.activators if activating else self.repressors))
            if grammar.reach[factor] > LOCAL_REACH and rng.random() < DISTAL_SHARE:
                offset = rng.choice([-1, 1]) * rng.uniform(120, 350)
            else:
                offset = np.clip(rng.normal(0, 45), -90, 90)
            middle, reverse = ARM + round(float(offset)), bool(rng.random() < 0.5)
            self._site(region, taken, middle, self.motifs[factor], reverse)
            if factor in self.partner and rng.random() < PAIRED_SHARE:
                partner, pair = self.partner[factor]
                nearby = middle + int(rng.choice([-1, 1])) * int(grammar.pair_spacing[pair])
                self._site(region, taken, nearby, self.motifs[partner], reverse)

    def _site(
        self,
        region: Codes,
        taken: NDArray[np.bool_],
        middle: int,
        cumulative: NDArray[np.float64],
        reverse: bool,
        anchor: int | None = None,
    ) -> None:
        """Write an instance with column ``anchor`` (default: the middle one) at ``middle`` unless a site is there."""
        width = len(cumulative)
        left = width // 2 if anchor is None else anchor
        start = middle - (width - 1 - left if reverse else left)
        if start < 0 or start + width > len(taken) or taken[start : start + width].any():
            return
        taken[start : start + width] = True
        instance = (self.rng.random(width)[:, None] > cumulative).sum(1).astype(np.uint8)
        region[start : start + width] = reverse_complement(instance) if reverse else instance


def _cumulative(motif: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cumulative base probabilities of a sharpened motif, ``[width, 3]``."""
    sharpened = motif**INSTANCE_SHARPNESS
    return np.asarray((np.cumsum(sharpened, 1) / sharpened.sum(1, keepdims=True))[:, :3])
