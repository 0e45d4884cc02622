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
    for centre, promoter in zip(elements.centre, elements.promoter, strict=True):
        write_element(codes, int(centre), bool(promoter), grammar, rng)
    return codes


def write_element(codes: Codes, centre: int, promoter: bool, grammar: Grammar, rng: np.random.Generator) -> None:
    """Write one element in place: composition, initiators on both strands, then motif instances drawn from their PWMs."""
    if promoter:
        region = slice(centre - ISLAND // 2, centre + ISLAND // 2)
        codes[region] = background(ISLAND, rng, PROMOTER_GC)
    taken = np.zeros(len(codes[centre - 500 : centre + 500]), bool)
    for strand in (1, -1):
        if rng.random() < 0.85:
            middle = 500 + strand * round(rng.normal(TSS_OFFSET, 8))
            _write_site(codes, centre, middle, INITIATOR, strand < 0, taken, rng, INITIATOR_START)
    activators = np.flatnonzero(grammar.weights["LCL"] > 0)
    repressors = np.flatnonzero(grammar.weights["LCL"] < 0)
    for _ in range(rng.poisson(SITES * rng.gamma(SITES_SHAPE, 1 / SITES_SHAPE))):
        factor = int(rng.choice(activators if rng.random() < 0.78 or not len(repressors) else repressors))
        distal = grammar.reach[factor] > LOCAL_REACH and rng.random() < 0.6
        offset = rng.choice([-1, 1]) * rng.uniform(120, 350) if distal else np.clip(rng.normal(0, 45), -90, 90)
        middle = 500 + round(float(offset))
        reverse = bool(rng.random() < 0.5)
        _write_site(codes, centre, middle, grammar.motifs[factor], reverse, taken, rng)
        partners = np.flatnonzero((grammar.pair_members == factor).any(1))
        if len(partners) and rng.random() < 0.4:
            pair = int(partners[0])
            partner = int(grammar.pair_members[pair][grammar.pair_members[pair] != factor][0])
            beside = middle + int(rng.choice([-1, 1])) * int(grammar.pair_spacing[pair])
            _write_site(codes, centre, beside, grammar.motifs[partner], reverse, taken, rng)


def _write_site(
    codes: Codes,
    centre: int,
    middle: int,
    motif: NDArray[np.float64],
    reverse: bool,
    taken: NDArray[np.bool_],
    rng: np.random.Generator,
    anchor: int | None = None,
) -> None:
    """Write an instance with column ``anchor`` (the middle one by default) at ``middle`` unless a site is there already."""
    width = len(motif)
    sharpened = motif**INSTANCE_SHARPNESS
    cumulative = np.cumsum(sharpened, 1) / sharpened.sum(1, keepdims=True)
    instance = (rng.random(width)[:, None] > cumulative[:, :3]).sum(1).astype(np.uint8)
    left = width // 2 if anchor is None else anchor
    start = middle - (width - 1 - left if reverse else left)
    if start < 0 or start + width > len(taken) or taken[start : start + width].any():
        return
    taken[start : start + width] = True
    begin = centre - 500 + start
    codes[begin : begin + width] = reverse_complement(instance) if reverse else instance
