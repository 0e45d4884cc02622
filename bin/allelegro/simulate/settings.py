"""Every size and difficulty of a simulated cohort, and the presets that set the sizes."""

from dataclasses import dataclass
from typing import Any

from allelegro.errors import DataError


@dataclass(frozen=True)
class Settings:
    """What to simulate; lengths in bp, effects in log2 units. The equations are in docs/methods.md, "Simulator"."""

    seed: int = 1
    # sizes
    individuals: int = 16
    second_libraries: int = 4
    loci: int = 360
    chromosomes: int = 3
    width: int = 1000
    spacing: int = 13_000
    mpra_elements: int = 4000
    mpra_cells: int = 1
    reads_per_library: int = 80_000
    satmut_elements: int = 6
    # people
    population_size: float = 20_000
    mutation_rate: float = 1.25e-8
    recombination_rate: float = 1e-8
    indel_share: float = 0.1
    # grammar
    activators: int = 8
    repressors: int = 3
    degeneracy: float = 0.4
    interaction_order: int = 2
    interaction: float = 0.8
    distal: float = 0.25
    initiator_effect: float = 0.5
    activity_sd: float = 3.0
    cell_sharing: float = 0.85
    # noise
    dispersion: float = 0.05
    context_sd: float = 0.5
    tss_spread: float = 1.0
    mpra_noise: float = 0.6
    background: float = 0.25
    clumpy: bool = True
    duplicates: float = 0.15
    low_mapq: float = 0.04
    capped_g: float = 0.3
    error_rate: float = 0.001
    swap_donors: bool = False

    def __post_init__(self) -> None:
        for name in ("individuals", "loci", "chromosomes", "reads_per_library", "activators"):
            if getattr(self, name) < 1:
                raise DataError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be at least 1")
        if self.loci < self.chromosomes:
            raise DataError(
                f"--loci {self.loci}: fewer than --chromosomes {self.chromosomes}; every chromosome needs one"
            )
        if self.second_libraries > self.individuals:
            raise DataError(f"--second-libraries {self.second_libraries}: more than --individuals {self.individuals}")
        if self.width % 2 or not 400 <= self.width <= 4000:
            raise DataError(f"--width {self.width}: must be even, 400 to 4000 bp")
        if self.spacing < 3 * self.width:
            raise DataError(f"--spacing {self.spacing}: must be at least three times --width {self.width}")
        if self.mutation_rate <= 0 or self.population_size <= 0 or self.recombination_rate < 0:
            raise DataError(
                "--mutation-rate, --population-size: must be above 0, and --recombination-rate at least 0; "
                f"got {self.mutation_rate}, {self.population_size}, {self.recombination_rate}"
            )
        if self.interaction_order not in (1, 2, 3):
            raise DataError(f"--interaction-order {self.interaction_order}: must be 1, 2 or 3")
        if self.swap_donors and self.individuals < 2:
            raise DataError("--swap-donors: needs at least 2 --individuals")

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


def fewest_tiles(loci: int) -> int:
    """lentiMPRA tiles that ``loci`` need: two at each, and a tenth of all as controls."""
    return -(-20 * loci // 9)


PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "individuals": 6,
        "second_libraries": 2,
        "loci": 40,
        "chromosomes": 2,
        "spacing": 9000,
        "mpra_elements": 300,
        "reads_per_library": 12_000,
        "satmut_elements": 2,
        "mutation_rate": 2.5e-8,
    },
    "demo": {"individuals": 12, "second_libraries": 2, "mutation_rate": 2.5e-8},
    "study": {
        "individuals": 64,
        "second_libraries": 9,
        "loci": 2400,
        "chromosomes": 8,
        "mpra_elements": 20_000,
        "mpra_cells": 3,
        "reads_per_library": 400_000,
        "satmut_elements": 15,
    },
}


def settings_of(preset: str, given: dict[str, Any]) -> Settings:
    """The sizes of ``preset`` with what is ``given`` in their place; more loci than the preset's bring their own tiles."""
    sizes = {**PRESETS[preset], **given}
    if "mpra_elements" not in given:
        tiles = sizes.get("mpra_elements", Settings.mpra_elements)
        sizes["mpra_elements"] = max(tiles, fewest_tiles(sizes.get("loci", Settings.loci)))
    return Settings(**sizes)
