"""What each dial of the simulator does, on a small cohort with most of them turned and on the parts they turn."""

import json
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest

from allelegro.cli.simulate_cohort import Preset
from allelegro.effects.measured import read_measured
from allelegro.errors import DataError
from allelegro.simulate import qtl
from allelegro.simulate.cohort import simulate_cohort
from allelegro.simulate.genome import build_chromosome, place_elements
from allelegro.simulate.grammar import correlated, draw_grammar
from allelegro.simulate.haplotypes import draw_loci, variant_effects
from allelegro.simulate.plan import make_plan
from allelegro.simulate.population import Caller, Variants, draw_variants, recombination_map
from allelegro.simulate.procap import Molecules, alternative_alleles
from allelegro.simulate.settings import FLATTERING, PRESETS, REPORTER, Settings

SMALL = Settings(
    **{
        **FLATTERING,
        "seed": 4,
        "individuals": 8,
        "second_libraries": 8,
        "loci": 40,
        "chromosomes": 2,
        "spacing": 6000,
        "mpra_elements": 120,
        "reads_per_library": 20_000,
        "satmut_elements": 1,
        "mutation_rate": 4e-8,
        "dispersion": 0.02,
        "qtl_table": False,
    }
)
TURNED = replace(
    SMALL,
    genotype_error=0.02,
    switch_error=0.05,
    buffered=0.3,
    grammar_correlation=0.5,
    reporter_silent=0.2,
    lcl_only=0.1,
    reporter_initiator=0.1,
    trans_sd=0.3,
    hidden_factors=2,
    hidden_sd=0.3,
    batches=2,
    batch_sd=0.3,
    donor_dispersion=0.1,
    read_length=60,
    fragment_mean=45,
    mapping_bias=0.2,
    error_rate=0.0,
    haplotype_tags=True,
    mpra_orientation=0.5,
    mpra_tags=30,
    coverage_sd=0.7,
    qtl_table=True,
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A cohort at neutral dials and the same cohort with the dials turned."""
    folder = tmp_path_factory.mktemp("dials")
    simulate_cohort(folder / "neutral", SMALL)
    simulate_cohort(folder / "turned", TURNED)
    return folder / "neutral", folder / "turned"


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / name, sep="\t")


def genotypes(folder: Path) -> dict[tuple[str, int], np.ndarray]:
    """Alleles ``[donors, 2]`` by contig and 1-based position."""
    with pysam.VariantFile(str(folder / "variants.vcf.gz")) as calls:
        return {(r.chrom, r.pos): np.array([s.allele_indices for s in r.samples.values()]) for r in calls}


@pytest.mark.parametrize(("name", "value"), [("reporter_silent", 1.5), ("switch_error", -0.1), ("trans_sd", np.nan)])
def test_a_dial_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(DataError, match=f"--{name.replace('_', '-')}"):
        Settings(**{name: value})  # type: ignore[arg-type]


def test_every_dial_has_help_and_a_default_within_its_range() -> None:
    assert all(dial.metadata["help"] for dial in fields(Settings))
    assert {preset.value for preset in Preset} == set(PRESETS)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.mark.parametrize("wanted", [0.0, 0.3, 0.7, 1.0])
def test_weights_correlate_as_asked(wanted: float) -> None:
    rng = np.random.default_rng(1)
    weights = rng.choice([-1, 1], 12) * rng.uniform(0.6, 1.4, 12)
    present = np.arange(12) >= 3
    turned = correlated(weights, present, wanted, rng)
    most = float(np.linalg.norm(weights[present]) / np.linalg.norm(weights))
    assert cosine(turned, weights) == pytest.approx(min(wanted, most), abs=1e-9)
    assert (turned[:3] == 0).all()


def test_reporters_lack_silent_and_private_factors() -> None:
    settings = Settings(activators=10, repressors=0, reporter_silent=0.2, lcl_only=0.3, grammar_correlation=0.4)
    weights = draw_grammar(settings, np.random.default_rng(3)).weights
    assert (weights["LCL"] != 0).all()
    assert (weights[REPORTER] == 0).sum() == 2 and (weights["cell1"] == 0).sum() == 5
    assert (weights["cell1"][weights[REPORTER] == 0] == 0).all()
    np.testing.assert_array_equal(weights[REPORTER][weights[REPORTER] != 0], weights["LCL"][weights[REPORTER] != 0])


def test_parts_of_effects_add_up(folders: tuple[Path, Path]) -> None:
    effects, parts = table(folders[1], "truth/effects.tsv"), table(folders[1], "truth/effect_parts.tsv")
    np.testing.assert_allclose(parts["initiator_effect"] + effects["activity_effect"], effects["effect"], atol=1e-5)
    inside = parts["distance"].between(-100, 99)
    assert parts.loc[inside, "reporter_effect.cell1"].notna().all()
    assert parts.loc[~inside, ["reporter_effect.cell1", "reporter_effect.LCL"]].isna().all(axis=None)
    assert set(parts["sensitivity"]) == {0.1, 1.0}


def test_buffered_loci_show_a_tenth_of_an_effect(folders: tuple[Path, Path]) -> None:
    before, after = (table(folder, "truth/effect_parts.tsv") for folder in folders)
    assert before["pos"].equals(after["pos"])
    np.testing.assert_allclose(after["effect"], after["sensitivity"] * before["effect"], atol=1e-5)
    haplotypes = [table(folder, "truth/haplotypes.tsv.gz") for folder in folders]
    reference = [h["element"].map(h[h["haplotype"] == 0].set_index("element")["log2_rate"]) for h in haplotypes]
    change = [h["log2_plus"] + h["log2_minus"] for h in haplotypes]
    own = [c - c.groupby(h["element"]).transform("first") for c, h in zip(change, haplotypes, strict=True)]
    shown = haplotypes[0]["element"].map(after.groupby("element")["sensitivity"].first())
    tested = shown.notna()
    np.testing.assert_allclose(own[1][tested], (shown * own[0])[tested], atol=1e-4)
    pd.testing.assert_series_equal(reference[0], reference[1])


def test_an_expansion_makes_rare_alleles_commoner() -> None:
    genome = np.random.default_rng(1).integers(0, 4, 300_000).astype(np.uint8)
    rare = []
    for settings in (SMALL, replace(SMALL, ancestral_size=1000, expansion=2000)):
        variants = draw_variants(genome, settings, np.random.default_rng(5))
        count = variants.genotypes.sum(1)
        rare.append(np.mean(np.minimum(count, 16 - count) == 1))
    assert rare[1] > rare[0] + 0.1


def test_hotspots_hold_their_share_of_the_crossovers() -> None:
    length = 1_000_001
    assert recombination_map(length, SMALL) == SMALL.recombination_rate
    rates = recombination_map(length, replace(SMALL, hotspot_share=0.8))
    width = np.diff(rates.position)
    assert (width * rates.rate).sum() == pytest.approx(SMALL.recombination_rate * length)
    hot = rates.rate > SMALL.recombination_rate
    assert (width * rates.rate)[hot].sum() == pytest.approx(0.8 * SMALL.recombination_rate * length)
    assert width[hot].sum() < 0.1 * length


def test_sharper_initiators_focus_initiation() -> None:
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 4, (50, 600)).astype(np.uint8)
    share = [
        draw_grammar(Settings(initiator_sharpness=sharpness), np.random.default_rng(1)).initiation(codes).site_share
        for sharpness in (0.9, 1.8)
    ]
    assert share[1][:, :, 0].mean() > share[0][:, :, 0].mean() + 0.1


def residuals(folder: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Libraries, and log2 counts at loci ``[E, libraries]`` less the donor's rate in cis, the locus's and the library's mean."""
    import pybigtools

    elements, libraries = table(folder, "truth/elements.tsv"), table(folder, "libraries.tsv")
    rate = np.load(folder / "truth/donor_log2_rate.npy")
    donors = json.loads((folder / "truth.json").read_text())["donors"]
    counts = np.zeros((len(elements), len(libraries)))
    for number, library in enumerate(libraries["library"]):
        for strand in ("plus", "minus"):
            reader = pybigtools.open(str(folder / f"libraries/{library}.{strand}.bw"))
            for e, row in enumerate(elements.itertuples()):
                values = reader.values(row.chrom, row.centre - 150, row.centre + 150, fillna=0)
                counts[e, number] += values.sum()
    strong = counts.mean(1) > 100
    left = np.log2(counts + 0.5) - rate[:, [donors.index(donor) for donor in libraries["donor"]]]
    left = left[strong] - left[strong].mean(1, keepdims=True)
    return libraries, left - left.mean(0)


def test_a_donors_libraries_share_what_is_the_donors(folders: tuple[Path, Path]) -> None:
    for folder, low, high in ((folders[0], -0.3, 0.3), (folders[1], 0.4, 1.0)):
        libraries, left = residuals(folder)
        agreement = np.corrcoef(left.T)
        same = libraries["donor"].to_numpy()[:, None] == libraries["donor"].to_numpy()
        replicates = agreement[np.triu(same, 1)].mean()
        assert low < replicates - agreement[np.triu(~same, 1)].mean() < high


def test_stated_shifts_are_those_of_the_counts(folders: tuple[Path, Path]) -> None:
    assert not np.load(folders[0] / "truth/donor_log2_shift.npy").any()
    libraries, left = residuals(folders[1])
    shift = np.load(folders[1] / "truth/donor_log2_shift.npy")
    assert shift.shape == (40, 8) and shift.std() > 0.3
    top = np.linalg.svd(shift - shift.mean(1, keepdims=True), compute_uv=False) ** 2
    assert top[:3].sum() / top.sum() > 0.5  # hidden factors are few
    donor = [sorted(set(libraries["donor"])).index(name) for name in libraries["donor"]]
    means = np.stack([left[:, np.array(donor) == d].mean(1) for d in range(8)], axis=1)
    assert means.std() > 0.3


def test_batches_are_stated_and_split_replicates(folders: tuple[Path, Path]) -> None:
    libraries = json.loads((folders[1] / "truth.json").read_text())["libraries"]
    batch = {(row["donor"], row["library"][-1]): row["batch"] for row in libraries}
    assert set(batch.values()) == {1, 2}
    assert all(batch[donor, "1"] != batch[donor, "2"] for donor, _ in batch)


def test_reads_carry_the_haplotype_they_are_tagged_with(folders: tuple[Path, Path]) -> None:
    """Against the neutral cohort's VCF, which has the same variants and no errors."""
    truth, turned = genotypes(folders[0]), folders[1]
    snvs = {}
    with pysam.VariantFile(str(folders[0] / "variants.vcf.gz")) as calls:
        for record in calls:
            one, other = truth[record.chrom, record.pos][0]
            if one != other and len(record.ref) == len(record.alts[0]) == 1:
                snvs[record.chrom, record.start] = record.alleles[one], record.alleles[other]
    seen, right, lengths = 0, 0, Counter()
    with pysam.AlignmentFile(str(turned / "libraries/SIM0001_1.bam")) as reads:
        for read in reads:
            lengths[read.query_length] += 1
            if read.mapping_quality < 30:
                continue
            sequence = read.query_sequence
            for at, position in read.get_aligned_pairs(matches_only=True):
                if (read.reference_name, position) in snvs:
                    pair = snvs[read.reference_name, position]
                    if sequence[at] not in pair:
                        continue
                    seen += 1
                    right += sequence[at] == pair[read.get_tag("XH") - 1]
    assert seen > 200 and right / seen > 0.95  # misplaced reads lie at other reads' variants
    assert min(lengths) >= 20 and max(lengths) == 60 and len(lengths) > 20


def test_bigwigs_are_still_the_reads(folders: tuple[Path, Path]) -> None:
    import pybigtools

    counts: Counter = Counter()
    molecules = set()
    with pysam.AlignmentFile(str(folders[1] / "libraries/SIM0002_1.bam")) as reads:
        for read in reads:
            five = read.reference_end - 1 if read.is_reverse else read.reference_start
            key = (read.reference_name, five, read.is_reverse, read.get_tag("RX"))
            if read.mapping_quality >= 30 and key not in molecules:
                counts[read.is_reverse] += 1
            molecules.add(key)
    for label, reverse in (("plus", False), ("minus", True)):
        reader = pybigtools.open(str(folders[1] / f"libraries/SIM0002_1.{label}.bw"))
        total = sum((end - start) * value for chrom in reader.chroms() for start, end, value in reader.records(chrom))
        assert total == pytest.approx(counts[reverse], abs=2)


def test_mapping_bias_costs_alternative_alleles(folders: tuple[Path, Path]) -> None:
    truth = genotypes(folders[0])
    share = []
    for folder in folders:
        reference = total = 0
        with pysam.VariantFile(str(folders[0] / "variants.vcf.gz")) as calls:
            records = [(r.chrom, r.start, r.ref, r.alts[0]) for r in calls if len(r.ref) == len(r.alts[0]) == 1]
        for name in ("SIM0001", "SIM0002", "SIM0003"):
            with pysam.AlignmentFile(str(folder / f"libraries/{name}_1.bam")) as reads:
                for chrom, start, ref, alt in records:
                    one, other = truth[chrom, start + 1][int(name[3:]) - 1]
                    if one == other:
                        continue
                    bases = reads.count_coverage(chrom, start, start + 1, quality_threshold=0)
                    reference += bases["ACGT".index(ref)][0]
                    total += bases["ACGT".index(ref)][0] + bases["ACGT".index(alt)][0]
        share.append(reference / total)
    assert share[1] > share[0] + 0.02


def test_called_genotypes_differ_where_errors_are_listed(folders: tuple[Path, Path]) -> None:
    truth, called = (genotypes(folder) for folder in folders)
    errors = table(folders[1], "truth/call_errors.tsv.gz")
    assert not (folders[0] / "truth/call_errors.tsv.gz").exists()
    wrong = set(zip(*errors.loc[errors["error"] == "genotype", ["chrom", "pos", "donor"]].to_numpy().T, strict=True))
    donors = [f"SIM{number:04d}" for number in range(1, 9)]
    carried = 0
    for place, alleles in truth.items():
        for number, donor in enumerate(donors):
            same = sorted(alleles[number]) == sorted(called[place][number])
            assert same != ((*place, donor) in wrong)
            carried += alleles[number].any()
    assert 0.01 < len(wrong) / carried < 0.03


def test_alternative_alleles_of_reads_are_counted() -> None:
    """Against a loop over variants, reads of either strand and length."""
    rng = np.random.default_rng(9)
    pos = np.sort(rng.choice(5000, 60, replace=False)).astype(np.int64)
    genotypes = rng.integers(0, 2, (60, 4)).astype(np.int8)
    variants = Variants(pos, np.ones(60, np.int64), np.zeros(60, np.uint8), np.arange(61), genotypes)
    five, length = rng.integers(200, 4800, 500), rng.integers(20, 151, 500)
    strand, haplotype = rng.integers(0, 2, 500), rng.integers(0, 2, 500)
    molecules = Molecules(five, five, length, strand, haplotype, five, five)
    expected = []
    for at, size, reverse, side in zip(five, length, strand, haplotype, strict=True):
        start = at - size + 1 if reverse else at
        expected.append(sum(g and start <= p < start + size for p, g in zip(pos, genotypes[:, 2 + side], strict=True)))
    assert alternative_alleles(molecules, 2, variants).tolist() == expected and max(expected) > 1


def test_phase_switches_at_the_set_rate() -> None:
    settings = Settings(individuals=3, second_libraries=0, switch_error=0.1, genotype_error=0.0)
    heterozygous = np.tile(np.array([1, 0], np.int8), (4000, 3))
    caller = Caller(0, settings)
    called = np.concatenate([caller.call(part)[0] for part in np.split(heterozygous, 8)])
    switches = (np.diff(called[:, 0::2], axis=0) != 0).mean()
    assert switches == pytest.approx(0.1, abs=0.01)
    assert (called.reshape(4000, 3, 2).sum(2) == 1).all()


def test_constructs_need_ten_tags_and_orientations_differ(folders: tuple[Path, Path]) -> None:
    agreement, rows = [], []
    for folder in folders:
        constructs = table(folder, "lentimpra.cell1.tsv")
        sides = constructs.pivot_table(index="start", columns="rev", values="mean_value").dropna()
        agreement.append(np.corrcoef(sides[0], sides[1])[0, 1])
        rows.append(len(constructs))
    assert rows[1] < 0.97 * rows[0] and agreement[1] < agreement[0]


def test_coverage_varies_and_follows_activity(folders: tuple[Path, Path]) -> None:
    spread = [np.log(table(folder, "truth/udacha.tsv")["max_cover"]).std() for folder in folders]
    assert spread[1] > spread[0] + 0.1


def test_associations_find_a_planted_effect_and_its_sign() -> None:
    rng = np.random.default_rng(2)
    dosage = rng.integers(0, 3, (5, 60)).astype(float)
    level = 0.8 * dosage[2] + rng.normal(0, 0.5, 60)
    slope, p = qtl.association(level, dosage, 0)
    assert p.argmin() == 2 and slope[2] == pytest.approx(0.8, abs=0.25)
    by_hand = np.polyfit(dosage[0], level, 1)[0]
    assert slope[0] == pytest.approx(by_hand)


def test_components_that_many_loci_share_are_taken_out() -> None:
    rng = np.random.default_rng(2)
    hidden = rng.normal(size=40)
    level = rng.normal(size=(200, 1)) * hidden + rng.normal(0, 0.3, (200, 40))
    clean = qtl.without_components(level, 1)
    assert abs(np.corrcoef(clean[0], hidden)[0, 1]) < 0.1 < abs(np.corrcoef(level[0], hidden)[0, 1])


def test_associations_are_a_readable_set_of_measured_effects(folders: tuple[Path, Path]) -> None:
    sheet = table(folders[1], "variant_sets.tsv").set_index("name")
    assert sheet.loc["tiqtl", "kind"] == "qtl" and "tiqtl" not in set(table(folders[0], "variant_sets.tsv")["name"])
    rows = table(folders[1], "truth/tiqtl.tsv")
    assert rows["pvalue"].between(0, 1).all() and set(rows["significant"].dropna()) <= {0.0, 1.0}
    read = read_measured(folders[1] / "truth/tiqtl.tsv", "qtl")
    assert len(read.table) == len(rows)


def test_associations_test_common_snvs_at_their_locus_and_call_the_lead() -> None:
    rng = np.random.default_rng(6)
    genotypes = rng.integers(0, 2, (6, 80)).astype(np.int8)
    genotypes[1, 1:] = 0  # a singleton is not common
    lengths = np.array([1, 1, 3, 1, 1, 1])  # the third variant is a deletion
    variants = Variants(np.arange(6) * 50, lengths, np.zeros(6, np.uint8), np.arange(7), genotypes)
    dosage = genotypes[:, 0::2] + genotypes[:, 1::2]
    level = np.stack([0.9 * dosage[3] + rng.normal(0, 0.3, 40), rng.normal(0, 1, 40)])
    tested, slope, p = qtl.associations(level, variants, np.arange(6), np.array([0, 0, 0, 0, 1, 1]))
    assert tested.tolist() == [0, 3, 4, 5]
    assert slope[1] == pytest.approx(0.9, abs=0.2)
    rows = qtl.called(pd.DataFrame({"element": ["a", "a", "b", "b"], "pvalue": p}))
    assert rows["significant"][1] == 1 and (rows["significant"][2:] != 1).all()


@pytest.mark.parametrize("seed", [1, 2])
def test_by_default_reporters_tell_about_half_and_initiators_matter(seed: int) -> None:
    """r(true reporter effect, true PRO-cap effect) of 0.5 ± 0.1; many donors, so that there are enough variants."""
    settings = Settings(seed=seed, individuals=200, loci=250, chromosomes=1, spacing=6000, mpra_elements=600)
    plan = make_plan(settings, Path(), False)
    rng = np.random.default_rng(seed)
    elements, length = place_elements(settings.loci, 0, settings, rng)
    genome = build_chromosome(elements, length, plan.grammar, rng)
    loci = draw_loci(0, elements, settings, rng)
    effects = variant_effects(genome, draw_variants(genome, settings, rng), loci, plan.grammar, settings)
    reporter = effects.reporter[settings.reporter_cells.index("cell1")]
    near = np.isfinite(reporter)
    assert np.corrcoef(reporter[near], effects.effect[near])[0, 1] == pytest.approx(0.5, abs=0.1)
    assert 0.1 < (effects.effect - effects.activity).var() / effects.effect.var() < 0.4


def test_a_cohort_says_what_it_cannot_show(folders: tuple[Path, Path]) -> None:
    few = json.loads((folders[0] / "truth.json").read_text())["limits"]
    assert any("too few" in sentence for sentence in few) and any("nothing but" in sentence for sentence in few)
    many = Settings(individuals=60).limits
    assert len(many) == 1 and "0.7" in many[0]
