"""What every chromosome of a cohort shares: the calibrated grammar, donors, libraries and sizes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.simulate.donors import Donors, draw_batches, draw_donors
from allelegro.simulate.genome import EDGE, ElementWriter, background
from allelegro.simulate.grammar import Grammar, calibrated, draw_grammar
from allelegro.simulate.settings import Settings, fewest_tiles

PILOT = 400  # elements that set the grammar's scale and the sequencing depth


@dataclass(frozen=True)
class Library:
    """One library: the donor it is labelled with and the donor its molecules come from (different when swapped)."""

    name: str
    donor: str
    source: int
    batch: int
    reads: float


@dataclass(frozen=True)
class Plan:
    """What every chromosome shares."""

    settings: Settings
    grammar: Grammar
    donors: Donors
    libraries: list[Library]
    contigs: list[tuple[str, int]]
    loci: list[int]  # loci of each chromosome
    closed: list[int]  # cCREs of each chromosome that are closed in the LCL
    controls: list[int]
    mean_rate: float  # expected initiation rate of a locus
    folder: Path
    write_bam: bool


def shares(total: int, parts: int) -> list[int]:
    """``total`` in ``parts`` nearly equal shares."""
    return [total // parts + (part < total % parts) for part in range(parts)]


def make_plan(settings: Settings, folder: Path, write_bam: bool) -> Plan:
    """Draw what the chromosomes share. Raises DataError when --mpra-elements are too few for the loci."""
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed).spawn(1)[0])
    grammar = draw_grammar(settings, rng)
    writer = ElementWriter(grammar, rng)
    pilot = np.stack([_pilot_element(writer, settings.width, rng) for _ in range(PILOT)])
    bare = np.stack([background(settings.width, rng) for _ in range(PILOT)])
    grammar = calibrated(grammar, pilot, bare, settings)
    rate = np.exp2(grammar.initiation(pilot).log2_strand).sum(1)
    loci = shares(settings.loci, settings.chromosomes)
    controls = settings.mpra_elements // 10
    closed = settings.mpra_elements - controls - 2 * settings.loci
    if closed < 0:
        raise DataError(
            f"--mpra-elements {settings.mpra_elements}: too few for two tiles at each of {settings.loci} loci and a tenth "
            f"as controls; give at least {fewest_tiles(settings.loci)}"
        )
    lengths = [count * settings.spacing + 2 * EDGE for count in loci]
    return Plan(
        settings,
        grammar,
        draw_donors(settings),
        _draw_libraries(settings, rng),
        list(zip(settings.chromosome_names, lengths, strict=True)),
        loci,
        shares(closed, settings.chromosomes),
        shares(controls, settings.chromosomes),
        float(rate.mean() * np.exp((np.log(2) * settings.context_sd) ** 2 / 2)),
        folder,
        write_bam,
    )


def _pilot_element(writer: ElementWriter, width: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    codes = background(2 * EDGE, rng)
    writer.write(codes, EDGE, bool(rng.random() < 0.5))
    return codes[EDGE - width // 2 : EDGE + width // 2]


def _draw_libraries(settings: Settings, rng: np.random.Generator) -> list[Library]:
    """One library a donor, a second for the first few; with ``swap_donors`` two donors' molecules change labels."""
    source = np.arange(settings.individuals)
    if settings.swap_donors:
        one, other = (settings.donors.index(name) for name in rng.choice(settings.donors, 2, replace=False))
        source[one], source[other] = other, one
    donor = np.concatenate([np.arange(settings.individuals), np.arange(settings.second_libraries)])
    run = np.repeat([0, 1], [settings.individuals, settings.second_libraries])
    order = np.argsort(donor, kind="stable")
    donor, run = donor[order], run[order]
    batch = draw_batches(settings, donor, run)
    libraries = []
    for number, again, prepared in zip(donor, run, batch, strict=True):
        name = settings.donors[number]
        reads = settings.reads_per_library * float(rng.lognormal(-(settings.depth_sd**2) / 2, settings.depth_sd))
        libraries.append(Library(f"{name}_{again + 1}", name, int(source[number]), int(prepared), reads))
    return libraries
