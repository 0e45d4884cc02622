"""People: phased haplotypes with linkage from msprime, as SNVs and left-normalised indels on the reference."""

from dataclasses import dataclass

import msprime
import numpy as np
from numba import njit
from numpy.typing import NDArray

from allelegro.io.dna import decode
from allelegro.simulate.genome import EDGE
from allelegro.simulate.settings import Settings
from allelegro.simulate.streams import stream

Codes = NDArray[np.uint8]
MAX_INDEL = 20
HOTSPOT, HOTSPOT_SPACING = 2000, 40_000  # bp
TRANSITION = np.array([2, 3, 0, 1], np.uint8)  # A<->G, C<->T


@dataclass(frozen=True)
class Variants:
    """Variants of one chromosome in VCF order; no two touch the same reference base."""

    pos: NDArray[np.int64]  # [V] 0-based start of REF
    ref_len: NDArray[np.int64]  # [V]
    alt: Codes  # ragged ALT codes, variant v at alt_offsets[v]:alt_offsets[v + 1]
    alt_offsets: NDArray[np.int64]  # [V + 1]
    genotypes: NDArray[np.int8]  # [V, 2 * donors], 1 = ALT; columns 2i and 2i + 1 are donor i's haplotypes

    def __len__(self) -> int:
        return len(self.pos)

    def alleles(self, genome: Codes, v: int) -> tuple[str, str]:
        """REF and ALT of variant ``v``."""
        ref = decode(genome[self.pos[v] : self.pos[v] + self.ref_len[v]])
        return ref, decode(self.alt[self.alt_offsets[v] : self.alt_offsets[v + 1]])

    def snv(self) -> NDArray[np.bool_]:
        """Which variants replace one base by another."""
        return np.asarray((self.ref_len == 1) & (np.diff(self.alt_offsets) == 1))


def draw_variants(genome: Codes, settings: Settings, rng: np.random.Generator) -> Variants:
    """Draw the donors' variants on ``genome``.

    One further haplotype of the same population is taken to be the reference, so REF is the derived allele where that
    haplotype carries it and alternative-allele frequencies above one half occur, as in a real call set.
    """
    demography = msprime.Demography.isolated_model([settings.population_size])
    if settings.ancestral_size > 0:
        demography.add_population_parameters_change(settings.expansion, initial_size=settings.ancestral_size)
    ancestry = msprime.sim_ancestry(
        settings.individuals + 1,
        demography=demography,
        sequence_length=len(genome),
        recombination_rate=recombination_map(len(genome), settings),
        random_seed=int(rng.integers(1, 2**31)),
    )
    mutated = msprime.sim_mutations(
        ancestry,
        rate=settings.mutation_rate,
        model=msprime.BinaryMutationModel(),
        random_seed=int(rng.integers(1, 2**31)),
    )
    position = mutated.tables.sites.position.astype(np.int64)
    inside = (position >= EDGE) & (position < len(genome) - EDGE)
    genotypes = np.empty((len(position), 2 * settings.individuals), np.int8)
    for site, variant in enumerate(mutated.variants()):
        genotypes[site] = variant.genotypes[:-2] != variant.genotypes[-1]
    seen = inside & genotypes.any(1)
    return _assign_alleles(genome, position[seen], genotypes[seen], settings.indel_share, rng)


def recombination_map(length: int, settings: Settings) -> float | msprime.RateMap:
    """Crossovers per bp along a chromosome: even, or in hotspots of ``HOTSPOT`` bp at random places."""
    if not settings.hotspot_share:
        return settings.recombination_rate
    rng = stream(settings.seed, "hotspots", length)
    number = max(1, round(length / HOTSPOT_SPACING))
    slots = np.sort(rng.choice(length // HOTSPOT - 1, min(number, length // HOTSPOT - 1), replace=False)) + 1
    edges = np.unique(np.concatenate([[0], slots * HOTSPOT, (slots + 1) * HOTSPOT, [length]]))
    hot = np.isin(edges[:-1] // HOTSPOT, slots) & (edges[:-1] % HOTSPOT == 0)
    width = np.diff(edges)
    share = np.where(hot, settings.hotspot_share / width[hot].sum(), (1 - settings.hotspot_share) / width[~hot].sum())
    return msprime.RateMap(position=edges, rate=share * settings.recombination_rate * length)


def _assign_alleles(
    genome: Codes,
    position: NDArray[np.int64],
    genotypes: NDArray[np.int8],
    indel_share: float,
    rng: np.random.Generator,
) -> Variants:
    """Give every segregating site its alleles; sites whose REF would overlap an earlier one are excluded."""
    count = len(position)
    start, ref_len = position.copy(), np.ones(count, np.int64)
    ref = genome[position]
    random_base = ((ref + rng.integers(1, 4, count)) % 4).astype(np.uint8)
    alt_base = np.where(rng.random(count) < 0.5, TRANSITION[ref], random_base)
    alts: list[Codes] = list(alt_base[:, None])
    for v in np.flatnonzero(rng.random(count) < indel_share):
        start[v], ref_len[v], alts[v] = _draw_indel(genome, int(position[v]), rng)
    order = np.argsort(start, kind="stable")
    kept, end = [], -1
    for v in order:
        if start[v] > end:
            kept.append(v)
            end = start[v] + ref_len[v] - 1 + (len(alts[v]) > 1)
    index = np.array(kept, np.int64)
    lengths = np.array([len(alts[v]) for v in kept], np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    alt = np.concatenate([alts[v] for v in kept]) if kept else np.zeros(0, np.uint8)
    return Variants(start[index], ref_len[index], alt, offsets, genotypes[index])


def _draw_indel(genome: Codes, position: int, rng: np.random.Generator) -> tuple[int, int, Codes]:
    """A left-normalised insertion (half of them tandem copies) or deletion: start, REF length, ALT codes."""
    size = min(MAX_INDEL, int(rng.geometric(0.35)))
    if rng.random() < 0.5:
        start = position
        while genome[start] == genome[start + size]:
            start -= 1
        return start, size + 1, genome[start : start + 1]
    copied = genome[position + 1 : position + 1 + size].copy()
    inserted = copied if rng.random() < 0.5 else rng.integers(0, 4, size).astype(np.uint8)
    start = position
    while genome[start] == inserted[-1]:
        inserted = np.roll(inserted, 1)
        start -= 1
    return start, 1, np.concatenate([genome[start : start + 1], inserted])


class Caller:
    """Genotype calls of one chromosome with their errors; batches are called in order of position."""

    def __init__(self, number: int, settings: Settings) -> None:
        self.settings = settings
        self._rng = stream(settings.seed, "genotype calls", number)
        self._swapped = np.zeros(settings.individuals, bool)

    def call(self, genotypes: NDArray[np.int8]) -> tuple[NDArray[np.int8], NDArray[np.bool_], NDArray[np.bool_]]:
        """Called genotypes ``[v, 2 * donors]`` of the next variants, and which calls ``[v, donors]`` are wrong and where phase switches.

        A switch exchanges a donor's haplotypes from a heterozygous site on. A wrong call loses or gains one alternative
        allele; only genotypes with an alternative allele are called wrong.
        """
        called, none = genotypes, np.zeros((len(genotypes), len(self._swapped)), bool)
        switched = wrong = none
        if self.settings.switch_error > 0:
            heterozygous = called[:, 0::2] != called[:, 1::2]
            switched = self._some(heterozygous, self.settings.switch_error)
            state = self._swapped ^ (np.cumsum(switched, axis=0) % 2 == 1)
            called = called.copy()
            called[:, 0::2] ^= (heterozygous & state).astype(np.int8)
            called[:, 1::2] ^= (heterozygous & state).astype(np.int8)
            self._swapped = state[-1]
        if self.settings.genotype_error > 0:
            carried = (called[:, 0::2] | called[:, 1::2]) == 1
            wrong = self._some(carried, self.settings.genotype_error)
            row, donor = np.nonzero(wrong)
            called = called.copy()
            called[row, 2 * donor + self._rng.integers(0, 2, len(row))] ^= 1
        return called, wrong, switched

    def _some(self, places: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
        """A random ``share`` of the ``places`` that are true."""
        among = np.flatnonzero(places)
        chosen = np.zeros(places.shape, bool)
        chosen.flat[among[self._rng.random(len(among)) < share]] = True
        return chosen


@njit(cache=True, nogil=True)
def apply_variants(genome, start, end, pos, ref_len, alt, alt_offsets, carried):  # type: ignore[no-untyped-def]
    """Haplotype of ``genome[start:end]`` with the ``carried`` variants: codes, and each base's reference position.

    Inserted bases have reference position -1. ``pos`` is ascending; variants starting before ``start`` are ignored.
    """
    size = end - start
    for v in range(len(pos)):
        if carried[v] and start <= pos[v] < end:
            size += alt_offsets[v + 1] - alt_offsets[v]
    codes = np.empty(size, np.uint8)
    origin = np.empty(size, np.int64)
    out, at = 0, start
    for v in range(len(pos)):
        if not carried[v] or pos[v] < start or pos[v] >= end:
            continue
        while at < pos[v]:
            codes[out], origin[out] = genome[at], at
            out, at = out + 1, at + 1
        for k in range(alt_offsets[v], alt_offsets[v + 1]):
            codes[out], origin[out] = alt[k], (pos[v] if k == alt_offsets[v] else -1)
            out += 1
        at = pos[v] + ref_len[v]
    while at < end:
        codes[out], origin[out] = genome[at], at
        out, at = out + 1, at + 1
    return codes[:out], origin[:out]
