"""The motif grammar: what a sequence does. Every activity and effect of a simulated cohort is computed here from sequence."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from allelegro.io.dna import encode
from allelegro.simulate.settings import REPORTER, Settings
from allelegro.simulate.streams import stream

Floats = NDArray[np.float64]
Codes = NDArray[np.uint8]

ADAPTER_LEFT, ADAPTER_RIGHT = encode("AGGACCGGATCAACT"), encode("CATTGCGTGAACCGA")
LOCAL_REACH, DISTAL_REACH = 100.0, 250.0  # bp: standard deviations of the distance kernels
SPACING_TOLERANCE, MAX_SLIP = 1.5, 4  # bp
TSS_OFFSET, TSS_REACH = 55.0, 22.0  # bp: where initiation prefers to start, downstream of the centre on either strand
TSS_SITES = 8  # initiation sites kept per strand and haplotype
FLOOR, CEILING = -1.5, 8.0  # log2 activity of a sequence that no factor binds, and of one that factors saturate
SLOPE = 1.6  # steepness of occupancy per bit
WORD, MAX_WIDTH = 6, 12  # a motif is scored as two 6-letter words looked up in tables
NEGLIGIBLE = 5.0  # bits below half occupancy at which a site counts as empty

# YR initiator BBCA(+1)BW of human promoters, columns A C G T.
INITIATOR = np.array(
    [
        [0.10, 0.32, 0.26, 0.32],
        [0.10, 0.32, 0.26, 0.32],
        [0.05, 0.75, 0.05, 0.15],
        [0.80, 0.03, 0.14, 0.03],
        [0.10, 0.28, 0.32, 0.30],
        [0.38, 0.12, 0.12, 0.38],
    ]
)
INITIATOR_START = 3  # column of +1


@dataclass(frozen=True)
class Activity:
    """What ``n`` haplotypes do: log2 rates and initiation sites (strand 0 plus, 1 minus)."""

    log2_activity: Floats  # [n] before the initiator
    log2_strand: Floats  # [n, 2] log2 initiation rate of each strand, without the locus's own balance
    sites: NDArray[np.int32]  # [n, 2, TSS_SITES] positions within the sequence
    site_share: Floats  # [n, 2, TSS_SITES] shares of initiation, sum 1


@dataclass(frozen=True)
class Grammar:
    """Motifs, weights and interactions; drawn once per seed by :func:`draw_grammar`."""

    names: list[str]
    motifs: list[Floats]  # each [width, 4] base probabilities
    weights: dict[str, Floats]  # cell (LCL, REPORTER for reporters in LCLs, lentiMPRA cells) -> [T]
    pair_members: NDArray[np.int64]  # [P, 2]
    pair_spacing: NDArray[np.int64]  # [P] bp between motif centres
    pair_weights: dict[str, Floats]  # cell -> [P]
    triples: NDArray[np.int64]  # [Q, 3]
    triple_weights: dict[str, Floats]
    reach: Floats  # [T] bp
    tolerance: Floats  # [T] bits below the consensus at which a site is half occupied
    intercept: float
    scale: float
    initiator_effect: float
    initiator_sharpness: float
    reporter_initiator: float
    usual_initiator: float  # log2 of the summed initiator weight of a strand at the median element
    words: Floats = field(repr=False)  # [T, strand, half, 4**WORD] bits of every word
    widths: NDArray[np.int64] = field(repr=False)
    threshold: Floats = field(repr=False)  # [T] bits
    candidates: NDArray[np.uint64] = field(repr=False)  # [4**WORD, blocks] sites that a first word leaves possible

    def describe(self) -> dict[str, Any]:
        """JSON-ready description for ``truth.json``."""
        return {
            "factors": [
                {
                    "name": name,
                    "motif": np.round(motif, 4).tolist(),
                    "weight": {
                        cell: round(float(weights[t] * self.scale), 4) for cell, weights in self.weights.items()
                    },
                    "reach": float(self.reach[t]),
                    "half_occupied_bits_below_consensus": round(float(self.tolerance[t]), 3),
                }
                for t, (name, motif) in enumerate(zip(self.names, self.motifs, strict=True))
            ],
            "pairs": [
                {
                    "factors": [self.names[t], self.names[u]],
                    "spacing": int(self.pair_spacing[p]),
                    "weight": {cell: round(float(w[p] * self.scale), 4) for cell, w in self.pair_weights.items()},
                }
                for p, (t, u) in enumerate(self.pair_members)
            ],
            "triples": [
                {
                    "factors": [self.names[t] for t in members],
                    "weight": {cell: round(float(w[q] * self.scale), 4) for cell, w in self.triple_weights.items()},
                }
                for q, members in enumerate(self.triples)
            ],
            "intercept": self.intercept,
            "floor": FLOOR,
            "ceiling": CEILING,
            "initiator": {
                "motif": INITIATOR.tolist(),
                "start": INITIATOR_START,
                "effect": self.initiator_effect,
                "sharpness": self.initiator_sharpness,
                "reporter_effect": self.reporter_initiator,
            },
        }

    def doses(self, codes: Codes) -> tuple[Floats, Floats]:
        """Weighted occupancy of each factor ``[n, T]`` and of each spaced pair ``[n, P]`` in ``codes [n, width]`` (no N)."""
        length = codes.shape[1]
        distance = np.arange(length) - (length - 1) / 2
        kernel = np.exp(-0.5 * (distance / self.reach[:, None]) ** 2)
        slips = np.exp(-0.5 * (np.arange(-MAX_SLIP, MAX_SLIP + 1) / SPACING_TOLERANCE) ** 2)
        dose, pair = _doses(
            codes,
            self.words,
            self.widths,
            self.threshold,
            self.candidates,
            kernel,
            self.pair_members,
            self.pair_spacing,
            slips,
        )
        return dose, pair

    def raw_level(self, dose: Floats, pair: Floats, cell: str) -> Floats:
        """Weighted sum of factors, pairs and triples ``[n]``, before intercept and scale."""
        response = saturate(dose)
        raw = response @ self.weights[cell] + saturate(pair) @ self.pair_weights[cell]
        for q, members in enumerate(self.triples):
            raw = raw + self.triple_weights[cell][q] * np.prod(
                response[:, members] / (1 + response[:, members]), axis=1
            )
        return np.asarray(raw)

    def combine(self, dose: Floats, pair: Floats, cell: str) -> Floats:
        """log2 activity ``[n]`` of doses in a cell type."""
        level = self.intercept + self.scale * self.raw_level(dose, pair, cell)
        return np.asarray(np.log2(2.0**FLOOR + 1 / (2.0**-level + 2.0**-CEILING)))

    def activity(self, codes: Codes, cell: str) -> Floats:
        """log2 activity ``[n]`` of sequences ``[n, width]``, each centred on its middle."""
        return self.combine(*self.doses(codes), cell)

    def reporter(self, codes: Codes, cells: list[str]) -> dict[str, Floats]:
        """log2 activity ``[n]`` of constructs ``[n, width]`` in reporters of each cell, initiator of the plus strand included."""
        doses = self.doses(codes)
        log2_initiator: Floats | float = 0.0
        if self.reporter_initiator > 0:
            log2_initiator = self.reporter_initiator * (np.log2(self.initiators(codes)[2][:, 0]) - self.usual_initiator)
        return {cell: self.combine(*doses, cell) + log2_initiator for cell in cells}

    def initiation(self, codes: Codes, cell: str = "LCL") -> Activity:
        """Activity, strand rates and initiation sites of haplotypes ``[n, width]``."""
        log2_activity = self.activity(codes, cell)
        sites, weight, total = self.initiators(codes)
        log2_strand = log2_activity[:, None] + self.initiator_effect * np.log2(total)
        share = weight / weight.sum(2, keepdims=True)
        return Activity(log2_activity, log2_strand, sites, share)

    def initiators(self, codes: Codes) -> tuple[NDArray[np.int32], Floats, Floats]:
        """Strongest initiation sites ``[n, 2, K]`` of sequences, their weights, and each strand's summed weight ``[n, 2]``."""
        downstream = np.arange(TSS_OFFSET + 4 * TSS_REACH)
        place = np.exp(-0.5 * ((downstream - TSS_OFFSET) / TSS_REACH) ** 2)
        sites, weight, total = _initiation_sites(codes, _bits(INITIATOR), place, self.initiator_sharpness)
        return sites, weight, total


def saturate(dose: Floats) -> Floats:
    """Diminishing returns of more sites: ``a / (1 + a/3)``."""
    return dose / (1 + dose / 3)


def construct(inserts: Codes) -> Codes:
    """Inserts ``[n, 200]`` between the lentiMPRA adaptors: ``[n, 230]``."""
    n = len(inserts)
    return np.hstack([np.tile(ADAPTER_LEFT, (n, 1)), inserts, np.tile(ADAPTER_RIGHT, (n, 1))])


def draw_grammar(settings: Settings, rng: np.random.Generator) -> Grammar:
    """Draw motifs, weights and interactions; the scale is set later by :func:`calibrated`."""
    count = settings.activators + settings.repressors
    motifs = _draw_motifs(count, settings.degeneracy, rng)
    names = [f"ACT{i + 1}" for i in range(settings.activators)] + [f"REP{i + 1}" for i in range(settings.repressors)]
    sign = np.array([1.0] * settings.activators + [-1.0] * settings.repressors)
    base = sign * rng.uniform(0.6, 1.4, count)
    pairs = settings.activators // 2 if settings.interaction_order >= 2 else 0
    order = rng.permutation(settings.activators)
    pair_members = order[: 2 * pairs].reshape(pairs, 2).astype(np.int64)
    pair_base = settings.interaction * rng.uniform(0.8, 1.6, pairs) * rng.choice([1.0, 1.0, -1.0], pairs)
    triples = order[:3].reshape(1, 3).astype(np.int64) if settings.interaction_order == 3 and len(order) >= 3 else None
    triple_base = np.full(0 if triples is None else 1, 4 * settings.interaction)
    distal = np.zeros(count, bool)
    distal[rng.permutation(settings.activators)[: round(settings.distal * settings.activators)]] = True
    top = np.array([_bits(motif).max(1).sum() for motif in motifs])
    tolerance = rng.uniform(2.0, 3.5, count) + 1.5 * settings.degeneracy
    weights, pair_weights = _reporter_weights(base, pair_base, pair_members, settings)
    words = np.stack([_word_scores(motif) for motif in motifs])
    return Grammar(
        names=names,
        motifs=motifs,
        weights=weights,
        pair_members=pair_members,
        pair_spacing=rng.integers(12, 30, pairs),
        pair_weights=pair_weights,
        triples=np.zeros((0, 3), np.int64) if triples is None else triples,
        triple_weights=dict.fromkeys(weights, triple_base),
        reach=np.where(distal, DISTAL_REACH, LOCAL_REACH),
        tolerance=tolerance,
        intercept=0.0,
        scale=1.0,
        initiator_effect=settings.initiator_effect,
        initiator_sharpness=settings.initiator_sharpness,
        reporter_initiator=settings.reporter_initiator,
        usual_initiator=0.0,
        words=words,
        widths=np.array([len(motif) for motif in motifs]),
        threshold=top - tolerance,
        candidates=_candidates(words, top - tolerance),
    )


def _reporter_weights(
    base: Floats, pair_base: Floats, pair_members: NDArray[np.int64], settings: Settings
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Factor and pair weights of every cell from the LCL's own, ``base`` and ``pair_base``.

    A factor is missing from all reporters (``reporter_silent``) or from those of other cells (``lcl_only``), and with it
    its pairs. What is left is turned away from the LCL's weights until the correlation is ``grammar_correlation``.
    """
    rng = stream(settings.seed, "reporter weights")
    order = rng.permutation(len(base))
    silent, private = round(settings.reporter_silent * len(base)), round(settings.lcl_only * len(base))
    in_lcl, elsewhere = np.ones(len(base), bool), np.ones(len(base), bool)
    in_lcl[order[:silent]] = elsewhere[order[: silent + private]] = False
    weights = {"LCL": base, REPORTER: base * in_lcl}
    pairs = {"LCL": pair_base, REPORTER: pair_base * in_lcl[pair_members].all(1)}
    both = np.asarray(elsewhere[pair_members].all(1))
    for cell in settings.cells:
        weights[cell] = correlated(base, elsewhere, settings.grammar_correlation, rng)
        pairs[cell] = correlated(pair_base, both, settings.grammar_correlation, rng)
    return weights, pairs


def correlated(weights: Floats, present: NDArray[np.bool_], correlation: float, rng: np.random.Generator) -> Floats:
    """Weights ``[T]`` that are zero where not ``present`` and whose correlation about zero with ``weights`` is ``correlation``.

    Absent weights already lower it: with share q of the squared weights present, it is at most sqrt(q). With a single
    weight present nothing can be turned, and the correlation is sqrt(q).
    """
    own = weights * present
    norm = float(np.linalg.norm(own))
    share = norm / max(float(np.linalg.norm(weights)), 1e-300)
    cosine = min(1.0, correlation / share) if share > 0 else 1.0
    other = rng.normal(size=len(weights)) * present
    if cosine == 1.0 or present.sum() < 2:
        return own
    other -= own * float(other @ own) / norm**2
    return np.asarray(cosine * own + np.sqrt(1 - cosine**2) * norm * other / np.linalg.norm(other))


def _draw_motifs(count: int, degeneracy: float, rng: np.random.Generator) -> list[Floats]:
    """Motifs 7, 9 or 11 bp wide (odd, so that both strands share a centre), no two alike: a consensus of balanced composition, each column softened by ``degeneracy``."""
    motifs: list[Floats] = []
    consensi: list[Codes] = []
    while len(motifs) < count:
        consensus = rng.integers(0, 4, rng.choice([7, 9, 11])).astype(np.uint8)
        balanced = 0.3 <= np.isin(consensus, (1, 2)).mean() <= 0.7
        if not balanced or any(_similarity(consensus, other) > 5 for other in consensi):
            continue
        # A column's consensus probability falls from near 1 at the core to the edges, and with degeneracy everywhere.
        strength = 0.97 - degeneracy * rng.beta(1.2, 2.0, len(consensus))
        motif = np.repeat(((1 - strength) / 3)[:, None], 4, axis=1)
        motif[np.arange(len(consensus)), consensus] = strength
        motifs.append(motif)
        consensi.append(consensus)
    return motifs


def _similarity(one: Codes, other: Codes) -> int:
    """Most matching bases over all ungapped alignments, either strand."""
    best = 0
    for candidate in (other, 3 - other[::-1]):
        for shift in range(-len(candidate) + 4, len(one) - 3):
            low, high = max(0, shift), min(len(one), shift + len(candidate))
            best = max(best, int((one[low:high] == candidate[low - shift : high - shift]).sum()))
    return best


def _bits(motif: Floats) -> Floats:
    """log2 odds of bases against even composition, ``[width, 4]``."""
    return np.asarray(np.log2(motif / 0.25))


def _word_scores(motif: Floats) -> Floats:
    """Score of every 6-letter word as the first and the second half of the motif on either strand, ``[2, 2, 4**WORD]``."""
    letters = np.arange(4**WORD)[:, None] // 4 ** np.arange(WORD - 1, -1, -1) % 4
    tables = np.zeros((2, 2, 4**WORD))
    for strand, bits in enumerate((_bits(motif), _bits(motif)[::-1, ::-1])):
        padded = np.zeros((MAX_WIDTH, 4))
        padded[: len(bits)] = bits
        for half in (0, 1):
            tables[strand, half] = padded[half * WORD + np.arange(WORD), letters].sum(1)
    return tables


def calibrated(grammar: Grammar, elements: Codes, background: Codes, settings: Settings) -> Grammar:
    """The grammar scaled so that levels of ``elements [n, width]`` have the wanted spread and the median background is -0.5."""
    level, resting = (grammar.raw_level(*grammar.doses(codes), "LCL") for codes in (elements, background))
    scale = settings.activity_sd / float(level.std())
    intercept = -scale * float(np.median(resting)) - 0.5
    usual = float(np.median(np.log2(grammar.initiators(elements)[2])))
    return replace(grammar, scale=scale, intercept=intercept, usual_initiator=usual)


def _candidates(words: Floats, threshold: Floats) -> NDArray[np.uint64]:
    """Which sites a first word leaves possible, ``[4**WORD, ceil(T / 32)]``: bit 2t + strand of factor t and strand.

    Few words can begin a site that counts, so that most positions of a sequence need a single look.
    """
    best = words[:, :, 0] + words[:, :, 1].max(2)[:, :, None] - threshold[:, None, None]  # [T, strand, word]
    possible = (best > -NEGLIGIBLE).reshape(-1, 4**WORD).T
    padded = np.zeros((len(possible), -(-possible.shape[1] // 64) * 64), bool)
    padded[:, : possible.shape[1]] = possible
    return np.packbits(padded, axis=1, bitorder="little").view(np.uint64)


@njit(cache=True, nogil=True)
def _number_words(codes, word):  # type: ignore[no-untyped-def]
    """``word[x]`` becomes the number of the word that starts at x of ``codes``, which A follows."""
    number, length = 0, len(codes)
    for x in range(length + WORD - 1):
        number = (number * 4 + (codes[x] if x < length else 0)) % 4**WORD
        if x >= WORD - 1:
            word[x - WORD + 1] = number


@njit(cache=True, nogil=True)
def _factor_doses(word, length, words, widths, threshold, kernel, candidates, occupancy, dose):  # type: ignore[no-untyped-def]
    """Occupancy of each factor by motif centre ``[T, length]``, both strands summed, and its weighted sum ``[T]``."""
    occupancy[:] = 0.0
    dose[:] = 0.0
    for start in range(length):
        for block in range(candidates.shape[1]):
            possible = candidates[word[start], block]
            if possible == 0:
                continue
            for t in range(32 * block, min(32 * block + 32, len(widths))):
                strands = (possible >> np.uint64(2 * (t - 32 * block))) & np.uint64(3)
                if strands == 0 or start + widths[t] > length:
                    continue
                centre = start + widths[t] // 2
                for strand in range(2):
                    if not (strands >> np.uint64(strand)) & np.uint64(1):
                        continue
                    gap = words[t, strand, 0, word[start]] + words[t, strand, 1, word[start + WORD]] - threshold[t]
                    if gap > -NEGLIGIBLE:
                        occupancy[t, centre] += 1.0 / (1.0 + np.exp(-SLOPE * gap))
                dose[t] += occupancy[t, centre] * kernel[t, centre]


@njit(cache=True, nogil=True)
def _doses(codes, words, widths, threshold, candidates, kernel, pair_members, pair_spacing, slip_weight):  # type: ignore[no-untyped-def]
    """Distance-weighted occupancy of factors ``[n, T]`` and of pairs at their spacing ``[n, P]``."""
    n, length = codes.shape
    factors, pairs = len(widths), len(pair_spacing)
    dose = np.zeros((n, factors))
    pair = np.zeros((n, pairs))
    occupancy = np.zeros((factors, length))
    word = np.zeros(length + MAX_WIDTH, np.int64)
    for row in range(n):
        _number_words(codes[row], word)
        _factor_doses(word, length, words, widths, threshold, kernel, candidates, occupancy, dose[row])
        for p in range(pairs):
            t, u = pair_members[p, 0], pair_members[p, 1]
            for x in range(length):
                if occupancy[t, x] == 0.0:
                    continue
                for slip in range(len(slip_weight)):
                    apart = pair_spacing[p] + slip - len(slip_weight) // 2
                    weight = slip_weight[slip] * occupancy[t, x] * kernel[t, x]
                    if x + apart < length:
                        pair[row, p] += weight * occupancy[u, x + apart]
                    if x - apart >= 0:
                        pair[row, p] += weight * occupancy[u, x - apart]
    return dose, pair


@njit(cache=True, nogil=True)
def _initiation_sites(codes, bits, place, sharpness):  # type: ignore[no-untyped-def]
    """Strongest initiation sites ``[n, 2, K]`` and their weights, and the strand's summed weight ``[n, 2]``.

    ``place`` holds the preference for a distance downstream of the centre, index 0 = the centre.
    """
    n, length = codes.shape
    width, reach, centre = bits.shape[0], len(place), length // 2
    sites = np.full((n, 2, TSS_SITES), centre, np.int32)
    best = np.zeros((n, 2, TSS_SITES))
    total = np.zeros((n, 2))
    for row in range(n):
        for strand in range(2):
            for downstream in range(reach):
                x = centre + downstream if strand == 0 else centre - downstream
                if x < width or x >= length - width:
                    continue
                score = 0.0
                for i in range(width):
                    if strand == 0:
                        score += bits[i, codes[row, x - INITIATOR_START + i]]
                    else:
                        score += bits[i, 3 - codes[row, x + INITIATOR_START - i]]
                weight = 2.0 ** (sharpness * score) * place[downstream]
                total[row, strand] += weight
                rank = TSS_SITES
                while rank > 0 and weight > best[row, strand, rank - 1]:
                    rank -= 1
                if rank < TSS_SITES:
                    for k in range(TSS_SITES - 1, rank, -1):
                        best[row, strand, k] = best[row, strand, k - 1]
                        sites[row, strand, k] = sites[row, strand, k - 1]
                    best[row, strand, rank] = weight
                    sites[row, strand, rank] = x
    return sites, best, total
