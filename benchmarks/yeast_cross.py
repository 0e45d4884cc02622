#!/usr/bin/env python3
"""A real personal-genome experiment: 109 segregants of the yeast cross BY x RM, with the pipeline's own tools.

    python benchmarks/yeast_cross.py --data DATA --work WORK

DATA holds ``yeast_promoters`` and ``yeast_cross``. LegNet is pretrained on promoter MPRA, the haplotypes of the segregants
are those of the cross's VCF in a window before each gene, and it is fine-tuned on their expression: personal genomes, the
reference genome for all, and genotypes shuffled within genes. Genes are held out by chromosome,
every gene once. Principal components of expression are offsets between segregants.

Arrays give log2 ratios within a gene. Each gene's mean level is added back, and 2 to this power, times ``SCALE`` so that
rounding is below a thousandth, is kept as a whole number in a counts store. They are no counts, so their likelihood is
normal on the log scale: squared errors of locus means and of deviations from them (``--loss mse``), each over its own
variance. Their ratio, times the number of segregants, is the weight of the deviations (``--between-weight``).

Prints r between segregants at held-out genes, then r of the predicted effects of held-out genes with promoter-variant MPRA
(Renganaath 2020) and rank correlations with cis effects of another study (Albert 2018), each with n and interval.
"""

import argparse
import gzip
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "bin"))

import numpy as np
import pandas as pd
import pysam

import allelegro
from allelegro.genotype.store import HaplotypeStore
from allelegro.inputs.references import fasta_contigs
from allelegro.io.dna import decode
from allelegro.io.metrics import metric_row, read_metrics, write_metrics
from allelegro.io.tables import GUESS, read_table, write_table
from allelegro.io.windows import WINDOW_COLUMNS
from allelegro.procap.counts import CountsStore, write_element_counts
from allelegro.statistics import Estimate, pearson_ci, spearman_ci

ROOT = Path(__file__).parents[1]
WIDTH = 310  # bp: the longest input, with room for shifts
INPUT = 300
UPSTREAM = 270  # bp of the input before the start of transcription
SCALE = 1000
COMPONENTS = 10  # of expression, as offsets between segregants: loci in trans move thousands of genes
FOLDS = 3
GENOTYPES = ("personal", "reference", "shuffled")
PARENT = "RM11-1a"
MPRA_FDR, LOD = 0.05, 20

Models = dict[str, dict[int, list[Path]]]  # name: of each test fold the checkpoints, one a seed


def main() -> None:
    """Make what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for stores and checkpoints; what is there is used"
    )
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--pretrain-epochs", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, action="append", help="repeatable; default: 1")
    parser.add_argument("--fold", type=int, choices=range(FOLDS), action="append", help="repeatable; default: all")
    parser.add_argument("--medium", choices=("glucose", "ethanol"), default="glucose")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    pretrained = pretrain(options)
    genes = windows_of(options)
    stores(options, genes)
    folds = options.fold or list(range(FOLDS))
    models: Models = {"promoter MPRA only": {fold: [pretrained] for fold in folds}} | {
        genotypes: {fold: finetune(options, pretrained, genotypes, fold) for fold in folds} for genotypes in GENOTYPES
    }
    between_segregants(options)
    write_metrics(mpra(options, genes, models) + cis(options, genes, models), options.work / "metrics.tsv")


def tool(name: str, *arguments: object) -> None:
    """Run one of the tools."""
    subprocess.run([sys.executable, str(ROOT / "bin" / f"{name}.py"), *map(str, arguments)], check=True)


def pretrain(options: argparse.Namespace) -> Path:
    """LegNet of promoters whose expression was measured, standardised within each medium."""
    out = options.work / f"pretrained-{options.preset}"
    if out.is_dir():
        return out
    source = read_table(options.data / "yeast_promoters" / "yeast_promoters_expression.tsv.gz", others=GUESS)
    source = source[source["seq"].str.len() == 110]
    level = source.groupby("medium")["el"].transform(lambda values: (values - values.mean()) / values.std())
    table = source.assign(mean_value=level).groupby("seq", sort=False)["mean_value"].mean().reset_index()
    write_table(table, options.work / "promoters.tsv")
    training = options.work / "training.tsv"
    tool(
        "prepare_mpra", "--table", options.work / "promoters.tsv", "--name", "yeast", "--out", training,
        "--left-adaptor", "", "--right-adaptor", "",
    )  # fmt: skip
    tool(
        "pretrain_legnet", "--table", training, "--out", out, "--preset", options.preset, "--epochs",
        options.pretrain_epochs, "--batch-size", 256, "--max-lr", 0.01, "--average", 0.98, "--shift-after", 0,
        "--validation-fold", 2, "--test-fold", 1, "--seed", 1, "--device", "cpu", "--threads", options.threads,
    )  # fmt: skip
    return out


def windows_of(options: argparse.Namespace) -> pd.DataFrame:
    """Genes with expression in the cross: their window, and the fold of their chromosome."""
    genes = read_table(options.data / "yeast_cross" / "genes.tsv.gz", others=GUESS)
    genes = genes[genes["in_smith2008"].astype(str).str.lower().isin(["true", "1", "1.0"])].copy()
    genes = genes[genes["mean_expression"].notna() & (genes["chr"] != "chrM")]
    forward = genes["strand"] == "+"
    centre = np.where(forward, genes["TSS"] - UPSTREAM + INPUT // 2, genes["TSS"] + UPSTREAM - INPUT // 2)
    start = centre - WIDTH // 2
    fold = {chrom: place % FOLDS for place, chrom in enumerate(genes["chr"].value_counts().index)}
    windows = genes.assign(
        chrom=genes["chr"],
        start=start,
        end=start + WIDTH,
        name=genes["gene"],
        score=0,
        strand=".",
        fold=genes["chr"].map(fold),
    )
    lengths = fasta_contigs(fasta(options))
    inside = (windows["start"] > WIDTH) & (windows["end"] + WIDTH < windows["chrom"].map(lengths))
    return windows[inside].sort_values(["chrom", "start"]).drop_duplicates("name").reset_index(drop=True)


def fasta(options: argparse.Namespace) -> Path:
    """The genome, unpacked and with its index."""
    path: Path = options.work / "sacCer3.fa"
    if not path.is_file():
        path.write_bytes(gzip.decompress((options.data / "yeast_cross" / "sacCer3.fa.gz").read_bytes()))
        pysam.faidx(str(path))
    return path


def stores(options: argparse.Namespace, genes: pd.DataFrame) -> None:
    """Expression as whole numbers, and the haplotypes of segregants and of the RM parent."""
    ratios = read_table(
        options.data / "yeast_cross" / f"expression_{options.medium}_log2ratio.tsv.gz", others=GUESS
    ).set_index("gene")
    ratios = ratios.loc[genes["name"]]
    values = ratios.to_numpy(float)
    values = np.where(np.isnan(values), np.nanmean(values, axis=1, keepdims=True), values)
    level = genes["mean_expression"].to_numpy(float)[:, None]
    amount = np.rint(SCALE * 2 ** (level + values - values.mean(axis=1, keepdims=True))).astype(np.int64)
    # One size for all: the arrays are normalised already. A library of 10⁶ makes amounts their own RPM.
    libraries = pd.DataFrame({"library": ratios.columns, "donor": ratios.columns, "total_reads": 1_000_000})
    if not (options.work / "counts").is_dir():
        write_element_counts(genes[WINDOW_COLUMNS], libraries, amount, options.work / "counts")
    if not (options.work / "haplotypes").is_dir():
        names = options.work / "donors.txt"
        names.write_text("\n".join([*ratios.columns, PARENT]) + "\n")
        tool(
            "extract_haplotypes", "--vcf", options.data / "yeast_cross" / "byxrm109.vcf.gz", "--fasta", fasta(options),
            "--windows", options.work / "counts" / "windows.bed", "--donors", names, "--out", options.work / "haplotypes",
        )  # fmt: skip


def normal_weight(options: argparse.Namespace) -> float:
    """Segregants times the variance of log levels between genes over that between segregants within genes.

    With it the sum of both squared errors is, but for a factor, the negative log likelihood of normal deviations.
    """
    logs = np.log(CountsStore.open(options.work / "counts").table())
    return float(logs.shape[1] * logs.mean(axis=1).var() / logs.var(axis=1).mean())


def finetune(options: argparse.Namespace, pretrained: Path, genotypes: str, fold: int) -> list[Path]:
    """Checkpoints of a control or of personal genomes whose test fold is ``fold``, one a seed."""
    made = []
    for seed in options.seed or [1]:
        out = options.work / f"{options.preset}-{genotypes}" / f"fold{fold}-seed{seed}"
        if not out.is_dir():
            tool(
                "finetune_model", "--counts", options.work / "counts", "--haplotypes", options.work / "haplotypes",
                "--out", out, "--init", pretrained, "--genotypes", genotypes, "--input-width", INPUT, "--target-width",
                WIDTH - 2, "--max-shift", 5, "--test-fold", fold, "--validation-fold", (fold + 1) % FOLDS, "--loss", "mse",
                "--between-weight", normal_weight(options), "--test-donor-fraction", 0, "--epochs", options.epochs, "--batch-loci", 64, "--count-components", COMPONENTS, "--seed", seed, "--device", "cpu", "--threads", options.threads,
            )  # fmt: skip
        made.append(out)
    return made


def between_segregants(options: argparse.Namespace) -> None:
    """r between segregants within genes that no stage saw."""
    metrics = options.work / "evaluation.tsv"
    given = [f"{name}={options.work / f'{options.preset}-{name}'}" for name in GENOTYPES]
    tool(
        "evaluate_procap", "--counts", options.work / "counts", "--haplotypes", options.work / "haplotypes",
        *[part for text in given for part in ("--model", text)], "--target-width", WIDTH - 2, "--out-metrics", metrics,
        "--out-predictions", options.work / "predictions.parquet", "--bootstraps", 300, "--device", "cpu", "--threads",
        options.threads,
    )  # fmt: skip
    found = read_metrics([metrics])
    chosen = found["metric"].isin(["between_donors_r", "across_loci_r"]) & found["subset"].str.startswith("unseen_loci")
    print("\n| held-out genes | model | n | value |\n| --- | --- | ---: | --- |")
    for row in found[chosen].itertuples():
        print(
            f"| {row.metric} | {row.model} | {int(row.n):,} | {row.value:.3f} [{row.ci_low:.3f}, {row.ci_high:.3f}] |"
        )


def mpra(options: argparse.Namespace, genes: pd.DataFrame, models: Models) -> list[dict[str, object]]:
    """r with measured effects of promoter variants, by models that held out the gene's chromosome; resampled by gene."""
    table = read_table(options.data / "yeast_cross" / "mpra_renganaath2020.tsv.gz", others=GUESS)
    fold = table["chr"].map(genes.drop_duplicates("chrom").set_index("chrom")["fold"])
    both = table["oligo_BY"].str.fullmatch("[ACGT]+") & table["oligo_RM"].str.fullmatch("[ACGT]+")
    held = fold.isin(list(models["personal"])) & both.fillna(False).astype(
        bool
    )  # some variants come without both oligos
    table = table[held].assign(fold=fold[held].astype(int))
    subsets = {"all": np.ones(len(table), bool), "significant": (table["adj.P.Val"] < MPRA_FDR).to_numpy()}
    print("\n| promoter-variant MPRA | model | n | r |\n| --- | --- | ---: | --- |")
    rows = []
    for name, folds in models.items():
        predicted = of_fold(folds, table["oligo_BY"], table["oligo_RM"], table["fold"])
        for subset, mask in subsets.items():
            r = pearson_ci(predicted[mask], table["logFC"][mask], table["gene"][mask])
            rows.append(said("mpra", subset, name, "pearson", r))
    return rows


def cis(options: argparse.Namespace, genes: pd.DataFrame, models: Models) -> list[dict[str, object]]:
    """Rank correlation of RM minus BY in the gene's window with cis effects of an independent study."""
    store = HaplotypeStore(options.work / "haplotypes")
    row = store.offsets[:-1] + store.index[:, store.donor(PARENT), 0]
    differs = row != store.offsets[:-1]
    place = pd.Index(genes["name"]).get_indexer(store.windows["name"])
    own = genes.iloc[place[differs]].reset_index(drop=True)
    by = pd.Series([decode(codes) for codes in store.sequences[store.offsets[:-1][differs]]])
    rm = pd.Series([decode(codes) for codes in store.sequences[row[differs]]])
    effect = own["albert2018_cis_effect_RM_minus_BY"].astype(float)
    known = (effect.notna() & own["fold"].isin(list(models["personal"]))).to_numpy()
    subsets = {"all": known, f"LOD above {LOD}": known & (own["albert2018_local_LOD"].astype(float) > LOD).to_numpy()}
    print("\n| cis effects (Albert 2018) | model | n | Spearman |\n| --- | --- | ---: | --- |")
    rows = []
    for name, folds in models.items():
        predicted = of_fold(folds, by, rm, own["fold"])
        for subset, mask in subsets.items():
            rows.append(said("cis", subset, name, "spearman", spearman_ci(predicted[mask], effect[mask])))
    return rows


def of_fold(folds: dict[int, list[Path]], ref: pd.Series, alt: pd.Series, fold: pd.Series) -> np.ndarray:
    """log2 RM/BY of pairs, each by the models whose test fold is the pair's; the mean over seeds."""
    effects = np.zeros(len(ref))
    for number, checkpoints in folds.items():
        mine = (fold == number).to_numpy()
        pairs = list(zip(ref[mine], alt[mine], strict=True))
        for checkpoint in checkpoints:
            model = allelegro.load(checkpoint, device="cpu")
            near = [around(one, other, model.width) for one, other in pairs]
            effects[mine] += model.effects([one for one, _ in near], [other for _, other in near]) / len(checkpoints)
    return effects


def around(ref: str, alt: str, width: int) -> tuple[str, str]:
    """The ``width`` bp of both sequences about where they first differ, for a model that sees less than they are."""
    if max(len(ref), len(alt)) <= width:
        return ref, alt
    first = next((place for place, (a, b) in enumerate(zip(ref, alt, strict=False)) if a != b), 0)
    start = max(min(first - width // 2, min(len(ref), len(alt)) - width), 0)
    return ref[start : start + width], alt[start : start + width]


def said(dataset: str, subset: str, model: str, metric: str, estimate: Estimate) -> dict[str, object]:
    """Print a row, and give it as a metric."""
    print(
        f"| {subset} | {model} | {estimate.n:,} | {estimate.value:.3f} [{estimate.ci_low:.3f}, {estimate.ci_high:.3f}] |"
    )
    return metric_row("effects", f"yeast_{dataset}", model, subset, metric, estimate)


if __name__ == "__main__":
    main()
