"""Distinct haplotypes of every element, what each does, and the effect of each variant alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allelegro.simulate.genome import Elements
from allelegro.simulate.grammar import Activity, Grammar, construct
from allelegro.simulate.population import Variants, apply_variants
from allelegro.simulate.settings import Settings
from allelegro.simulate.streams import stream

Codes = NDArray[np.uint8]
Floats = NDArray[np.float64]
PAD = 300  # bp beyond the window that absorb deletions
CHUNK = 64  # elements scored at a time
OCCUPANCY_FLOOR = 0.25  # unspecific binding, in sites
INSERT = 200  # bp of genome in a reporter construct
BUFFERED = 0.1  # share of an effect that a buffered locus shows


@dataclass(frozen=True)
class Loci:
    """The transcribed elements of one chromosome: what about them is not in the sequence."""

    centre: NDArray[np.int64]
    promoter: NDArray[np.bool_]
    context: Floats  # [E] log2 factor of the locus's surroundings, the same for every haplotype
    plus_share: Floats  # [E] share of the plus strand at equal initiators
    sensitivity: Floats  # [E] share of a variant's effect that the locus shows


@dataclass(frozen=True)
class Haplotypes:
    """Distinct haplotypes of the loci of one chromosome; row ``offsets[e]`` is element ``e``'s reference."""

    offsets: NDArray[np.int64]  # [E + 1]
    index: NDArray[np.int64]  # [E, 2 * donors] row in the arrays below
    log2_activity: Floats  # [H]
    log2_strand: Floats  # [H, 2] log2 rate with context and balance
    site_ref: NDArray[np.int64]  # [H, 2, K] reference position of each initiation site
    site_cumulative: Floats  # [H, 2, K] cumulative shares

    @property
    def log2_rate(self) -> Floats:
        """log2 of the rate over both strands ``[H]``."""
        return np.asarray(np.logaddexp2(self.log2_strand[:, 0], self.log2_strand[:, 1]))

    def donor_log2_rate(self) -> NDArray[np.float32]:
        """log2 of the mean rate of a donor's two haplotypes ``[E, donors]``."""
        rate = np.exp2(self.log2_rate)[self.index]
        return np.log2((rate[:, 0::2] + rate[:, 1::2]) / 2).astype(np.float32)


def draw_loci(number: int, elements: Elements, settings: Settings, rng: np.random.Generator) -> Loci:
    """The open elements of chromosome ``number`` with what is theirs: context, strand balance, sensitivity to variants.

    Promoters lean to one strand, enhancers little.
    """
    centre, promoter = elements.centre[elements.open], elements.promoter[elements.open]
    lean = rng.beta(12, 3, len(centre))
    lean = np.where(rng.random(len(centre)) < 0.5, lean, 1 - lean)
    plus_share = np.where(promoter, lean, rng.beta(6, 6, len(centre)))
    buffered = stream(settings.seed, "sensitivity", number).random(len(centre)) < settings.buffered
    context = rng.normal(0, settings.context_sd, len(centre))
    return Loci(centre, promoter, context, plus_share, np.where(buffered, BUFFERED, 1.0))


def window_haplotype(
    genome: Codes, variants: Variants, rows: slice, carried: NDArray[np.bool_], centre: int, half: int
) -> tuple[Codes, NDArray[np.int64]]:
    """Haplotype around ``centre`` (kept in the middle, flanks refilled): codes and reference positions, ``[2 * half]``.

    Inserted bases take the reference position of the base before them; a deleted centre moves to the next base.
    """
    codes, origin = apply_variants(
        genome,
        centre - half - PAD,
        centre + half + PAD,
        variants.pos[rows],
        variants.ref_len[rows],
        variants.alt,
        variants.alt_offsets[rows.start : rows.stop + 1],
        carried,
    )
    origin = np.maximum.accumulate(origin)
    middle = int(np.searchsorted(origin, centre))
    return codes[middle - half : middle + half], origin[middle - half : middle + half]


def nearby(variants: Variants, centre: int, reach: int) -> slice:
    """Rows of the variants that start within ``reach`` bp of ``centre``."""
    low, high = np.searchsorted(variants.pos, [centre - reach, centre + reach])
    return slice(int(low), int(high))


def distinct_rows(genotypes: NDArray[np.int8]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Distinct columns of ``genotypes [V, 2n]``: the patterns ``[H, V]``, the all-reference one first, and each column's row."""
    columns = np.zeros((genotypes.shape[1] + 1, genotypes.shape[0]), bool)
    columns[1:] = genotypes.T != 0
    packed = np.ascontiguousarray(np.packbits(columns, axis=1))
    if not packed.shape[1]:
        return columns[:1], np.zeros(genotypes.shape[1], np.int64)
    keys = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return columns[np.sort(first)], rank[inverse][1:]


def build_haplotypes(genome: Codes, variants: Variants, loci: Loci, grammar: Grammar, settings: Settings) -> Haplotypes:
    """Each distinct haplotype of each element, once, through the grammar."""
    half = settings.width // 2
    offsets, index = [0], np.zeros((len(loci.centre), variants.genotypes.shape[1]), np.int64)
    parts: list[tuple[Activity, NDArray[np.int64], Floats]] = []
    for begin in range(0, len(loci.centre), CHUNK):
        codes: list[Codes] = []
        origins: list[NDArray[np.int64]] = []
        element: list[int] = []
        for e in range(begin, min(begin + CHUNK, len(loci.centre))):
            centre = int(loci.centre[e])
            rows = nearby(variants, centre, half + PAD)
            patterns, column_pattern = distinct_rows(variants.genotypes[rows])
            # Patterns that differ only in the flanks give one window: keep each sequence once.
            known: dict[bytes, int] = {}
            pattern_row = np.empty(len(patterns), np.int64)
            for k, carried in enumerate(patterns):
                sequence, origin = window_haplotype(genome, variants, rows, carried, centre, half)
                key = sequence.tobytes() + origin.tobytes()
                if key not in known:
                    known[key] = len(known)
                    codes.append(sequence)
                    origins.append(origin)
                    element.append(e)
                pattern_row[k] = known[key]
            index[e] = offsets[-1] + pattern_row[column_pattern]
            offsets.append(offsets[-1] + len(known))
        parts.append((grammar.initiation(np.stack(codes)), np.stack(origins), locus_log2(loci, np.array(element))))
    activities = [part[0] for part in parts]
    strand = np.concatenate([activity.log2_strand + extra for activity, _, extra in parts])
    site_ref = np.concatenate(
        [
            np.take_along_axis(o, a.sites.reshape(len(o), -1).astype(np.int64), 1).reshape(a.sites.shape)
            for a, o, _ in parts
        ]
    )
    share = np.concatenate([activity.site_share for activity in activities])
    activity = np.concatenate([part.log2_activity for part in activities])
    if settings.buffered > 0:
        first = np.repeat(offsets[:-1], np.diff(offsets))
        shown = np.repeat(loci.sensitivity, np.diff(offsets))
        strand = strand[first] + shown[:, None] * (strand - strand[first])
        activity = activity[first] + shown * (activity - activity[first])
    return Haplotypes(
        np.array(offsets),
        index,
        activity,
        strand,
        site_ref,
        np.cumsum(share, axis=2),
    )


def locus_log2(loci: Loci, element: NDArray[np.int64]) -> Floats:
    """log2 factors of each strand that belong to the locus, ``[n, 2]`` for the elements asked."""
    balance = np.stack([2 * loci.plus_share[element], 2 * (1 - loci.plus_share[element])], axis=1)
    return np.asarray(np.log2(balance) + loci.context[element, None])


@dataclass(frozen=True)
class Effects:
    """The effect of each variant near a locus, alone on the reference haplotype."""

    row: NDArray[np.int64]  # [n] row of the variant
    element: NDArray[np.int64]  # [n] locus it acts on
    effect: Floats  # [n] log2 alt / ref of the rate over both strands
    plus: Floats
    minus: Floats
    activity: Floats  # [n] log2 alt / ref before the initiator
    binding: Floats  # [n] log2 alt / ref of the occupancy of the activator that changes most
    reporter: Floats  # [cells, n] log2 alt / ref of a construct on the locus's centre; NaN outside its insert


def variant_effects(genome: Codes, variants: Variants, loci: Loci, grammar: Grammar, settings: Settings) -> Effects:
    """Effects of all variants that start inside a locus's window, each for its nearest locus."""
    half = settings.width // 2
    results: list[tuple[NDArray[np.int64], int, NDArray[np.float64]]] = []
    cells = settings.reporter_cells
    for e, centre in enumerate(loci.centre):
        rows = nearby(variants, int(centre), half)
        count = rows.stop - rows.start
        if not count:
            continue
        carried = np.vstack([np.zeros(count, bool), np.eye(count, dtype=bool)])
        codes = np.stack([window_haplotype(genome, variants, rows, c, int(centre), half)[0] for c in carried])
        activity = grammar.initiation(codes)
        strand = activity.log2_strand + locus_log2(loci, np.full(len(codes), e))
        columns = np.stack(
            [np.logaddexp2(strand[:, 0], strand[:, 1]), strand[:, 0], strand[:, 1], activity.log2_activity]
        )
        change = loci.sensitivity[e] * (columns[:, 1:] - columns[:, :1])
        near = np.abs(variants.pos[rows] - centre + 0.5) < INSERT / 2
        reporter = reporter_change(grammar, codes[:, half - INSERT // 2 : half + INSERT // 2], near, cells)
        change = np.vstack([change, binding_change(grammar, codes), reporter])
        results.append((np.arange(rows.start, rows.stop), e, change))
    if not results:
        empty = np.zeros(0)
        none = empty.astype(np.int64)
        return Effects(none, none, empty, empty, empty, empty, empty, np.zeros((len(cells), 0)))
    row = np.concatenate([r for r, _, _ in results])
    element = np.concatenate([np.full(len(r), e) for r, e, _ in results])
    values = np.concatenate([v for _, _, v in results], axis=1)
    effect, plus, minus, before, binding = values[:5]
    return Effects(row, element, effect, plus, minus, before, binding, reporter=values[5:])


def reporter_change(grammar: Grammar, inserts: Codes, near: NDArray[np.bool_], cells: list[str]) -> Floats:
    """log2 ratio to row 0 of each cell's reporter ``[cells, n - 1]`` for the ``near`` ones of the others, else NaN."""
    change = np.full((len(cells), len(near)), np.nan)
    if near.any():
        tested = np.concatenate([[True], near])
        measured = grammar.reporter(construct(inserts[tested]), cells)
        change[:, near] = np.stack([measured[cell][1:] - measured[cell][0] for cell in cells])
    return change


def binding_change(grammar: Grammar, codes: Codes) -> Floats:
    """log2 ratio to row 0 of the occupancy of whichever activator changes most, ``[n - 1]``."""
    dose, _ = grammar.doses(codes)
    occupancy = np.log2(dose[:, grammar.weights["LCL"] > 0] + OCCUPANCY_FLOOR)
    change = occupancy[1:] - occupancy[:1]
    return np.asarray(change[np.arange(len(change)), np.abs(change).argmax(1)])
