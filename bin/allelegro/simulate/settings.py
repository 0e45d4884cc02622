"""Every size and difficulty of a simulated cohort: one field a dial, with its default, its range and its help text."""

from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from allelegro.errors import DataError

T = TypeVar("T", int, float, bool)


def _dial(default: T, text: str, low: float | None = None, high: float | None = None) -> T:
    """A field with the help text and the inclusive range of its command-line option."""
    value: T = field(default=default, metadata={"help": text, "low": low, "high": high})
    return value


@dataclass(frozen=True)
class Settings:
    """What to simulate; lengths in bp, effects in log2 units. The equations are in docs/methods.md, "Simulator".

    Raises DataError for a value outside its range and for values that contradict each other.
    """

    seed: int = _dial(1, "Seed of everything random", 0)
    # sizes
    individuals: int = _dial(16, "Donors", 1)
    second_libraries: int = _dial(4, "Donors with a second library", 0)
    loci: int = _dial(360, "Transcribed elements", 1)
    chromosomes: int = _dial(3, "Chromosomes", 1)
    width: int = _dial(1000, "Window around an element in which sequence can act, in bp", 400, 4000)
    spacing: int = _dial(13_000, "Mean distance between loci in bp", 0)
    mpra_elements: int = _dial(4000, "lentiMPRA tiles, each in both orientations; more where --loci need them", 0)
    mpra_cells: int = _dial(1, "lentiMPRA cell types, one table each", 0)
    reads_per_library: int = _dial(80_000, "Expected PRO-cap molecules of a library, background included", 1)
    satmut_elements: int = _dial(6, "Elements under saturation mutagenesis", 0)
    # people
    population_size: float = _dial(27_000, "Effective population size now; sets diversity and linkage", 1)
    ancestral_size: float = _dial(16_500, "Population size before --expansion; 0 for no change of size", 0)
    expansion: float = _dial(20_000, "Generations since the population grew from --ancestral-size", 0)
    mutation_rate: float = _dial(1.25e-8, "Mutations per bp and generation", 1e-15, 1e-3)
    recombination_rate: float = _dial(1e-8, "Crossovers per bp and generation", 0)
    hotspot_share: float = _dial(0.8, "Share of crossovers in hotspots of 2 kb, one every 40 kb on average", 0, 0.99)
    indel_share: float = _dial(0.12, "Share of variants that are indels", 0, 1)
    genotype_error: float = _dial(0.005, "Share of called genotypes that are wrong in the VCF", 0, 0.2)
    switch_error: float = _dial(0.004, "Phase switches per heterozygous site of a donor in the VCF", 0, 0.5)
    # grammar
    activators: int = _dial(12, "Activating factors", 1)
    repressors: int = _dial(4, "Repressing factors", 0)
    degeneracy: float = _dial(0.4, "How soft motifs are: 0 nearly fixed words, 0.7 vague", 0, 0.7)
    interaction_order: int = _dial(2, "1 additive factors, 2 with spaced pairs, 3 also with a triple", 1, 3)
    interaction: float = _dial(0.8, "Strength of interactions relative to single factors", 0)
    distal: float = _dial(0.35, "Share of activators that act over hundreds of bp, beyond a 230-bp construct", 0, 1)
    initiator_effect: float = _dial(1.8, "Exponent of initiator strength in the initiation rate", 0)
    initiator_sharpness: float = _dial(1.8, "log2 weight of an initiation site per bit of its initiator", 0, 4)
    activity_sd: float = _dial(3.0, "Standard deviation of log2 activity between elements", 0.1)
    buffered: float = _dial(0.0, "Share of loci at which variants have a tenth of their effect", 0, 1)
    # reporter and LCL
    grammar_correlation: float = _dial(0.7, "Correlation of reporter cells' factor weights with the LCL's", 0, 1)
    reporter_silent: float = _dial(0.12, "Share of factors that need chromatin and do nothing in any reporter", 0, 1)
    lcl_only: float = _dial(0.12, "Share of factors that only LCLs have", 0, 1)
    reporter_initiator: float = _dial(0.05, "Exponent of initiator strength in lentiMPRA activity", 0)
    # donors and libraries
    trans_sd: float = _dial(0.1, "Standard deviation of a factor's weight between donors, relative to the weight", 0)
    hidden_factors: int = _dial(4, "Hidden donor factors that act on many loci, as principal components find them", 0)
    hidden_sd: float = _dial(0.1, "Standard deviation of log2 rate from each hidden factor", 0)
    batches: int = _dial(4, "Batches of library preparation", 1)
    batch_sd: float = _dial(0.12, "Standard deviation of log2 rate between batches, locus by locus", 0)
    depth_sd: float = _dial(0.2, "Standard deviation of log depth between libraries", 0)
    donor_dispersion: float = _dial(0.06, "Over-dispersion of PRO-cap rates that a donor's libraries share", 0)
    dispersion: float = _dial(0.03, "Over-dispersion of PRO-cap counts: variance = mean + dispersion x mean^2", 0)
    context_sd: float = _dial(0.5, "Standard deviation of log2 locus effects that no sequence explains", 0)
    swap_donors: bool = _dial(False, "Swap the libraries of two donors; truth.json says which")
    # reads
    tss_spread: float = _dial(1.0, "Laplace scale of 5' ends around an initiation site, in bp", 0)
    background: float = _dial(0.25, "Share of background molecules", 0, 0.95)
    clumpy: bool = _dial(True, "Background also in pile-ups, rRNA-like stacks and gene bodies, not only uniform")
    read_length: int = _dial(50, "Longest read in bp", 20, 150)
    fragment_mean: float = _dial(55, "Mean length of nascent RNA in bp, from 20; 0 for reads of full length", 0)
    duplicates: float = _dial(0.15, "Share of molecules with PCR duplicates", 0, 1)
    low_mapq: float = _dial(0.04, "Share of molecules with mapping quality below 10", 0, 1)
    mapping_bias: float = _dial(0.03, "Share of reads lost or misplaced for each alternative allele they carry", 0, 0.5)
    capped_g: float = _dial(0.3, "Share of reads that start with a non-templated G, soft-clipped", 0, 1)
    error_rate: float = _dial(0.001, "Sequencing errors per base", 0, 0.5)
    haplotype_tags: bool = _dial(False, "Tag each read with the haplotype it came from (BAM tag XH, 1 or 2)")
    # reporter assays and measured effects
    mpra_noise: float = _dial(0.6, "Noise of lentiMPRA log2 activity (sd), half of its variance per orientation", 0)
    mpra_orientation: float = _dial(0.3, "Real difference of lentiMPRA log2 activity between orientations (sd)", 0)
    mpra_tags: float = _dial(60, "Mean tags of a lentiMPRA construct, at least 10 kept; 0 for no noise from tags", 0)
    satmut_noise: float = _dial(0.5, "Noise of a saturation-mutagenesis effect measured by one barcode (sd)", 0)
    allelic_noise: float = _dial(2.0, "Noise of allelic MPRA, relative to a log2 sd of 0.05 to 0.2 an allele", 0)
    coverage_sd: float = _dial(1.0, "Spread of log coverage in ADASTRA and UDACHA tables, half following activity", 0)
    qtl_table: bool = _dial(True, "Also test variants against PRO-cap levels of the donors (truth/tiqtl.tsv)")

    def __post_init__(self) -> None:
        for dial in fields(self):
            _check_range(dial.name, getattr(self, dial.name), dial.metadata["low"], dial.metadata["high"])
        if self.loci < self.chromosomes:
            raise DataError(
                f"--loci {self.loci}: fewer than --chromosomes {self.chromosomes}; every chromosome needs one"
            )
        if self.second_libraries > self.individuals:
            raise DataError(f"--second-libraries {self.second_libraries}: more than --individuals {self.individuals}")
        if self.width % 2:
            raise DataError(f"--width {self.width}: must be even")
        if self.spacing < 3 * self.width:
            raise DataError(f"--spacing {self.spacing}: must be at least three times --width {self.width}")
        if self.swap_donors and self.individuals < 2:
            raise DataError("--swap-donors: needs at least 2 --individuals")
        if 0 < self.fragment_mean <= SHORTEST:
            raise DataError(f"--fragment-mean {self.fragment_mean}: must be 0 or above {SHORTEST} bp")

    @property
    def donors(self) -> list[str]:
        """Donor names, ``SIM0001`` onwards."""
        return [f"SIM{number:04d}" for number in range(1, self.individuals + 1)]

    @property
    def chromosome_names(self) -> list[str]:
        """``chr1`` onwards."""
        return [f"chr{number}" for number in range(1, self.chromosomes + 1)]

    @property
    def cells(self) -> list[str]:
        """Cell types of the lentiMPRA tables; PRO-cap and the allele tables are of ``LCL``, which is none of them."""
        return [f"cell{number}" for number in range(1, self.mpra_cells + 1)]

    @property
    def limits(self) -> list[str]:
        """What a cohort of these dials can and cannot show, a sentence each, for its report."""
        said = [
            f"Factor weights of the simulated reporters correlate {self.grammar_correlation:g} with those of the LCL, "
            "so lentiMPRA tells that much about PRO-cap effects and no figure here says how much it tells in reality."
        ]
        if self.individuals < FEW_DONORS:
            said.append(
                f"{self.individuals} donors are too few to find QTLs or to compare models between donors: the cohort shows "
                "that every stage works and that large effects are recovered, not which model is better."
            )
        if self.mutation_rate > HUMAN_MUTATION_RATE:
            said.append(
                f"The mutation rate is {self.mutation_rate / HUMAN_MUTATION_RATE:g} times the human one, so that few loci "
                "carry enough variants."
            )
        if not self.trans_sd and not self.donor_dispersion:
            said.append("Donors differ in nothing but their genotypes, which flatters every comparison between donors.")
        return said

    @property
    def reporter_cells(self) -> list[str]:
        """Cells with reporter assays: LCLs (allelic MPRA, saturation mutagenesis), then those of lentiMPRA."""
        return [REPORTER, *self.cells]


REPORTER = "LCL reporter"  # allelic MPRA and saturation mutagenesis in LCLs
FEW_DONORS = 30
HUMAN_MUTATION_RATE = 1.25e-8  # per bp and generation
SHORTEST = 20  # bp of the shortest RNA that a read comes from


def _check_range(name: str, value: float, low: float | None, high: float | None) -> None:
    """Raise DataError when ``value`` is not within ``low`` and ``high`` (None: no limit); NaN is within no range."""
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        limits = f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
        raise DataError(f"--{name.replace('_', '-')} {value:g}: must be {limits}")


def fewest_tiles(loci: int) -> int:
    """lentiMPRA tiles that ``loci`` need: two at each, and a tenth of all as controls."""
    return -(-20 * loci // 9)


FLATTERING: dict[str, Any] = {
    "population_size": 20_000,
    "ancestral_size": 0,
    "hotspot_share": 0.0,
    "indel_share": 0.1,
    "genotype_error": 0.0,
    "switch_error": 0.0,
    "activators": 8,
    "repressors": 3,
    "distal": 0.25,
    "initiator_effect": 0.5,
    "initiator_sharpness": 0.9,
    "grammar_correlation": 0.99,
    "reporter_silent": 0.0,
    "lcl_only": 0.0,
    "reporter_initiator": 0.0,
    "trans_sd": 0.0,
    "hidden_factors": 0,
    "batches": 1,
    "batch_sd": 0.0,
    "donor_dispersion": 0.0,
    "dispersion": 0.05,
    "fragment_mean": 0.0,
    "mapping_bias": 0.0,
    "mpra_orientation": 0.0,
    "mpra_tags": 0.0,
    "satmut_noise": 0.9,
    "allelic_noise": 1.0,
    "coverage_sd": 0.0,
}
"""Reporters that tell nearly everything about PRO-cap, and donors that differ in nothing but their genotypes."""

HARD: dict[str, Any] = {
    "grammar_correlation": 0.3,
    "reporter_silent": 0.25,
    "lcl_only": 0.25,
    "distal": 0.5,
    "initiator_effect": 2.5,
    "genotype_error": 0.01,
    "switch_error": 0.01,
    "trans_sd": 0.2,
    "hidden_sd": 0.2,
    "batch_sd": 0.25,
    "donor_dispersion": 0.2,
    "dispersion": 0.08,
    "mapping_bias": 0.1,
    "mpra_noise": 1.0,
}
"""Reporters that tell little, and donors whose genotypes matter little."""

STUDY: dict[str, Any] = {
    "individuals": 64,
    "second_libraries": 9,
    "loci": 2400,
    "chromosomes": 8,
    "mpra_elements": 20_000,
    "mpra_cells": 3,
    "reads_per_library": 400_000,
    "satmut_elements": 15,
}

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        **FLATTERING,
        "individuals": 6,
        "second_libraries": 2,
        "loci": 40,
        "chromosomes": 2,
        "spacing": 9000,
        "mpra_elements": 300,
        "reads_per_library": 12_000,
        "satmut_elements": 2,
        "mutation_rate": 2.5e-8,
        "qtl_table": False,
    },
    "demo": {**FLATTERING, "individuals": 12, "second_libraries": 2, "mutation_rate": 2.5e-8, "qtl_table": False},
    "study": STUDY,
    "flattering": {**STUDY, **FLATTERING},
    "hard": {**STUDY, **HARD},
}


def settings_of(preset: str, given: dict[str, Any]) -> Settings:
    """The sizes of ``preset`` with what is ``given`` in their place; more loci than the preset's bring their own tiles."""
    sizes = {**PRESETS[preset], **given}
    if "mpra_elements" not in given:
        tiles = sizes.get("mpra_elements", Settings.mpra_elements)
        sizes["mpra_elements"] = max(tiles, fewest_tiles(sizes.get("loci", Settings.loci)))
    return Settings(**sizes)
