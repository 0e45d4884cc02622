"""The whole cohort, one chromosome at a time, into one folder that appears when it is complete."""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.io import bgzf
from allelegro.io.arrays import save_array
from allelegro.io.atomic import atomic_folder
from allelegro.progress import progress
from allelegro.simulate import assays, bam, files, qtl
from allelegro.simulate.donors import LocusShifts, locus_shifts
from allelegro.simulate.genome import build_chromosome, place_elements
from allelegro.simulate.haplotypes import Effects, Haplotypes, build_haplotypes, draw_loci, variant_effects
from allelegro.simulate.plan import Plan, make_plan, shares
from allelegro.simulate.population import draw_variants
from allelegro.simulate.procap import Background, Expected, coverage, draw_background, draw_molecules
from allelegro.simulate.settings import Settings

log = logging.getLogger(__name__)
Counts = NDArray[np.int64]


def simulate_cohort(out: Path, settings: Settings, *, write_bam: bool = True, threads: int = 1) -> None:
    """Simulate a cohort into the folder ``out``; the layout is listed in docs/methods.md, "Simulator".

    Raises DataError when the settings contradict each other or ``out`` holds something other than a simulated cohort.
    Memory grows with one chromosome, not with the genome.
    """
    logging.getLogger("msprime").setLevel(logging.WARNING)
    with atomic_folder(out, "cohort") as folder:
        plan = make_plan(settings, folder, write_bam)
        tables = files.Tables()
        files.start(plan)
        seeds = np.random.SeedSequence(settings.seed).spawn(settings.chromosomes + 1)[1:]
        with progress("simulating", settings.chromosomes) as advance:
            for number, seed in enumerate(seeds):
                _chromosome(number, seed, plan, tables, threads)
                advance(1, plan.contigs[number][0])
        files.finish(plan, tables)
    log.info("%s: %d loci, %d donors, %d libraries", out, settings.loci, settings.individuals, len(plan.libraries))


def _chromosome(number: int, seed: np.random.SeedSequence, plan: Plan, tables: files.Tables, threads: int) -> None:
    """Everything about one chromosome: sequence, people, truth, tables and reads."""
    settings, grammar = plan.settings, plan.grammar
    make_seed, measure_seed, *library_seeds = seed.spawn(2 + len(plan.libraries))
    rng = np.random.default_rng(make_seed)
    elements, length = place_elements(plan.loci[number], plan.closed[number], settings, rng)
    genome = build_chromosome(elements, length, grammar, rng)
    loci = draw_loci(number, elements, settings, rng)
    places = draw_background(length, loci, rng)
    variants = draw_variants(genome, settings, rng)
    chromosome = assays.Chromosome(number, plan.contigs[number][0], genome, elements, loci, variants)
    haplotypes = build_haplotypes(genome, variants, loci, grammar, settings)
    effects = variant_effects(genome, variants, loci, grammar, settings)
    shifts = locus_shifts(number, genome, loci, grammar, plan.donors, settings)
    files.write_sequence(plan.folder, chromosome)
    files.write_variants(plan.folder, chromosome, settings)
    files.write_truth(plan.folder, chromosome, haplotypes, effects, settings.reporter_cells)
    tables.donor_rate.append(haplotypes.donor_log2_rate())
    tables.donor_shift.append(shifts.donor)
    _measure(chromosome, haplotypes, effects, plan, tables, np.random.default_rng(measure_seed))
    by_donor: dict[int, list[tuple[int, np.random.SeedSequence]]] = {}
    for index, library in enumerate(plan.libraries):
        by_donor.setdefault(library.source, []).append((index, library_seeds[index]))
    counts = np.zeros((len(loci.centre), len(plan.libraries)), np.int64)
    with ThreadPoolExecutor(threads) as pool:
        jobs = [
            pool.submit(_donor_reads, work, chromosome, haplotypes, shifts, places, plan, counts)
            for work in by_donor.values()
        ]
        for job in jobs:
            job.result()
    if settings.qtl_table:
        tables.qtl.append(_associations(chromosome, effects, counts, plan))


def _donor_reads(
    work: list[tuple[int, np.random.SeedSequence]],
    chromosome: assays.Chromosome,
    haplotypes: Haplotypes,
    shifts: LocusShifts,
    places: Background,
    plan: Plan,
    counts: Counts,
) -> None:
    """Molecules of all libraries of one donor on one chromosome: into BAMs, bigWig spools and ``counts [E, libraries]``."""
    settings, number = plan.settings, chromosome.number
    source = plan.libraries[work[0][0]].source
    sides = []
    if plan.write_bam:
        sides = [bam.personal_chromosome(chromosome.genome, chromosome.variants, 2 * source + side) for side in (0, 1)]
    share = places.length / sum(length for _, length in plan.contigs)
    for index, seed in work:
        library = plan.libraries[index]
        molecule_seed, read_seed = seed.spawn(2)
        expected = Expected(
            source,
            library.reads * (1 - settings.background) / (settings.loci * plan.mean_rate),
            (shifts.donor[:, source] + shifts.batch[:, library.batch]).astype(np.float64),
            library.reads * settings.background * share,
        )
        molecules = draw_molecules(
            expected, haplotypes, chromosome.variants, places, settings, np.random.default_rng(molecule_seed)
        )
        for strand, label in enumerate(("plus", "minus")):
            position, count = coverage(molecules, strand)
            save_array(files.spool(plan, library, label, number), np.stack([position, count]))
            counts[:, index] += qtl.locus_counts(chromosome.loci.centre, position, count)
        if plan.write_bam:
            first = number * 10_000_000
            rng = np.random.default_rng(read_seed)
            payload, _ = bam.records(molecules, sides, number, library.name, first, settings, rng)
            last = number == len(plan.contigs) - 1
            bgzf.append(plan.folder / f"libraries/{library.name}.bam", payload, last=last)


def _measure(
    chromosome: assays.Chromosome,
    haplotypes: Haplotypes,
    effects: Effects,
    plan: Plan,
    tables: files.Tables,
    rng: np.random.Generator,
) -> None:
    """The measured tables of one chromosome: lentiMPRA, saturation mutagenesis, allelic MPRA, ADASTRA and UDACHA."""
    settings, grammar, number = plan.settings, plan.grammar, chromosome.number
    if settings.mpra_cells:
        constructs = assays.lentimpra(chromosome, plan.controls[number], grammar, settings, rng)
        files.append_lentimpra(plan.folder, constructs, settings.cells)
    count = shares(settings.satmut_elements, settings.chromosomes)[number]
    first = haplotypes.offsets[:-1]
    if count:
        saturation = assays.saturation(chromosome, count, haplotypes.log2_activity[first], grammar, settings, rng)
        files.append_saturation(plan.folder, saturation)
    tables.allelic.append(assays.allelic_mpra(chromosome, grammar, settings, rng))
    height = haplotypes.log2_activity[first]
    for kind, measure, depth in (
        (tables.adastra, assays.adastra, assays.ADASTRA_DEPTH),
        (tables.udacha, assays.udacha, assays.UDACHA_DEPTH),
    ):
        cover = assays.coverage_depth(depth, measure.__name__, chromosome, effects, height, settings)
        kind.append(measure(chromosome, effects, cover, rng))


def _associations(chromosome: assays.Chromosome, effects: Effects, counts: Counts, plan: Plan) -> pd.DataFrame:
    """Slopes and p-values of the common SNVs of one chromosome in the labelled donors' levels."""
    depth = np.array([library.reads for library in plan.libraries])
    names = {donor: number for number, donor in enumerate(plan.settings.donors)}
    donor = np.array([names[library.donor] for library in plan.libraries])
    level = qtl.donor_levels(counts, depth, donor, len(names))
    tested = qtl.associations(level, chromosome.variants, effects.row, effects.element)
    return files.association_table(chromosome, effects, *tested)
