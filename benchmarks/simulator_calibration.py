#!/usr/bin/env python3
"""Is a simulated cohort like the real ones? Simulated figures alongside published ones, then what a perfect model reaches.

    benchmarks/simulator_calibration.py --work WORK --preset study --individuals 500 --loci 1200

Prints three tables: the calibration, the ceilings (the true grammar scored through a model's windows against every
measured table), and the agreement between donors for 20, 60 and all donors. --legnet also trains a LegNet on lentiMPRA.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
from cyvcf2 import VCF
from haplotypes import REPOSITORY
from numpy.typing import NDArray

sys.path.insert(0, str(REPOSITORY / "bin"))

from allelegro.effects.measured import read_measured
from allelegro.io.dna import encode
from allelegro.io.signal import Signal
from allelegro.simulate import qtl
from allelegro.simulate.cohort import simulate_cohort
from allelegro.simulate.grammar import Grammar
from allelegro.simulate.plan import make_plan
from allelegro.simulate.settings import PRESETS, REPORTER, Settings, settings_of
from allelegro.statistics import kernel_ridge, pearson

Floats = NDArray[np.float64]
STUDY_DONORS, STUDY_SECOND = 58, 9
NARROW, WIDE = 230, 1000
EXPRESSED = 20  # mean 5' ends a library from which donors are compared at a locus


@dataclass(frozen=True)
class Cohort:
    """A simulated cohort read back from its files."""

    folder: Path
    settings: Settings
    grammar: Grammar
    elements: pd.DataFrame
    libraries: pd.DataFrame  # library, donor (index), depth
    counts: NDArray[np.int64]  # [E, libraries]
    rate: Floats  # [E, donors] log2, in cis
    dosage: list[NDArray[np.float32]]  # of each locus [donors, variants in its window]

    def levels(self, rows: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
        """log2 levels ``[E, donors]`` from the libraries ``rows``, and the donors they are of."""
        chosen = self.libraries.iloc[rows]
        donors, donor = np.unique(chosen["donor"], return_inverse=True)
        depth = chosen["depth"].to_numpy(float)
        return qtl.donor_levels(self.counts[:, rows], depth, donor, len(donors)), donors


def load(folder: Path) -> Cohort:
    """Everything about the cohort in ``folder`` that the tables need."""
    truth = json.loads((folder / "truth.json").read_text())
    settings = Settings(**truth["settings"])
    elements = pd.read_csv(folder / "truth" / "elements.tsv", sep="\t")
    sheet = pd.read_csv(folder / "signals.tsv", sep="\t")
    counts = np.zeros((len(elements), len(sheet)), np.int64)
    depth = np.zeros(len(sheet))
    for number, row in enumerate(sheet.itertuples()):
        for path in (row.plus, row.minus):
            signal = Signal(folder / path)
            for chrom, loci in elements.groupby("chrom"):
                position, count = signal.counts(chrom)
                counts[loci.index, number] += qtl.locus_counts(loci["centre"].to_numpy(), position, count)
                depth[number] += count.sum()
    donors = {name: number for number, name in enumerate(truth["donors"])}
    libraries = pd.DataFrame({"donor": sheet["donor"].map(donors), "depth": depth})
    reader, dosage = VCF(str(folder / "variants.vcf.gz")), []
    for row in elements.itertuples():
        begin, end = row.centre - settings.width // 2 + 1, row.centre + settings.width // 2
        rows = [v.genotype.array()[:, :2].sum(1) for v in reader(f"{row.chrom}:{begin}-{end}")]
        dosage.append(np.array(rows, np.float32).reshape(-1, len(donors)).T)
    rate = np.load(folder / "truth" / "donor_log2_rate.npy").astype(float)
    grammar = make_plan(settings, folder, False).grammar
    return Cohort(folder, settings, grammar, elements, libraries, counts, rate, dosage)


def within(one: Floats, other: Floats) -> Floats:
    """r across donors at each locus ``[E]``; 0 where either is constant."""
    x, y = (values - values.mean(1, keepdims=True) for values in (one, other))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num((x * y).sum(1) / np.sqrt((x**2).sum(1) * (y**2).sum(1)))


def linear_predictions(cohort: Cohort, loci: NDArray[np.int64], level: Floats, donors: NDArray[np.int64]) -> Floats:
    """Levels ``[loci, donors]`` predicted by a ridge regression on the window's genotypes, each fifth of the donors held out."""
    order = np.random.default_rng(1).permutation(len(donors))
    predicted = np.zeros((len(loci), len(donors)))
    kernels = np.zeros((len(loci), len(donors), len(donors)))
    for k, locus in enumerate(loci):
        x = cohort.dosage[locus][donors]
        x = x - x.mean(0)
        kernels[k] = x @ x.T
    for part in np.array_split(order, 5):
        fitted = np.setdiff1d(np.arange(len(donors)), part)
        mean = level[:, fitted].mean(1, keepdims=True)  # else a locus without effects seems to predict the opposite
        predicted[:, part] = kernel_ridge(kernels, level, fitted)[:, part] - mean
    return predicted


def between_donors(cohort: Cohort, sizes: list[int]) -> None:
    """Print r between donors of the perfect cis model, of replicates and of the linear model."""
    strong = np.flatnonzero(cohort.counts.mean(1) >= EXPRESSED)
    first = np.flatnonzero(~cohort.libraries["donor"].duplicated())
    second = np.flatnonzero(cohort.libraries["donor"].duplicated())
    paired = first[np.isin(cohort.libraries["donor"].to_numpy()[first], cohort.libraries["donor"].to_numpy()[second])]
    one, other = (cohort.levels(rows)[0][strong] for rows in (paired, second))
    replicates = float(np.mean(within(one, other)))
    print(
        "\n| donors | loci | perfect model, all loci | tenth with most cis variation | linear model, all loci | that tenth |"
    )
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for size in sizes:
        rows = first[cohort.libraries["donor"].to_numpy()[first] < size]
        level, donors = cohort.levels(rows)
        perfect = within(cohort.rate[strong][:, donors], level[strong])
        spread = cohort.rate[strong][:, donors].std(1)
        carrying = spread > np.quantile(spread, 0.9)
        few = strong[: max(20, min(len(strong), 40_000_000 // size**2))]
        linear = within(linear_predictions(cohort, few, level[few], donors), level[few])
        tenth = carrying[: len(few)]
        print(
            f"| {size} | {len(strong)} | {np.mean(perfect):.3f} | {np.mean(perfect[carrying]):.3f} "
            f"| {np.mean(linear):.3f} | {np.mean(linear[tenth]):.3f} |"
        )
    print(
        f"\nReplicates of {len(paired)} donors: r {replicates:.3f}, its square root {np.sqrt(max(replicates, 0)):.3f}."
    )


@dataclass(frozen=True)
class Row:
    """One line of the calibration."""

    figure: str
    simulated: str
    published: str
    source: str


def associations(cohort: Cohort) -> pd.DataFrame:
    """The tiQTL test on the first 58 donors and their 67 libraries."""
    donor = cohort.libraries["donor"].to_numpy()
    rows = np.flatnonzero((donor < STUDY_DONORS) & (~cohort.libraries["donor"].duplicated() | (donor < STUDY_SECOND)))
    level, donors = cohort.levels(rows)
    clean = qtl.without_components(level, qtl.COMPONENTS)
    tables = []
    for locus, genotypes in enumerate(cohort.dosage):
        x = genotypes[donors].T.astype(float)
        frequency = x.mean(1) / 2 if len(x) else np.zeros(0)
        x = x[np.minimum(frequency, 1 - frequency) >= qtl.FREQUENCY]
        if len(x):
            slope, p = qtl.association(clean[locus], x, qtl.COMPONENTS)
            tables.append(pd.DataFrame({"element": locus, "beta": slope, "pvalue": p}))
    return qtl.called(pd.concat(tables, ignore_index=True))


def genetics(cohort: Cohort) -> list[Row]:
    """Diversity of the called genotypes."""
    heterozygous = bases = indels = total = 0
    reader = VCF(str(cohort.folder / "variants.vcf.gz"))
    contig, length = reader.seqnames[0], reader.seqlens[0]
    common: list[tuple[int, NDArray[np.int8]]] = []
    for variant in reader(contig):
        alleles = variant.genotype.array()[:, :2]
        heterozygous += int((alleles[:, 0] != alleles[:, 1]).sum())
        total += 1
        indels += not variant.is_snp
        if 0.1 <= alleles.mean() <= 0.9 and variant.is_snp:
            common.append((variant.POS, alleles.ravel().astype(np.int8)))
    bases = length * cohort.settings.individuals
    position = np.array([at for at, _ in common])
    alleles = np.array([a for _, a in common], np.float32)
    alleles = (alleles - alleles.mean(1, keepdims=True)) / alleles.std(1, keepdims=True)
    squared = []
    for k in np.random.default_rng(1).choice(len(position), min(800, len(position)), replace=False):
        near = np.flatnonzero(np.abs(np.abs(position - position[k]) - 10_000) < 1000)
        squared += list((alleles[near] @ alleles[k] / alleles.shape[1]) ** 2)
    return [
        Row("heterozygous sites a base", f"{heterozygous / bases:.5f}", "0.0010", "1000 Genomes, YRI"),
        Row("indels among variants", f"{indels / total:.1%}", "10–15 %", "1000 Genomes"),
        Row("mean r² of common SNVs 10 kb apart", f"{np.mean(squared):.2f}", "about 0.2", "assumed for YRI"),
    ]


def procap(cohort: Cohort) -> list[Row]:
    """Depth, agreement of libraries, QTLs and their effects."""
    donor = cohort.libraries["donor"].to_numpy()
    log = np.log1p(cohort.counts / cohort.libraries["depth"].to_numpy() * 1e6)
    first, second = (
        np.flatnonzero(~cohort.libraries["donor"].duplicated()),
        np.flatnonzero(cohort.libraries["donor"].duplicated()),
    )
    pairs = [(int(np.flatnonzero(donor == donor[k])[0]), int(k)) for k in second]
    replicate = np.mean([np.corrcoef(log[:, a], log[:, b])[0, 1] for a, b in pairs])
    others = np.mean(
        [np.corrcoef(log[:, first[k]], log[:, first[k + 1]])[0, 1] for k in range(min(60, len(first) - 1))]
    )
    tests = associations(cohort)
    leads = tests[tests["significant"] == 1]
    found = len(leads) / len(cohort.elements)
    level = np.log2(cohort.counts[:, first] / cohort.libraries["depth"].to_numpy()[first] * 1e6 + 0.5)
    strong = cohort.counts.mean(1) >= EXPRESSED
    cis = (cohort.rate[:, donor[first]].var(1) / level.var(1))[strong]
    return [
        Row(
            "reads at an element, median library",
            f"{np.median(cohort.counts.mean(1)):.0f}",
            "below 200 (mean)",
            "1.4 bn reads, 79 libraries, 87,826 elements",
        ),
        Row("elements with a tiQTL, 58 donors", f"{found:.1%}", "2.7 %", "2,057 of 76,000"),
        Row(
            "median absolute slope of their leads, log2 a copy",
            f"{leads['beta'].abs().median():.2f}",
            "not published",
            "",
        ),
        Row("r of replicates across elements", f"{replicate:.3f}", "not found", ""),
        Row("r of two donors across elements", f"{others:.3f}", "", ""),
        Row(
            "cis share of between-donor variance, mean of loci",
            f"{cis.mean():.1%}",
            "not found",
            "h² is 0.25 for LCL transcripts with a cis-eQTL (Grundberg 2012)",
        ),
        Row("the same, median locus", f"{np.median(cis):.1%}", "", ""),
    ]


def reporters(cohort: Cohort) -> list[Row]:
    """lentiMPRA, and how far reporters tell PRO-cap effects."""
    parts = pd.read_csv(cohort.folder / "truth" / "effect_parts.tsv", sep="\t")
    table = pd.read_csv(cohort.folder / "lentimpra.cell1.tsv", sep="\t")
    activity = np.concatenate(
        [
            cohort.grammar.reporter(np.stack([encode(s) for s in part["seq"]]), ["cell1"])["cell1"]
            for _, part in table.groupby(np.arange(len(table)) // 2000)
        ]
    )
    sides = table.pivot_table(index="seq_id", values="mean_value").index
    strand = (
        table.assign(place=[name.rsplit(":", 1)[0] for name in table["seq_id"]])
        .pivot_table(index="place", columns="rev", values="mean_value")
        .dropna()
    )
    ceiling = pearson(activity, table["mean_value"])
    near = parts.dropna(subset="reporter_effect.cell1")
    del sides
    initiator = parts["initiator_effect"].var() / parts["effect"].var()
    return [
        Row("lentiMPRA: reliability of the mean", f"{ceiling**2:.2f}", "0.76–0.94 (a replicate)", "Agarwal 2025"),
        Row(
            "lentiMPRA: r of the two orientations",
            f"{np.corrcoef(strand[0], strand[1])[0, 1]:.2f}",
            "robust to orientation",
            "Klein 2020",
        ),
        Row(
            "r(true reporter effect, true PRO-cap effect), other cell",
            f"{pearson(near['reporter_effect.cell1'], near['effect']):.2f}",
            "dial",
            "",
        ),
        Row("the same, reporter in LCLs", f"{pearson(near['reporter_effect.LCL'], near['effect']):.2f}", "dial", ""),
        Row("initiator's share of the variance of effects", f"{initiator:.0%}", "", ""),
    ]


def measured(cohort: Cohort) -> list[Row]:
    """Significant shares of the measured tables."""
    truth = cohort.folder / "truth"
    mpra, satmut = pd.read_csv(truth / "mpra.tsv", sep="\t"), pd.read_csv(truth / "satmut.tsv", sep="\t")
    adastra, udacha = (pd.read_csv(truth / f"{name}.tsv", sep="\t") for name in ("adastra", "udacha"))
    binding = (adastra[["fdrp_bh_ref", "fdrp_bh_alt"]].min(axis=1) < 0.05).mean()
    access = (udacha["fdr_comb_pval"] < 0.05).mean()
    changed = satmut[(satmut["Alt"] != "-") & (satmut["Barcodes"] >= 10)]
    return [
        Row(
            "heterozygous sites with allelic accessibility (FDR 5 %)",
            f"{access:.1%}",
            "0.2–5 %",
            "UDACHA: HepG2 DNase, K562 ATAC",
        ),
        Row("heterozygous sites with allelic binding (FDR 5 %)", f"{binding:.1%}", "3–8 %", "ADASTRA: HepG2, K562"),
        Row("allelic MPRA: emVars", f"{mpra['emVar_Hit'].mean():.1%}", "2.6 %", "Tewhey 2016: 842 of 32,373"),
        Row(
            "saturation: SNVs with p < 1e-5",
            f"{(changed['pValue'] < 1e-5).mean():.0%}",
            "18 %",
            "Kircher 2019: 6,999 of 38,566",
        ),
    ]


def window_scores(cohort: Cohort, table: pd.DataFrame, centre: NDArray[np.int64], width: int, cell: str) -> Floats:
    """log2 alt / ref by the true grammar in windows of ``width`` around ``centre``: PRO-cap rate, or a reporter's activity."""
    with pysam.FastaFile(str(cohort.folder / "genome.fa")) as fasta:
        genome = {name: fasta.fetch(name) for name in fasta.references}
    scores = np.full(len(table), np.nan)
    pairs, rows = [], []
    for k, (row, middle) in enumerate(zip(table.itertuples(), centre, strict=True)):
        start, at = middle - width // 2, row.pos - 1
        inside = start <= at and at + len(row.ref) <= start + width
        if len(row.ref) != len(row.alt) or not inside or start < 0:
            continue
        reference = genome[row.chrom][start : start + width]
        changed = reference[: at - start] + row.alt + reference[at - start + len(row.ref) :]
        if len(reference) == width:
            rows.append(k)
            pairs.append((encode(reference), encode(changed)))
    for begin in range(0, len(rows), 1000):
        codes = np.array(pairs[begin : begin + 1000], np.uint8)
        levels = []
        for side in (0, 1):
            if cell == "LCL":
                levels.append(np.logaddexp2.reduce(cohort.grammar.initiation(codes[:, side]).log2_strand, axis=1))
            else:
                levels.append(cohort.grammar.activity(codes[:, side], cell))
        scores[rows[begin : begin + 1000]] = levels[1] - levels[0]
    return scores


def ceilings(cohort: Cohort) -> None:
    """Print r of the true grammar with every measured table, through windows on the variant and on the element."""
    truth = cohort.folder / "truth"
    sets = {
        "truth": "truth",
        "satmut": "satmut",
        "mpra": "mpra",
        "adastra": "adastra",
        "udacha": "udacha",
        "tiqtl": "qtl",
    }
    print(
        "\n| measured table | SNVs | PRO-cap grammar, 230 bp on the variant | 230 bp on the element | 1,000 bp on the element | LCL reporter grammar, 230 bp on the variant |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, kind in sets.items():
        path = truth / ("effects.tsv" if name == "truth" else f"{name}.tsv")
        if not path.exists():
            continue
        table = read_measured(path, kind).table
        table = table[(table["ref"].str.len() == 1) & (table["alt"].str.len() == 1) & table["measured"].notna()]
        table = table.sample(min(len(table), 6000), random_state=1)
        for subset, part in (("all", table), ("significant", table[table["significant"] == 1])):
            if len(part) < 10:
                continue
            on_variant = part["pos"].to_numpy() - 1
            centre = nearest_element(cohort, part)
            columns = [
                (on_variant, NARROW, "LCL"),
                (centre, NARROW, "LCL"),
                (centre, WIDE, "LCL"),
                (on_variant, NARROW, REPORTER),
            ]
            values = [
                correlation(window_scores(cohort, part, *column), part["measured"].to_numpy(float))
                for column in columns
            ]
            print(f"| {name}, {subset} | {len(part):,} | " + " | ".join(values) + " |", flush=True)


def nearest_element(cohort: Cohort, table: pd.DataFrame) -> NDArray[np.int64]:
    """Centre of the element nearest to each variant."""
    centre = np.zeros(len(table), np.int64)
    for chrom, loci in cohort.elements.groupby("chrom"):
        mine, places = (table["chrom"] == chrom).to_numpy(), loci["centre"].to_numpy()
        at = table["pos"].to_numpy()[mine] - 1
        after = np.searchsorted(places, at).clip(1, len(places) - 1)
        before = places[after - 1]
        centre[mine] = np.where(at - before < places[after] - at, before, places[after])
    return centre


def correlation(score: Floats, measured: Floats) -> str:
    """r over the SNVs scored, with their number where some were outside."""
    kept = np.isfinite(score)
    if kept.sum() < 10:
        return "–"
    return f"{pearson(score[kept], measured[kept]):.2f}" + ("" if kept.all() else f" (n {kept.sum():,})")


def legnet(cohort: Cohort, work: Path, epochs: int, size: str) -> Row:
    """Validation r of a LegNet on lentiMPRA."""
    table, model = work / "cell1.tsv", work / "legnet"
    prepare = ["--table", cohort.folder / "lentimpra.cell1.tsv", "--name", "cell1", "--out", table]
    train = ["--table", table, "--out", model, "--preset", size, "--epochs", epochs, "--batch-size", 256]
    for tool, arguments in (("prepare_mpra", prepare), ("pretrain_legnet", train)):
        subprocess.run([sys.executable, REPOSITORY / "bin" / f"{tool}.py", *map(str, arguments)], check=True)
    history = pd.read_csv(model / "history.tsv", sep="\t")
    return Row(
        f"lentiMPRA: r of LegNet ({size}, {epochs} epochs)",
        f"{history['pearson'].max():.2f}",
        "0.73–0.83",
        "MPRA-MNIST; MPRALegNet to 0.87",
    )


def main() -> None:
    """Simulate where needed, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the cohort; kept and used again")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="study")
    parser.add_argument("--individuals", type=int, default=500)
    parser.add_argument("--loci", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="DIAL=VALUE", help="another dial; repeatable")
    parser.add_argument("--legnet", type=int, default=0, metavar="EPOCHS", help="train a LegNet for this many epochs")
    parser.add_argument("--legnet-size", default="small")
    options = parser.parse_args()
    folder = options.work / "cohort"
    if not (folder / "truth.json").exists():
        options.work.mkdir(parents=True, exist_ok=True)
        dials = {name: json.loads(value) for name, value in (item.split("=", 1) for item in options.set)}
        sizes = {
            "individuals": options.individuals, "second_libraries": min(60, options.individuals),
            "loci": options.loci, "seed": options.seed, "qtl_table": True,
        }  # fmt: skip
        simulate_cohort(folder, settings_of(options.preset, {**sizes, **dials}), write_bam=False, threads=1)
    cohort = load(folder)
    rows = [*genetics(cohort), *procap(cohort), *reporters(cohort), *measured(cohort)]
    if options.legnet:
        rows.append(legnet(cohort, options.work, options.legnet, options.legnet_size))
    print("| figure | simulated | published | source |\n| --- | ---: | ---: | --- |")
    for row in rows:
        print(f"| {row.figure} | {row.simulated} | {row.published} | {row.source} |")
    ceilings(cohort)
    donors = cohort.settings.individuals
    between_donors(cohort, sorted({size for size in (20, 60, donors) if size <= donors}))


if __name__ == "__main__":
    main()
