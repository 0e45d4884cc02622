"""PRO-cap molecules of a library: initiation at the donor's haplotypes, background, duplicates and mapping quality."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from allelegro.simulate.genome import EDGE
from allelegro.simulate.haplotypes import Haplotypes, Loci
from allelegro.simulate.population import Variants
from allelegro.simulate.settings import SHORTEST, Settings

Floats = NDArray[np.float64]
UMI_LENGTH = 8
BLOCK = 6  # log2 of the bp of a block in the search for alleles
GOOD_MAPQ = 30  # the bigWigs exclude reads below


@dataclass(frozen=True)
class Background:
    """Where a chromosome's reads come from outside elements; the same places for every library."""

    length: int
    gene_start: NDArray[np.int64]
    gene_end: NDArray[np.int64]
    gene_strand: NDArray[np.int64]
    gene_share: Floats
    pileup: NDArray[np.int64]
    stack_position: NDArray[np.int64]
    stack_strand: NDArray[np.int64]
    stack_share: Floats


@dataclass(frozen=True)
class Molecules:
    """Sequenced molecules of one library on one chromosome; positions are 0-based on the reference."""

    five: NDArray[np.int64]  # 5' end
    place: NDArray[np.int64]  # where the aligner puts the 5' end
    length: NDArray[np.int64]  # bases read
    strand: NDArray[np.int64]  # 0 plus, 1 minus
    haplotype: NDArray[np.int64]  # 0 or 1
    umi: NDArray[np.int64]
    mapq: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.five)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> "Molecules":
        """The molecules at ``index``."""
        kept = {id(column): column[index] for column in vars(self).values()}  # five and place may be one array
        return Molecules(*(kept[id(column)] for column in vars(self).values()))


def draw_background(length: int, loci: Loci, rng: np.random.Generator) -> Background:
    """Gene bodies downstream of promoters, mispriming pile-ups, and rRNA-like stacks."""
    starts = loci.centre[loci.promoter]
    strand = (loci.plus_share[loci.promoter] < 0.5).astype(np.int64)
    size = rng.integers(2_000, 20_000, len(starts))
    first = np.where(strand == 0, starts + 200, starts - 200 - size)
    level = rng.lognormal(0, 1.2, len(starts)) * size
    stacks = max(1, length // 1_500_000)
    begin = rng.integers(EDGE, length - EDGE - 400, stacks)
    position = (begin[:, None] + np.arange(300)).ravel()
    share = rng.lognormal(0, 1.5, len(position))
    return Background(
        length,
        np.clip(first, EDGE, length - EDGE),
        np.clip(first + size, EDGE + 1, length - EDGE),
        strand,
        level / level.sum() if len(level) else level,
        rng.integers(EDGE, length - EDGE, max(2, length // 100_000)),
        position,
        np.repeat(rng.integers(0, 2, stacks), 300),
        share / share.sum(),
    )


@dataclass(frozen=True)
class Expected:
    """What one library is expected to hold of one chromosome."""

    donor: int  # whose molecules they are
    depth: float  # molecules per unit of initiation rate
    log2_shift: Floats  # [E] log2 factor of each locus from the donor's trans effects and the batch
    background: float  # molecules from elsewhere


def draw_molecules(
    expected: Expected,
    haplotypes: Haplotypes,
    variants: Variants,
    background: Background,
    settings: Settings,
    rng: np.random.Generator,
) -> Molecules:
    """Molecules of one library on one chromosome."""
    donor = expected.donor
    five, strand, haplotype = _initiation(expected, haplotypes, settings, rng)
    noise_five, noise_strand = _background_ends(background, rng.poisson(expected.background), settings.clumpy, rng)
    five = np.concatenate([five, noise_five])
    strand = np.concatenate([strand, noise_strand])
    haplotype = np.concatenate([haplotype, rng.integers(0, 2, len(noise_five))])
    five = np.clip(five, EDGE // 2, background.length - EDGE // 2)
    five = _on_haplotype(five, 2 * donor + haplotype, variants)
    umi = rng.integers(0, 4**UMI_LENGTH, len(five))
    mapq = np.where(rng.random(len(five)) < 0.85, 42, rng.integers(GOOD_MAPQ, 42, len(five)))
    mapq = np.where(rng.random(len(five)) < settings.low_mapq, rng.integers(0, 10, len(five)), mapq)
    key = (five << (2 * UMI_LENGTH + 1)) | (strand << (2 * UMI_LENGTH)) | umi
    _, first = np.unique(key, return_index=True)  # no two molecules share position, strand and UMI
    length = _read_lengths(len(five), settings, rng)
    molecules = Molecules(five, five, length, strand, haplotype, umi, mapq).take(first)
    return _mapped(molecules, 2 * donor, variants, background.length, settings, rng)


def _read_lengths(count: int, settings: Settings, rng: np.random.Generator) -> NDArray[np.int64]:
    """Bases read of each molecule: the RNA's length, gamma-distributed above the shortest, or the read's where longer."""
    if not settings.fragment_mean:
        return np.full(count, settings.read_length)
    scale = np.float32((settings.fragment_mean - SHORTEST) / 2)  # the sum of two exponentials is gamma of shape 2
    fragment = sum(rng.standard_exponential(count, dtype=np.float32) for _ in range(2)) * scale
    return np.minimum(SHORTEST + fragment.astype(np.int64), settings.read_length)


def _mapped(
    molecules: Molecules, column: int, variants: Variants, length: int, settings: Settings, rng: np.random.Generator
) -> Molecules:
    """Molecules after reference-mapping bias: for each alternative allele a read may be lost or, as often, misplaced.

    ``column`` is the donor's first in the genotypes. Misplaced reads align anywhere, with any mapping quality.
    """
    if not settings.mapping_bias:
        return molecules
    alleles = alternative_alleles(molecules, column, variants)
    carrying = np.flatnonzero(alleles)
    affected = carrying[rng.random(len(carrying)) < 1 - (1 - settings.mapping_bias) ** alleles[carrying]]
    gone = rng.random(len(affected)) < 0.5
    moved = affected[~gone]
    place, mapq, kept = molecules.place.copy(), molecules.mapq.copy(), np.ones(len(molecules), bool)
    place[moved] = rng.integers(EDGE, length - EDGE, len(moved))
    mapq[moved] = rng.integers(0, 43, len(moved))
    kept[affected[gone]] = False
    return replace(molecules, place=place, mapq=mapq).take(kept)


def alternative_alleles(molecules: Molecules, column: int, variants: Variants) -> NDArray[np.int64]:
    """Alternative alleles within the reference span of each molecule's read."""
    plus = molecules.strand == 0
    start = np.where(plus, molecules.five, molecules.five - molecules.length + 1)
    alleles = np.zeros(len(molecules), np.int64)
    if not len(molecules):
        return alleles
    for side in (0, 1):
        carried = variants.pos[variants.genotypes[:, column + side] == 1]
        # Most reads span no allele of theirs: blocks from which one can be reached are marked, the others need no search.
        reached = np.zeros((int(start.max()) >> BLOCK) + 1, bool)
        for back in range(0, int(molecules.length.max()) + (1 << BLOCK), 1 << BLOCK):
            block = np.maximum(carried - back, 0) >> BLOCK
            reached[block[block < len(reached)]] = True
        rows = np.flatnonzero((molecules.haplotype == side) & reached[start >> BLOCK])
        first = np.searchsorted(carried, start[rows])
        alleles[rows] = np.searchsorted(carried, start[rows] + molecules.length[rows]) - first
    return alleles


def _initiation(
    library: Expected, haplotypes: Haplotypes, settings: Settings, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Negative-binomial counts around the mean of the donor's two haplotypes, spread over their initiation sites."""
    rows = haplotypes.index[:, 2 * library.donor : 2 * library.donor + 2]
    rate = np.exp2(haplotypes.log2_strand[rows])  # [E, haplotype, strand]
    expected = library.depth * rate.mean(1) * np.exp2(library.log2_shift)[:, None]
    if settings.dispersion > 0:
        expected = expected * rng.gamma(1 / settings.dispersion, settings.dispersion, expected.shape)
    count = rng.poisson(expected)
    first = rng.binomial(count, rate[:, 0] / rate.sum(1))
    split = np.stack([first, count - first], axis=1).ravel()  # [E, haplotype, strand]
    row = np.repeat(np.repeat(rows.ravel(), 2), split)
    strand = np.repeat(np.tile([0, 1], rows.size), split)
    haplotype = np.repeat(np.tile([0, 0, 1, 1], len(rows)), split)
    cumulative = haplotypes.site_cumulative[row, strand]
    site = (rng.random(len(row))[:, None] > cumulative[:, :-1]).sum(1)
    jitter = np.rint(rng.laplace(0, settings.tss_spread, len(row))).astype(np.int64)
    return haplotypes.site_ref[row, strand, site] + jitter, strand, haplotype


def _background_ends(
    background: Background, count: int, clumpy: bool, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """5' ends and strands of background reads: all uniform, or 40 % uniform, 25 % genes, 15 % pile-ups, 20 % stacks."""
    uniform, genes, piled, stacks = rng.multinomial(count, [0.4, 0.25, 0.15, 0.2] if clumpy else [1.0, 0, 0, 0])
    if not len(background.gene_start):
        uniform, genes = uniform + genes, 0
    gene = rng.choice(len(background.gene_start), genes, p=background.gene_share) if genes else np.zeros(0, np.int64)
    span = background.gene_end[gene] - background.gene_start[gene]
    private = rng.integers(EDGE, background.length - EDGE, max(1, len(background.pileup) // 2))
    places = np.concatenate([background.pileup, private])
    pileup = rng.choice(len(places), piled, p=rng.dirichlet(np.full(len(places), 0.5)))
    stack = rng.choice(len(background.stack_position), stacks, p=background.stack_share)
    five = np.concatenate(
        [
            rng.integers(EDGE, background.length - EDGE, uniform),
            background.gene_start[gene] + (rng.random(genes) * span).astype(np.int64),
            places[pileup],
            background.stack_position[stack],
        ]
    )
    strand = np.concatenate(
        [rng.integers(0, 2, uniform), background.gene_strand[gene], places[pileup] % 2, background.stack_strand[stack]]
    )
    return five, strand


def _on_haplotype(five: NDArray[np.int64], column: NDArray[np.int64], variants: Variants) -> NDArray[np.int64]:
    """Move 5' ends that fall on a base their haplotype has deleted to the base before the deletion."""
    deletion = np.flatnonzero(variants.ref_len > 1)
    if not len(deletion):
        return five
    before = deletion[(np.searchsorted(variants.pos[deletion], five, side="right") - 1).clip(0)]
    start = variants.pos[before]
    inside = (five > start) & (five < start + variants.ref_len[before]) & (variants.genotypes[before, column] == 1)
    return np.where(inside, start, five)


def coverage(molecules: Molecules, strand: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions and counts of the 5' ends that a mapping-quality filter of 30 keeps, duplicates counted once."""
    kept = (molecules.strand == strand) & (molecules.mapq >= GOOD_MAPQ)
    position, count = np.unique(molecules.place[kept], return_counts=True)
    return position, count
