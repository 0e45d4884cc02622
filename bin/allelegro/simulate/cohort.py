"""The whole cohort, one chromosome at a time, into one folder that appears when it is complete."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
from numpy.typing import NDArray

from allelegro import __version__
from allelegro.errors import DataError
from allelegro.io.atomic import atomic_folder
from allelegro.io.bigwig import BigWigWriter
from allelegro.io.dna import decode
from allelegro.io.tables import append_table, write_table
from allelegro.progress import progress
from allelegro.simulate import assays, bam, bgzf
from allelegro.simulate.genome import EDGE, ElementWriter, background, build_chromosome, place_elements
from allelegro.simulate.grammar import Grammar, calibrated, draw_grammar
from allelegro.simulate.haplotypes import (
    Effects,
    Haplotypes,
    build_haplotypes,
    draw_loci,
    variant_effects,
)
from allelegro.simulate.population import draw_variants
from allelegro.simulate.procap import Background, coverage, draw_background, draw_molecules
from allelegro.simulate.settings import Settings, fewest_tiles

log = logging.getLogger(__name__)
Floats = NDArray[np.float64]
PILOT = 400  # elements that set the grammar's scale and the sequencing depth
LENTIMPRA_COLUMNS = ["seq_id", "chromosome", "start", "end", "strand", "seq", "mean_value", "fold_num", "rev"]
LINE, BATCH = 60, 5000  # bases of a FASTA line, VCF records rendered at a time


@dataclass(frozen=True)
class Library:
    """One library: the donor it is labelled with and the donor its molecules come from (different when swapped)."""

    name: str
    donor: str
    source: int
    reads: float


@dataclass(frozen=True)
class Plan:
    """What every chromosome shares."""

    settings: Settings
    grammar: Grammar
    libraries: list[Library]
    contigs: list[tuple[str, int]]
    loci: list[int]  # loci of each chromosome
    closed: list[int]  # cCREs of each chromosome that are closed in the LCL
    controls: list[int]
    mean_rate: float  # expected initiation rate of a locus
    folder: Path
    write_bam: bool


@dataclass
class Tables:
    """What waits for the last chromosome: tests are adjusted over the cohort. All other rows are written as they come."""

    allelic: list[pd.DataFrame]
    adastra: list[pd.DataFrame]
    udacha: list[pd.DataFrame]
    donor_rate: list[NDArray[np.float32]]


def simulate_cohort(out: Path, settings: Settings, *, write_bam: bool = True, threads: int = 1) -> None:
    """Simulate a cohort into the folder ``out``; the layout is listed in docs/methods.md, "Simulator".

    Raises DataError when the settings contradict each other or ``out`` holds something other than a simulated cohort.
    Memory grows with one chromosome, not with the genome.
    """
    logging.getLogger("msprime").setLevel(logging.WARNING)
    with atomic_folder(out, "truth.json") as folder:
        plan = _plan(settings, folder, write_bam)
        tables = Tables([], [], [], [])
        (folder / "truth").mkdir()
        (folder / "libraries").mkdir()
        for library in plan.libraries if write_bam else []:
            bgzf.append(folder / f"libraries/{library.name}.bam", bam.header(plan.contigs, library.name, library.donor))
        bgzf.append(folder / "variants.vcf.gz", _vcf_header(plan).encode())
        seeds = np.random.SeedSequence(settings.seed).spawn(settings.chromosomes + 1)[1:]
        with progress("simulating", settings.chromosomes) as advance:
            for number, seed in enumerate(seeds):
                _chromosome(number, seed, plan, tables, threads)
                advance(1, plan.contigs[number][0])
        _finish(plan, tables)
    log.info("%s: %d loci, %d donors, %d libraries", out, settings.loci, settings.individuals, len(plan.libraries))


def _shares(total: int, parts: int) -> list[int]:
    """``total`` in ``parts`` nearly equal shares."""
    return [total // parts + (part < total % parts) for part in range(parts)]


def _plan(settings: Settings, folder: Path, write_bam: bool) -> Plan:
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed).spawn(1)[0])
    grammar = draw_grammar(settings, rng)
    writer = ElementWriter(grammar, rng)
    pilot = np.stack([_pilot_element(writer, settings.width, rng) for _ in range(PILOT)])
    bare = np.stack([background(settings.width, rng) for _ in range(PILOT)])
    grammar = calibrated(grammar, pilot, bare, settings)
    rate = np.exp2(grammar.initiation(pilot).log2_strand).sum(1)
    loci = _shares(settings.loci, settings.chromosomes)
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
        _draw_libraries(settings, rng),
        list(zip(settings.chromosome_names, lengths, strict=True)),
        loci,
        _shares(closed, settings.chromosomes),
        _shares(controls, settings.chromosomes),
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
    source = {donor: number for number, donor in enumerate(settings.donors)}
    if settings.swap_donors:
        one, other = rng.choice(settings.donors, 2, replace=False)
        source[one], source[other] = source[other], source[one]
    libraries = []
    for number, donor in enumerate(settings.donors):
        for run in range(1, 3 if number < settings.second_libraries else 2):
            reads = settings.reads_per_library * float(rng.lognormal(-0.02, 0.2))
            libraries.append(Library(f"{donor}_{run}", donor, source[donor], reads))
    return libraries


def _chromosome(number: int, seed: np.random.SeedSequence, plan: Plan, tables: Tables, threads: int) -> None:
    """Everything about one chromosome: sequence, people, truth, tables and reads."""
    settings, grammar = plan.settings, plan.grammar
    name, _ = plan.contigs[number]
    make_seed, measure_seed, *library_seeds = seed.spawn(2 + len(plan.libraries))
    rng = np.random.default_rng(make_seed)
    elements, length = place_elements(plan.loci[number], plan.closed[number], settings, rng)
    genome = build_chromosome(elements, length, grammar, rng)
    loci = draw_loci(elements, settings, rng)
    places = draw_background(length, loci, rng)
    variants = draw_variants(genome, settings, rng)
    chromosome = assays.Chromosome(name, genome, elements, loci, variants)
    haplotypes = build_haplotypes(genome, variants, loci, grammar, settings)
    effects = variant_effects(genome, variants, loci, grammar, settings)
    _write_fasta(plan.folder / "genome.fa", name, decode(genome))
    _write_variants(plan.folder / "variants.vcf.gz", chromosome)
    _write_truth(plan.folder, chromosome, haplotypes, effects)
    tables.donor_rate.append(haplotypes.donor_log2_rate())
    _measure(number, chromosome, haplotypes, effects, plan, tables, np.random.default_rng(measure_seed))
    by_donor: dict[int, list[tuple[Library, np.random.SeedSequence]]] = {}
    for library, library_seed in zip(plan.libraries, library_seeds, strict=True):
        by_donor.setdefault(library.source, []).append((library, library_seed))
    with ThreadPoolExecutor(threads) as pool:
        jobs = [
            pool.submit(_donor_reads, number, work, chromosome, haplotypes, places, plan) for work in by_donor.values()
        ]
        for job in jobs:
            job.result()


def _donor_reads(
    number: int,
    work: list[tuple[Library, np.random.SeedSequence]],
    chromosome: assays.Chromosome,
    haplotypes: Haplotypes,
    places: Background,
    plan: Plan,
) -> None:
    """Molecules of all libraries of one donor on one chromosome, appended to their BAMs and spooled for their bigWigs."""
    settings, source = plan.settings, work[0][0].source
    sides = []
    if plan.write_bam:
        sides = [bam.personal_chromosome(chromosome.genome, chromosome.variants, 2 * source + side) for side in (0, 1)]
    share = places.length / sum(length for _, length in plan.contigs)
    for library, seed in work:
        molecule_seed, read_seed = seed.spawn(2)
        molecules = draw_molecules(
            source,
            chromosome.loci,
            haplotypes,
            chromosome.variants,
            places,
            library.reads * (1 - settings.background) / (settings.loci * plan.mean_rate),
            library.reads * settings.background * share,
            settings,
            np.random.default_rng(molecule_seed),
        )
        for strand, label in enumerate(("plus", "minus")):
            np.save(_spool(plan, library, label, number), np.stack(coverage(molecules, strand)))
        if plan.write_bam:
            first = number * 10_000_000
            rng = np.random.default_rng(read_seed)
            payload, _ = bam.records(molecules, sides, number, library.name, first, settings, rng)
            last = number == len(plan.contigs) - 1
            bgzf.append(plan.folder / f"libraries/{library.name}.bam", payload, last=last)


def _spool(plan: Plan, library: Library, label: str, number: int) -> Path:
    return plan.folder / f"libraries/{library.name}.{label}.{number}.npy"


def _write_fasta(path: Path, name: str, sequence: str) -> None:
    with path.open("a") as stream:
        stream.write(f">{name}\n")
        stream.writelines(f"{sequence[start : start + LINE]}\n" for start in range(0, len(sequence), LINE))


def _vcf_header(plan: Plan) -> str:
    contigs = "".join(f"##contig=<ID={name},length={length}>\n" for name, length in plan.contigs)
    return (
        f"##fileformat=VCFv4.3\n##source=simulate_cohort.py {__version__}\n{contigs}"
        '##FILTER=<ID=PASS,Description="All filters passed">\n'
        '##INFO=<ID=AF,Number=A,Type=Float,Description="Frequency of ALT among the donors">\n'
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Phased genotype">\n'
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t" + "\t".join(plan.settings.donors) + "\n"
    )


def _write_variants(path: Path, chromosome: assays.Chromosome) -> None:
    """Append the chromosome's records, a batch at a time; genotypes are rendered as one array of bytes."""
    variants, sequence = chromosome.variants, chromosome.genome
    frequency = variants.genotypes.mean(1)
    for begin in range(0, len(variants), BATCH):
        batch = variants.genotypes[begin : begin + BATCH]
        text = np.full((len(batch), batch.shape[1] // 2, 4), ord("|"), np.uint8)
        text[:, :, 0] = ord("0") + batch[:, 0::2]
        text[:, :, 2] = ord("0") + batch[:, 1::2]
        text[:, :, 3] = ord("\t")
        text[:, -1, 3] = ord("\n")
        lines = []
        for v, row in enumerate(text, begin):
            ref, alt = variants.alleles(sequence, v)
            place = f"{chromosome.name}\t{variants.pos[v] + 1}\t{chromosome.name}:{variants.pos[v] + 1}:{ref}:{alt}"
            lines.append(f"{place}\t{ref}\t{alt}\t.\tPASS\tAF={frequency[v]:.4g}\tGT\t".encode() + row.tobytes())
        bgzf.append(path, b"".join(lines))


def _write_truth(folder: Path, chromosome: assays.Chromosome, haplotypes: Haplotypes, effects: Effects) -> None:
    """Elements, haplotypes and variant effects of one chromosome, added to the cohort's tables."""
    truth = folder / "truth"
    loci, variants = chromosome.loci, chromosome.variants
    names = np.array([f"{chromosome.name}_{centre}" for centre in loci.centre])
    first = haplotypes.offsets[:-1]
    elements = pd.DataFrame(
        {
            "chrom": chromosome.name,
            "centre": loci.centre,
            "name": names,
            "kind": np.where(loci.promoter, "promoter", "enhancer"),
            "plus_summit": haplotypes.site_ref[first, 0, 0],
            "minus_summit": haplotypes.site_ref[first, 1, 0],
            "log2_activity": haplotypes.log2_activity[first],
            "log2_rate": haplotypes.log2_rate[first],
            "log2_plus": haplotypes.log2_strand[first, 0],
            "log2_minus": haplotypes.log2_strand[first, 1],
            "context": loci.context,
            "plus_share": loci.plus_share,
            "haplotypes": np.diff(haplotypes.offsets),
        }
    )
    append_table(elements, truth / "elements.tsv")
    append_table(_elements_bed(elements), folder / "elements.bed")
    element = np.repeat(np.arange(len(names)), np.diff(haplotypes.offsets))
    carriers = np.bincount(haplotypes.index.ravel(), minlength=len(element))
    append_table(
        pd.DataFrame(
            {
                "element": names[element],
                "haplotype": np.arange(len(element)) - first[element],
                "carriers": carriers,
                "log2_rate": haplotypes.log2_rate,
                "log2_plus": haplotypes.log2_strand[:, 0],
                "log2_minus": haplotypes.log2_strand[:, 1],
            }
        ),
        truth / "haplotypes.tsv.gz",
    )
    alleles = [variants.alleles(chromosome.genome, int(v)) for v in effects.row]
    append_table(
        pd.DataFrame(
            {
                "chrom": chromosome.name,
                "pos": variants.pos[effects.row] + 1,
                "ref": [ref for ref, _ in alleles],
                "alt": [alt for _, alt in alleles],
                "effect": effects.effect,
                "plus_effect": effects.plus,
                "minus_effect": effects.minus,
                "activity_effect": effects.activity,
                "element": names[effects.element],
                "distance": variants.pos[effects.row] - loci.centre[effects.element],
                "frequency": variants.genotypes[effects.row].mean(1),
            }
        ),
        truth / "effects.tsv",
    )


def _measure(
    number: int,
    chromosome: assays.Chromosome,
    haplotypes: Haplotypes,
    effects: Effects,
    plan: Plan,
    tables: Tables,
    rng: np.random.Generator,
) -> None:
    settings, grammar = plan.settings, plan.grammar
    if settings.mpra_cells:
        constructs = assays.lentimpra(chromosome, plan.controls[number], grammar, settings, rng)
        for cell in settings.cells:
            columns = [*LENTIMPRA_COLUMNS[:6], f"mean_value.{cell}", *LENTIMPRA_COLUMNS[7:]]
            append_table(constructs[columns].set_axis(LENTIMPRA_COLUMNS, axis=1), plan.folder / f"lentimpra.{cell}.tsv")
    count = _shares(settings.satmut_elements, settings.chromosomes)[number]
    activity = haplotypes.log2_activity[haplotypes.offsets[:-1]]
    if count:
        saturation = assays.saturation(chromosome, count, activity, grammar, rng)
        append_table(saturation, plan.folder / "truth" / "satmut.tsv")
    tables.allelic.append(assays.allelic_mpra(chromosome, grammar, rng))
    tables.adastra.append(assays.adastra(chromosome, effects, rng))
    tables.udacha.append(assays.udacha(chromosome, effects, rng))


def _finish(plan: Plan, tables: Tables) -> None:
    """Indexes, bigWigs, sheets, tables and truth.json."""
    folder = plan.folder
    bgzf.append(folder / "variants.vcf.gz", b"", last=True)
    pysam.tabix_index(str(folder / "variants.vcf.gz"), preset="vcf", force=True)
    pysam.faidx(str(folder / "genome.fa"))
    for library in plan.libraries:
        if plan.write_bam:
            pysam.index(str(folder / f"libraries/{library.name}.bam"))
        for label in ("plus", "minus"):
            _write_bigwig(plan, library, label)
    _write_sheets(plan)
    _write_measurements(folder / "truth", tables)
    np.save(folder / "truth" / "donor_log2_rate.npy", np.concatenate(tables.donor_rate))
    (folder / "truth.json").write_text(json.dumps(_truth(plan), indent=1) + "\n")


def _write_bigwig(plan: Plan, library: Library, label: str) -> None:
    with BigWigWriter.create(plan.folder / f"libraries/{library.name}.{label}.bw", dict(plan.contigs)) as writer:
        for number, (name, _) in enumerate(plan.contigs):
            spool = _spool(plan, library, label, number)
            position, count = np.load(spool)
            spool.unlink()
            writer.add(name, position, count)


def _write_sheets(plan: Plan) -> None:
    folder, cells = plan.folder, plan.settings.cells
    names = [library.name for library in plan.libraries]
    sheet = pd.DataFrame({"library": names, "donor": [library.donor for library in plan.libraries]})
    signals = sheet.assign(
        plus=[f"libraries/{n}.plus.bw" for n in names], minus=[f"libraries/{n}.minus.bw" for n in names]
    )
    write_table(signals, folder / "signals.tsv")
    if plan.write_bam:
        write_table(sheet.assign(bam=[f"libraries/{n}.bam" for n in names]), folder / "libraries.tsv")
    if cells:
        write_table(pd.DataFrame({"name": cells, "table": [f"lentimpra.{c}.tsv" for c in cells]}), folder / "mpra.tsv")
    kinds = ["satmut"] * bool(plan.settings.satmut_elements) + ["mpra", "adastra", "udacha", "truth"]
    tables = ["truth/effects.tsv" if kind == "truth" else f"truth/{kind}.tsv" for kind in kinds]
    write_table(pd.DataFrame({"name": kinds, "kind": kinds, "table": tables}), folder / "variant_sets.tsv")


def _write_measurements(truth: Path, tables: Tables) -> None:
    write_table(assays.finish_allelic_mpra(pd.concat(tables.allelic, ignore_index=True)), truth / "mpra.tsv")
    binding = pd.concat(tables.adastra, ignore_index=True)
    write_table(
        assays.with_fdr(binding, {column: column for column in ("fdrp_bh_ref", "fdrp_bh_alt")}), truth / "adastra.tsv"
    )
    access = pd.concat(tables.udacha, ignore_index=True)
    tests = {f"{side}fdr_comb_pval": f"{side}comb_pval" for side in ("ref_", "alt_")} | {"fdr_comb_pval": "comb_pval"}
    write_table(assays.with_fdr(access, tests), truth / "udacha.tsv")


def _elements_bed(elements: pd.DataFrame) -> pd.DataFrame:
    """Span of the two summits, with the strongest initiation site of the reference on each strand."""
    summits = elements[["plus_summit", "minus_summit"]]
    return pd.DataFrame(
        {
            "#chrom": elements["chrom"],
            "start": summits.min(axis=1),
            "end": summits.max(axis=1) + 1,
            "name": elements["name"],
            "score": (100 * elements["log2_rate"].clip(0, 10)).round().astype(int),
            "strand": ".",
            "plus_summit": elements["plus_summit"],
            "minus_summit": elements["minus_summit"],
        }
    )


def _truth(plan: Plan) -> dict[str, object]:
    settings = plan.settings
    swapped = sorted({library.donor for library in plan.libraries if settings.donors[library.source] != library.donor})
    return {
        "version": __version__,
        "settings": asdict(settings),
        "donors": settings.donors,
        "swapped_donors": swapped,
        "libraries": [
            {"library": library.name, "donor": library.donor, "molecules_from": settings.donors[library.source]}
            for library in plan.libraries
        ],
        "grammar": plan.grammar.describe(),
        "tables": {
            "elements": "truth/elements.tsv",
            "haplotypes": "truth/haplotypes.tsv.gz",
            "donor_log2_rate": "truth/donor_log2_rate.npy (elements x donors, rows as in elements.tsv)",
            "effects": "truth/effects.tsv",
        },
    }
