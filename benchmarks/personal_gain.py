#!/usr/bin/env python3
"""What personal genomes add to the effects of variants, on a simulated cohort whose true effects are known.

    benchmarks/personal_gain.py --work WORK --donors 60 --loci 2000 --seeds 3
    benchmarks/personal_gain.py --work WORK --set grammar_correlation=0.3 --try low="--max-lr 0.0001"
    benchmarks/personal_gain.py --work WORK --allelic --set donor_dispersion=0.1

Runs the tools, one thread, a step at a time; what is there already is used again. Windows are centred on the simulated
elements, chromosomes are folds. Scored are SNVs of the population near the centres of elements on the test chromosome, in
the window that training shows. Prints r with the true effects for each model (mean over its seeds, and of its seeds
together), and differences with intervals that resample elements and seeds together. With --allelic personal genomes are
learned twice: with the reads that tell a donor's haplotypes apart, and without them.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from haplotypes import REPOSITORY
from numpy.typing import NDArray

sys.path.insert(0, str(REPOSITORY / "bin"))

from allelegro.io.dna import encode
from allelegro.io.fasta import Fasta

Floats = NDArray[np.float64]
TEST, VALIDATION = 0, 1
NEAR = 115  # bp from the centre of the element
START, CONTROL, SHUFFLED, ALLELIC = "lentiMPRA only", "reference", "shuffled", "personal, allelic reads"


@dataclass(frozen=True)
class Study:
    """Where everything is, and how it is made."""

    work: Path
    options: argparse.Namespace

    def run(self, out: Path, tool: str, *arguments: object) -> Path:
        """Call a tool unless its output is there."""
        if not out.exists():
            started = time.monotonic()
            command = [sys.executable, str(REPOSITORY / "bin" / f"{tool}.py"), *map(str, arguments)]
            finished = subprocess.run(command, capture_output=True, text=True)
            if finished.returncode:
                raise SystemExit(f"{shlex.join(command)}\n{finished.stderr}")
            print(f"{tool} {out.name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        return out

    def cohort(self, name: str = "sim", reads: bool = False) -> Path:
        """The simulated cohort; with ``reads`` also as BAM, which changes nothing else."""
        sim, options = self.work / name, self.options
        dials = [
            word for dial in options.set for word in (f"--{dial.split('=')[0].replace('_', '-')}", dial.split("=")[1])
        ]
        return self.run(
            sim, "simulate_cohort", "--out", sim, "--preset", "study", "--individuals", options.donors, "--loci",
            options.loci, "--second-libraries", 0, "--seed", options.cohort, "--bam" if reads else "--no-bam", *dials,
        )  # fmt: skip

    def stores(self) -> None:
        """Windows at the elements, counts (with ``--allelic`` also a store with allelic reads) and haplotypes."""
        allelic = self.options.allelic
        sim, work = self.cohort(reads=allelic), self.work
        elements = pd.read_csv(sim / "elements.bed", sep="\t")
        centre = (elements["plus_summit"] + elements["minus_summit"]) // 2
        fold = elements["#chrom"].factorize()[0]
        windows = elements[["#chrom"]].assign(start=centre - 500, end=centre + 500, name=elements["name"])
        windows.assign(score=0, strand=".", fold=fold).to_csv(work / "windows.bed", sep="\t", index=False)
        sheet = pd.read_csv(sim / "signals.tsv", sep="\t")
        for strand in ("plus", "minus"):
            sheet[strand] = [str((sim / path).resolve()) for path in sheet[strand]]
        sheet.to_csv(work / "signals.tsv", sep="\t", index=False)
        self.run(
            work / "counts", "count_windows", "--windows", work / "windows.bed", "--sheet", work / "signals.tsv", "--out",
            work / "counts",
        )  # fmt: skip
        if allelic:
            self.allelic_counts(sim)
        self.run(
            work / "haplotypes", "extract_haplotypes", "--vcf", sim / "variants.vcf.gz", "--fasta", sim / "genome.fa",
            "--windows", work / "windows.bed", "--out", work / "haplotypes",
        )  # fmt: skip

    def allelic_counts(self, sim: Path) -> None:
        """The store with reads of each haplotype; a cohort made without BAM is simulated again, with the same seed."""
        work, reports = self.work, []
        reads = sim if (sim / "libraries.tsv").exists() else self.cohort("sim.reads", reads=True)
        (work / "alleles").mkdir(exist_ok=True)
        libraries = pd.read_csv(reads / "libraries.tsv", sep="\t")
        for library, donor, path in libraries[["library", "donor", "bam"]].itertuples(index=False):
            prefix = work / "alleles" / library
            reports += ["--alleles", f"{prefix}.alleles.json"]
            self.run(
                Path(reports[-1]), "count_alleles", "--reads", reads / path, "--vcf", sim / "variants.vcf.gz", "--windows",
                work / "windows.bed", "--library", library, "--donor", donor, "--umi", "RX", "--out-prefix", prefix,
            )  # fmt: skip
        self.run(
            work / "counts.allelic", "count_windows", "--windows", work / "windows.bed", "--sheet", work / "signals.tsv",
            "--out", work / "counts.allelic", *reports,
        )  # fmt: skip

    def pretrained(self, seed: int) -> Path:
        """LegNet of lentiMPRA in another cell, blind to the test and validation chromosomes."""
        table, out = self.work / "cell1.tsv", self.work / f"pretrained.{seed}"
        source = self.work / "sim" / "lentimpra.cell1.tsv"
        self.run(table, "prepare_mpra", "--table", source, "--name", "cell1", "--out", table)
        return self.run(
            out, "pretrain_legnet", "--table", table, "--out", out, "--preset", self.options.size, "--epochs",
            self.options.pretrain_epochs, "--batch-size", 256, "--held-out-windows", self.work / "windows.bed",
            "--held-out-fold", TEST, "--held-out-fold", VALIDATION, "--seed", seed,
        )  # fmt: skip

    def tuned(self, name: str, kind: str, extra: str, seed: int) -> Path:
        """LegNet fine-tuned on the cohort."""
        out = self.work / "models" / f"{name}.{seed}"
        counts, genotypes = ("counts.allelic", "personal") if kind == ALLELIC else ("counts", kind)
        start = self.pretrained(seed % self.options.starts)
        return self.run(
            out, "finetune_model", "--counts", self.work / counts, "--haplotypes", self.work / "haplotypes", "--out",
            out, "--init", start, "--genotypes", genotypes, "--test-fold", TEST, "--validation-fold", VALIDATION,
            "--test-donor-fraction", 0, "--seed", seed, *shlex.split(self.options.common), *shlex.split(extra),
        )  # fmt: skip


def near_variants(study: Study) -> pd.DataFrame:
    """SNVs near the centres of the test chromosome's elements: ``element alt at start chrom effect``."""
    sim = study.work / "sim"
    effects = pd.read_csv(sim / "truth" / "effects.tsv", sep="\t")
    windows = pd.read_csv(study.work / "windows.bed", sep="\t").rename(columns={"#chrom": "chrom"})
    windows["centre"] = (windows["start"] + windows["end"]) // 2
    test = windows[windows["fold"] == TEST].set_index("name")["centre"]
    effects = effects[(effects["ref"].str.len() == 1) & (effects["alt"].str.len() == 1)]
    effects = effects[effects["element"].isin(test.index)]
    centre = effects["element"].map(test)
    effects = effects.assign(centre=centre, at=effects["pos"] - 1 - centre)
    return effects[effects["at"].abs() < NEAR].reset_index(drop=True)


def predicted_effects(checkpoint: Path, variants: pd.DataFrame, genome: Path) -> Floats:
    """log2 alt / ref in the element's window, both strands; every model sees genomic sequence alone."""
    file = checkpoint / "near_effects.npy"
    if file.exists():
        return np.asarray(np.load(file))
    from allelegro.models.checkpoint import load_model

    model = load_model(checkpoint)
    half = model.width // 2
    with Fasta(genome) as fasta:
        reference = np.stack(
            [
                fasta.codes(row.chrom, row.centre - half, row.centre - half + model.width)
                for row in variants.itertuples()
            ]
        )
    changed = reference.copy()
    changed[np.arange(len(variants)), variants["at"].to_numpy() + half] = encode("".join(variants["alt"]))
    distinct, row = np.unique(reference, axis=0, return_inverse=True)
    low = model.predict_log2(distinct)[row.ravel()]
    effect = model.predict_log2(changed).astype(float) - low
    np.save(file, effect)
    return effect


def correlations(effects: Floats, truth: Floats, weight: Floats) -> Floats:
    """Weighted r ``[models]`` of ``effects`` ``[models, n]`` with the truth."""
    total = weight.sum()
    x = effects - (effects @ weight)[:, None] / total
    y = truth - truth @ weight / total
    return np.asarray((x * y) @ weight / np.sqrt((x**2 @ weight) * (y**2 @ weight)))


@dataclass(frozen=True)
class Comparison:
    """Effects of every model and seed, resampled together."""

    effects: dict[str, Floats]  # [seeds, n]
    truth: Floats
    element: NDArray[np.int64]
    draws: int = 1000

    def figures(self, name: str, seeds: NDArray[np.int64], weight: Floats) -> tuple[float, float]:
        """Mean r of single networks, and r of their mean."""
        mine = self.effects[name]
        chosen = mine[seeds % len(mine)]
        single = correlations(chosen, self.truth, weight).mean()
        return float(single), float(correlations(chosen.mean(0, keepdims=True), self.truth, weight)[0])

    def table(self, pairs: list[tuple[str, str]]) -> None:
        """Print r of every model, then the differences."""
        names, most = list(self.effects), max(len(values) for values in self.effects.values())
        generator = np.random.default_rng(0)
        rows = [(np.arange(most), np.ones(len(self.truth)))]
        for _ in range(self.draws):
            times = np.bincount(generator.integers(self.element.max() + 1, size=self.element.max() + 1))
            times = np.pad(times, (0, self.element.max() + 1 - len(times)))
            rows.append((generator.integers(most, size=most), times[self.element].astype(float)))
        drawn = {name: np.array([self.figures(name, *row) for row in rows]) for name in names}
        print(f"\n{len(self.truth)} SNVs at {len(np.unique(self.element))} unseen elements")
        print("\n| model | seeds | r, one network | r, networks together |\n| --- | ---: | --- | --- |")
        for name in names:
            print(f"| {name} | {len(self.effects[name])} | {said(drawn[name][:, 0])} | {said(drawn[name][:, 1])} |")
        print("\n| difference | one network | networks together |\n| --- | --- | --- |")
        for first, second in pairs:
            gap = drawn[first] - drawn[second]
            print(f"| {first} − {second} | {said(gap[:, 0], '+')} | {said(gap[:, 1], '+')} |")


def said(drawn: Floats, sign: str = "") -> str:
    """The first value and the 95 % interval of the others."""
    low, high = np.quantile(drawn[1:], [0.025, 0.975])
    return f"{drawn[0]:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def main() -> None:
    """Make what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of one cohort; kept and used again")
    parser.add_argument("--cohort", type=int, default=11, help="seed of the cohort")
    parser.add_argument("--donors", type=int, default=60)
    parser.add_argument("--loci", type=int, default=2000)
    parser.add_argument("--set", action="append", default=[], metavar="DIAL=VALUE", help="a dial of the simulator")
    parser.add_argument("--size", default="small", help="preset of LegNet")
    parser.add_argument("--pretrain-epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3, help="models of each kind")
    parser.add_argument("--starts", type=int, default=1, help="pretrained networks that they start from, in turn")
    parser.add_argument("--common", default="", help="options of finetune_model.py for every model")
    parser.add_argument("--allelic", action="store_true", help="also count and learn the reads of each haplotype")
    parser.add_argument("--shuffled", action="store_true", help="also shuffled genotypes")
    parser.add_argument(
        "--no-reference", action="store_true", help="no models of the reference genome (with --allelic)"
    )
    parser.add_argument("--try", dest="tries", action="append", default=[], metavar="NAME=OPTIONS",
                        help="a variant of fine-tuning, trained on personal genomes and on the reference")  # fmt: skip
    options = parser.parse_args()
    study = Study(options.work, options)
    options.work.mkdir(parents=True, exist_ok=True)
    study.stores()
    recipes = {"": ""} | dict(word.split("=", 1) for word in options.tries)
    if options.no_reference and not options.allelic:
        parser.error("--no-reference: only with --allelic, where personal genomes are compared with themselves")
    also = {ALLELIC: options.allelic, "personal": True, CONTROL: not options.no_reference, SHUFFLED: options.shuffled}
    kinds = [kind for kind, wanted in also.items() if wanted]
    models = {START: [study.pretrained(seed) for seed in range(options.starts)]}
    for recipe, extra in recipes.items():
        for kind in kinds:
            name = f"{kind} {recipe}".strip()
            models[name] = [
                study.tuned(name.replace(",", "").replace(" ", "."), kind, extra, seed) for seed in range(options.seeds)
            ]
    variants = near_variants(study)
    genome = options.work / "sim" / "genome.fa"
    effects = {
        name: np.stack([predicted_effects(path, variants, genome) for path in paths]) for name, paths in models.items()
    }
    pairs = []
    for recipe in recipes:
        own = [f"{kind} {recipe}".strip() for kind in kinds]
        with_start = f"{own[0]} + {START}"
        effects[with_start] = effects[own[0]] / 2 + effects[START][np.arange(options.seeds) % options.starts] / 2
        pairs += [(own[0], other) for other in (*own[1:], START)] + [(with_start, START)]
        if options.allelic and not options.no_reference:
            pairs.append((own[1], own[2]))  # personal without allelic reads, and the reference
        if recipe:
            pairs.append((own[0], kinds[0]))
    element = variants["element"].factorize()[0]
    Comparison(effects, variants["effect"].to_numpy(float), element).table(pairs)
    print(json.dumps({name: len(paths) for name, paths in models.items()}), file=sys.stderr)


if __name__ == "__main__":
    main()
