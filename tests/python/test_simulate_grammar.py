"""The grammar against slow restatements of its equations, and what its difficulty options do."""

import math

import numpy as np
import pytest

from allelegro.errors import DataError
from allelegro.io.dna import decode, encode, reverse_complement
from allelegro.simulate.genome import ElementWriter, background
from allelegro.simulate.grammar import Grammar, calibrated, construct, draw_grammar, saturate
from allelegro.simulate.settings import FLATTERING, Settings


def small_grammar(**options: object) -> Grammar:
    settings = Settings(**{**FLATTERING, "seed": 5, **options})  # type: ignore[arg-type]
    rng = np.random.default_rng(5)
    grammar = draw_grammar(settings, rng)
    elements = element_sequences(grammar, 40, rng)
    bare = np.stack([background(400, rng) for _ in range(20)])
    return calibrated(grammar, elements, bare, settings)


def element_sequences(grammar: Grammar, count: int, rng: np.random.Generator, width: int = 400) -> np.ndarray:
    writer, rows = ElementWriter(grammar, rng), []
    for _ in range(count):
        codes = background(2000, rng)
        writer.write(codes, 1000, bool(rng.random() < 0.5))
        rows.append(codes[1000 - width // 2 : 1000 + width // 2])
    return np.stack(rows)


def slow_occupancy(grammar: Grammar, factor: int, sequence: str) -> dict[int, float]:
    """Occupancy by motif centre, from the formulas in docs/methods.md, one site at a time."""
    motif = grammar.motifs[factor]
    best = sum(math.log2(max(column) / 0.25) for column in motif)
    result: dict[int, float] = {}
    for start in range(len(sequence) - len(motif) + 1):
        site = sequence[start : start + len(motif)]
        mirrored = decode(reverse_complement(encode(site)))
        total = 0.0
        for strand in (site, mirrored):
            score = sum(
                math.log2(column["ACGT".index(base)] / 0.25) for column, base in zip(motif, strand, strict=True)
            )
            gap = score - (best - grammar.tolerance[factor])
            total += 1 / (1 + math.exp(-1.6 * gap)) if gap > -5 else 0.0
        result[start + len(motif) // 2] = total
    return result


def slow_activity(grammar: Grammar, sequence: str, cell: str) -> float:
    middle = (len(sequence) - 1) / 2
    occupancy = [slow_occupancy(grammar, t, sequence) for t in range(len(grammar.names))]

    def reach(t: int, x: int) -> float:
        return math.exp(-0.5 * ((x - middle) / grammar.reach[t]) ** 2)

    level = 0.0
    for t, sites in enumerate(occupancy):
        dose = sum(value * reach(t, x) for x, value in sites.items())
        level += grammar.weights[cell][t] * dose / (1 + dose / 3)
    for p, (t, u) in enumerate(grammar.pair_members):
        dose = 0.0
        for x, value in occupancy[t].items():
            for y, other in occupancy[u].items():
                slip = abs(y - x) - grammar.pair_spacing[p]
                if abs(slip) <= 4:
                    dose += value * other * reach(t, x) * math.exp(-0.5 * (slip / 1.5) ** 2)
        level += grammar.pair_weights[cell][p] * dose / (1 + dose / 3)
    level = grammar.intercept + grammar.scale * level
    return math.log2(2**-1.5 + 1 / (2**-level + 2**-8))


def unsaturated(activity: np.ndarray) -> np.ndarray:
    """The level behind an activity: the floor and ceiling taken off."""
    return -np.log2(1 / (np.exp2(activity) - 2**-1.5) - 2**-8.0)


def test_activity_equals_the_equations() -> None:
    grammar = small_grammar(mpra_cells=1)
    sequences = element_sequences(grammar, 4, np.random.default_rng(8), 240)
    for cell in ("LCL", "cell1"):
        fast = grammar.activity(sequences, cell)
        slow = [slow_activity(grammar, decode(row), cell) for row in sequences]
        np.testing.assert_allclose(fast, slow, rtol=1e-9)


def test_activity_is_the_same_on_both_strands() -> None:
    grammar = small_grammar()
    sequences = element_sequences(grammar, 20, np.random.default_rng(1))
    forward, backward = grammar.initiation(sequences), grammar.initiation(reverse_complement(sequences))
    np.testing.assert_allclose(forward.log2_activity, backward.log2_activity, rtol=1e-9)
    assert np.corrcoef(forward.log2_strand[:, 0], backward.log2_strand[:, 1])[0, 1] > 0.99


def test_initiation_follows_the_initiator() -> None:
    grammar = small_grammar()
    flat = np.full((1, 400), 3, np.uint8)  # poly-T holds no initiator
    flat[0, 260 - 3 : 260 + 3] = encode("CTCATT")
    activity = grammar.initiation(flat)
    assert activity.sites[0, 0, 0] == 260
    assert activity.site_share[0, 0, 0] > 0.5
    mirrored = grammar.initiation(reverse_complement(flat))
    assert mirrored.sites[0, 1, 0] == 399 - 260
    np.testing.assert_allclose(activity.site_share.sum(2), 1)


def test_calibration_sets_the_spread() -> None:
    grammar = small_grammar(activity_sd=1.2)
    codes = element_sequences(grammar, 300, np.random.default_rng(3))
    level = unsaturated(grammar.activity(codes, "LCL"))
    assert 0.9 < level.std() < 1.6


def test_order_one_is_additive_and_order_three_is_not() -> None:
    additive, triple = small_grammar(interaction_order=1), small_grammar(interaction_order=3)
    assert len(additive.pair_members) == 0 and len(additive.triples) == 0
    assert len(triple.pair_members) > 0 and len(triple.triples) == 1
    dose = np.zeros((4, len(triple.names)))
    members = triple.triples[0]
    dose[1, members[:2]], dose[2, members[2]], dose[3, members] = 2.0, 2.0, 2.0
    pair = np.zeros((4, len(triple.pair_members)))
    raw = unsaturated(triple.combine(dose, pair, "LCL")) / triple.scale
    assert raw[3] - raw[1] - raw[2] + raw[0] == pytest.approx(triple.triple_weights["LCL"][0] * (1.2 / 2.2) ** 3)


def test_distal_factors_reach_beyond_a_construct() -> None:
    near, far = small_grammar(distal=0.0), small_grammar(distal=0.5)
    assert (near.reach == 100).all() and (far.reach == 250).sum() == 4


def test_degeneracy_softens_motifs() -> None:
    sharp, vague = small_grammar(degeneracy=0.1), small_grammar(degeneracy=0.6)
    assert np.mean([m.max(1).mean() for m in sharp.motifs]) > np.mean([m.max(1).mean() for m in vague.motifs]) + 0.1


def test_cells_share_the_grammar_in_part() -> None:
    weights = small_grammar(mpra_cells=2, grammar_correlation=0.5).weights
    for cell in ("cell1", "cell2"):
        cosine = weights["LCL"] @ weights[cell] / np.linalg.norm(weights["LCL"]) / np.linalg.norm(weights[cell])
        assert cosine == pytest.approx(0.5)
    assert not np.allclose(weights["cell1"], weights["cell2"])
    same = small_grammar(mpra_cells=1, grammar_correlation=1.0)
    np.testing.assert_allclose(same.weights["LCL"], same.weights["cell1"])


def test_construct_and_saturation() -> None:
    whole = decode(construct(np.zeros((1, 200), np.uint8))[0])
    assert whole == "AGGACCGGATCAACT" + "A" * 200 + "CATTGCGTGAACCGA"
    assert saturate(np.array([0.0, 3.0])).tolist() == [0.0, 1.5]


def test_background_has_regional_gc_and_few_cpgs() -> None:
    sequence = decode(background(400_000, np.random.default_rng(2)))
    blocks = [sequence[i : i + 2000] for i in range(0, len(sequence), 2000)]
    gc = np.array([(b.count("G") + b.count("C")) / len(b) for b in blocks])
    assert gc.std() > 0.03 and np.corrcoef(gc[:-1], gc[1:])[0, 1] > 0.5
    expected = sequence.count("C") * sequence.count("G") / len(sequence)
    assert 0.15 < sequence.count("CG") / expected < 0.5


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"individuals": 0}, "--individuals"),
        ({"width": 501}, "--width"),
        ({"interaction_order": 4}, "--interaction-order"),
        ({"second_libraries": 99}, "--second-libraries"),
        ({"loci": 1, "chromosomes": 2}, "--loci"),
    ],
)
def test_contradictory_settings_are_named(options: dict[str, int], word: str) -> None:
    with pytest.raises(DataError, match=word):
        Settings(**options)  # type: ignore[arg-type]
