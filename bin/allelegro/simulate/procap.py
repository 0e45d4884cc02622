"""PRO-cap molecules of a library: initiation at the donor's haplotypes, background, duplicates and mapping quality."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allelegro.simulate.genome import EDGE
from allelegro.simulate.haplotypes import Haplotypes, Loci
from allelegro.simulate.population import Variants
from allelegro.simulate.settings import Settings

Floats = NDArray[np.float64]
UMI_LENGTH = 8
GOOD_MAPQ = 30  # reads below are left out of the bigWigs


@dataclass(frozen=True)
class Background:
    """Where a chromosome's reads come from outside elements; the same places for every library."""

    length: int
    gene_start: NDArray[np.int64]
    gene_end: NDArray[np.int64]
    gene_strand: NDArray[np.int64]
    gene_share: Floats
    tower: NDArray[np.int64]
    stack_position: NDArray[np.int64]
    stack_strand: NDArray[np.int64]
    stack_share: Floats


@dataclass(frozen=True)
class Molecules:
    """Sequenced molecules of one library on one chromosome; ``five`` is the 0-based reference position of the 5' end."""

    five: NDArray[np.int64]
    strand: NDArray[np.int64]  # 0 plus, 1 minus
    haplotype: NDArray[np.int64]  # 0 or 1
    umi: NDArray[np.int64]
    mapq: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.five)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> "Molecules":
        """The molecules at ``index``."""
        return Molecules(*(column[index] for column in vars(self).values()))


def draw_background(length: int, loci: Loci, rng: np.random.Generator) -> Background:
    """Gene bodies downstream of promoters, mispriming towers, and rRNA-like stacks."""
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


def draw_molecules(
    donor: int,
    loci: Loci,
    haplotypes: Haplotypes,
    variants: Variants,
    background: Background,
    depth: float,
    background_reads: float,
    settings: Settings,
    rng: np.random.Generator,
) -> Molecules:
    """Molecules of one library of ``donor``: ``depth`` is the count expected per unit of initiation rate."""
    five, strand, haplotype = _initiation(donor, haplotypes, depth, settings, rng)
    noise_five, noise_strand = _background_ends(background, rng.poisson(background_reads), settings.clumpy, rng)
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
    return Molecules(five, strand, haplotype, umi, mapq).take(first)


def _initiation(
    donor: int, haplotypes: Haplotypes, depth: float, settings: Settings, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Negative-binomial counts around the mean of the donor's two haplotypes, spread over their initiation sites."""
    rows = haplotypes.index[:, 2 * donor : 2 * donor + 2]
    rate = np.exp2(haplotypes.log2_strand[rows])  # [E, haplotype, strand]
    expected = depth * rate.mean(1)
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
    """5' ends and strands of background reads: all uniform, or 40 % uniform, 25 % genes, 15 % towers, 20 % stacks."""
    uniform, genes, towers, stacks = rng.multinomial(count, [0.4, 0.25, 0.15, 0.2] if clumpy else [1.0, 0, 0, 0])
    if not len(background.gene_start):
        uniform, genes = uniform + genes, 0
    gene = rng.choice(len(background.gene_start), genes, p=background.gene_share) if genes else np.zeros(0, np.int64)
    span = background.gene_end[gene] - background.gene_start[gene]
    private = rng.integers(EDGE, background.length - EDGE, max(1, len(background.tower) // 2))
    places = np.concatenate([background.tower, private])
    tower = rng.choice(len(places), towers, p=rng.dirichlet(np.full(len(places), 0.5)))
    stack = rng.choice(len(background.stack_position), stacks, p=background.stack_share)
    five = np.concatenate(
        [
            rng.integers(EDGE, background.length - EDGE, uniform),
            background.gene_start[gene] + (rng.random(genes) * span).astype(np.int64),
            places[tower],
            background.stack_position[stack],
        ]
    )
    strand = np.concatenate(
        [rng.integers(0, 2, uniform), background.gene_strand[gene], places[tower] % 2, background.stack_strand[stack]]
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
    position, count = np.unique(molecules.five[kept], return_counts=True)
    return position, count
