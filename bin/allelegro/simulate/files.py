"""The files of a simulated cohort: genome, variants, sheets, truth and measured tables, appended chromosome by chromosome."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
from numpy.typing import NDArray

from allelegro import __version__
from allelegro.io import bgzf
from allelegro.io.arrays import save_array
from allelegro.io.bigwig import BigWigWriter
from allelegro.io.dna import decode
from allelegro.io.tables import append_table, write_table
from allelegro.simulate import assays, bam, qtl
from allelegro.simulate.haplotypes import Effects, Haplotypes
from allelegro.simulate.plan import Library, Plan
from allelegro.simulate.population import Caller
from allelegro.simulate.settings import REPORTER, Settings

Floats = NDArray[np.float64]
LENTIMPRA_COLUMNS = ["seq_id", "chromosome", "start", "end", "strand", "seq", "mean_value", "fold_num", "rev"]
LINE, BATCH = 60, 5000  # bases of a FASTA line, VCF records rendered at a time


@dataclass
class Tables:
    """What waits for the last chromosome: tests are adjusted over the cohort. All other rows are written as they come."""

    allelic: list[pd.DataFrame] = field(default_factory=list)
    adastra: list[pd.DataFrame] = field(default_factory=list)
    udacha: list[pd.DataFrame] = field(default_factory=list)
    qtl: list[pd.DataFrame] = field(default_factory=list)
    donor_rate: list[NDArray[np.float32]] = field(default_factory=list)
    donor_shift: list[NDArray[np.float32]] = field(default_factory=list)


def start(plan: Plan) -> None:
    """Folders, and the headers of the files that chromosomes are appended to."""
    (plan.folder / "truth").mkdir()
    (plan.folder / "libraries").mkdir()
    for library in plan.libraries if plan.write_bam else []:
        header = bam.header(plan.contigs, library.name, library.donor)
        bgzf.append(plan.folder / f"libraries/{library.name}.bam", header)
    bgzf.append(plan.folder / "variants.vcf.gz", _vcf_header(plan).encode())


def spool(plan: Plan, library: Library, label: str, number: int) -> Path:
    """Where the coverage of one strand of chromosome ``number`` waits for the library's bigWig."""
    return plan.folder / f"libraries/{library.name}.{label}.{number}.npy"


def write_sequence(folder: Path, chromosome: assays.Chromosome) -> None:
    """Append the chromosome to genome.fa."""
    sequence = decode(chromosome.genome)
    with (folder / "genome.fa").open("a") as stream:
        stream.write(f">{chromosome.name}\n")
        stream.writelines(f"{sequence[begin : begin + LINE]}\n" for begin in range(0, len(sequence), LINE))


def _vcf_header(plan: Plan) -> str:
    contigs = "".join(f"##contig=<ID={name},length={length}>\n" for name, length in plan.contigs)
    return (
        f"##fileformat=VCFv4.3\n##source=simulate_cohort.py {__version__}\n{contigs}"
        '##FILTER=<ID=PASS,Description="All filters passed">\n'
        '##INFO=<ID=AF,Number=A,Type=Float,Description="Frequency of ALT among the donors">\n'
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Phased genotype">\n'
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t" + "\t".join(plan.settings.donors) + "\n"
    )


def write_variants(folder: Path, chromosome: assays.Chromosome, settings: Settings) -> None:
    """Append the called genotypes to variants.vcf.gz, a batch at a time, and their errors to truth/call_errors.tsv.gz."""
    variants, caller = chromosome.variants, Caller(chromosome.number, settings)
    for begin in range(0, len(variants), BATCH):
        called, wrong, switched = caller.call(variants.genotypes[begin : begin + BATCH])
        bgzf.append(folder / "variants.vcf.gz", _vcf_records(chromosome, begin, called))
        for kind, where in (("genotype", wrong), ("switch", switched)):
            row, donor = np.nonzero(where)
            if len(row):
                position = variants.pos[begin + row] + 1
                errors = {"chrom": chromosome.name, "pos": position, "donor": np.array(settings.donors)[donor]}
                append_table(pd.DataFrame({**errors, "error": kind}), folder / "truth" / "call_errors.tsv.gz")


def _vcf_records(chromosome: assays.Chromosome, begin: int, called: NDArray[np.int8]) -> bytes:
    """VCF lines of the variants from ``begin`` on; genotypes are rendered as one array of bytes."""
    variants, frequency = chromosome.variants, called.mean(1)
    text = np.full((len(called), called.shape[1] // 2, 4), ord("|"), np.uint8)
    text[:, :, 0] = ord("0") + called[:, 0::2]
    text[:, :, 2] = ord("0") + called[:, 1::2]
    text[:, :, 3] = ord("\t")
    text[:, -1, 3] = ord("\n")
    lines = []
    for v, row in enumerate(text):
        ref, alt = variants.alleles(chromosome.genome, begin + v)
        place = f"{chromosome.name}\t{variants.pos[begin + v] + 1}"
        name = f"{chromosome.name}:{variants.pos[begin + v] + 1}:{ref}:{alt}"
        lines.append(f"{place}\t{name}\t{ref}\t{alt}\t.\tPASS\tAF={frequency[v]:.4g}\tGT\t".encode() + row.tobytes())
    return b"".join(lines)


def write_truth(
    folder: Path, chromosome: assays.Chromosome, haplotypes: Haplotypes, effects: Effects, cells: list[str]
) -> None:
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
    places = variant_places(chromosome, effects.row)
    append_table(
        places.assign(
            **{
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
    parts = places.assign(
        element=names[effects.element],
        distance=variants.pos[effects.row] - loci.centre[effects.element],
        sensitivity=loci.sensitivity[effects.element],
        effect=effects.effect,
        initiator_effect=effects.effect - effects.activity,
        **{
            f"reporter_effect.{'LCL' if cell == REPORTER else cell}": change
            for cell, change in zip(cells, effects.reporter, strict=True)
        },
    )
    append_table(parts, truth / "effect_parts.tsv")


def variant_places(chromosome: assays.Chromosome, rows: NDArray[np.int64]) -> pd.DataFrame:
    """Columns chrom, pos (1-based), ref and alt of variants."""
    alleles = [chromosome.variants.alleles(chromosome.genome, int(v)) for v in rows]
    return pd.DataFrame(
        {
            "chrom": chromosome.name,
            "pos": chromosome.variants.pos[rows] + 1,
            "ref": [ref for ref, _ in alleles],
            "alt": [alt for _, alt in alleles],
        }
    )


def append_lentimpra(folder: Path, constructs: pd.DataFrame, cells: list[str]) -> None:
    """Append the constructs of one chromosome to the table of each cell."""
    for cell in cells:
        columns = [*LENTIMPRA_COLUMNS[:6], f"mean_value.{cell}", *LENTIMPRA_COLUMNS[7:]]
        append_table(constructs[columns].set_axis(LENTIMPRA_COLUMNS, axis=1), folder / f"lentimpra.{cell}.tsv")


def append_saturation(folder: Path, table: pd.DataFrame) -> None:
    """Append the saturation mutagenesis of one chromosome."""
    append_table(table, folder / "truth" / "satmut.tsv")


def association_table(
    chromosome: assays.Chromosome, effects: Effects, tested: NDArray[np.int64], slope: Floats, p: Floats
) -> pd.DataFrame:
    """Rows of truth/tiqtl.tsv for the ``tested`` effects of one chromosome."""
    names = np.array([f"{chromosome.name}_{centre}" for centre in chromosome.loci.centre])
    return variant_places(chromosome, effects.row[tested]).assign(
        element=names[effects.element[tested]], beta=slope, pvalue=p, true_effect=effects.effect[tested]
    )


def finish(plan: Plan, tables: Tables) -> None:
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
    save_array(folder / "truth" / "donor_log2_rate.npy", np.concatenate(tables.donor_rate))
    save_array(folder / "truth" / "donor_log2_shift.npy", np.concatenate(tables.donor_shift))
    (folder / "truth.json").write_text(json.dumps(_truth(plan), indent=1) + "\n")


def _write_bigwig(plan: Plan, library: Library, label: str) -> None:
    with BigWigWriter.create(plan.folder / f"libraries/{library.name}.{label}.bw", dict(plan.contigs)) as writer:
        for number, (name, _) in enumerate(plan.contigs):
            waiting = spool(plan, library, label, number)
            position, count = np.load(waiting)
            waiting.unlink()
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
    names = ["satmut"] * bool(plan.settings.satmut_elements) + ["mpra", "adastra", "udacha"]
    names += ["tiqtl"] * plan.settings.qtl_table + ["truth"]
    kinds = ["qtl" if name == "tiqtl" else name for name in names]
    tables = ["truth/effects.tsv" if name == "truth" else f"truth/{name}.tsv" for name in names]
    write_table(pd.DataFrame({"name": names, "kind": kinds, "table": tables}), folder / "variant_sets.tsv")


def _write_measurements(truth: Path, tables: Tables) -> None:
    write_table(assays.finish_allelic_mpra(pd.concat(tables.allelic, ignore_index=True)), truth / "mpra.tsv")
    binding = pd.concat(tables.adastra, ignore_index=True)
    write_table(
        assays.with_fdr(binding, {column: column for column in ("fdrp_bh_ref", "fdrp_bh_alt")}), truth / "adastra.tsv"
    )
    access = pd.concat(tables.udacha, ignore_index=True)
    tests = {f"{side}fdr_comb_pval": f"{side}comb_pval" for side in ("ref_", "alt_")} | {"fdr_comb_pval": "comb_pval"}
    write_table(assays.with_fdr(access, tests), truth / "udacha.tsv")
    if tables.qtl:
        write_table(qtl.called(pd.concat(tables.qtl, ignore_index=True)), truth / "tiqtl.tsv")


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
        "limits": settings.limits,
        "donors": settings.donors,
        "swapped_donors": swapped,
        "libraries": [
            {
                "library": library.name,
                "donor": library.donor,
                "molecules_from": settings.donors[library.source],
                "batch": library.batch + 1,
            }
            for library in plan.libraries
        ],
        "grammar": plan.grammar.describe(),
        "tables": {
            "elements": "truth/elements.tsv",
            "haplotypes": "truth/haplotypes.tsv.gz",
            "donor_log2_rate": "truth/donor_log2_rate.npy (elements x donors, rows as in elements.tsv)",
            "donor_log2_shift": "truth/donor_log2_shift.npy (elements x donors, both haplotypes alike)",
            "effects": "truth/effects.tsv",
            "effect_parts": "truth/effect_parts.tsv",
        },
    }
