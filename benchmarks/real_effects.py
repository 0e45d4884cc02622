#!/usr/bin/env python3
"""Variant effects on public data: MPRA and DNase QTLs of LCLs, allele-specific tables, saturation mutagenesis.

    python benchmarks/real_effects.py --data DATA --work WORK --training TABLE --threads 2
    python benchmarks/real_effects.py --data DATA --work WORK --set abell --set dsqtl --output K562

DATA holds ``lcl_mpra_abell tewhey_lcl lcl_dsqtl asv_hg38_context satmut``. Every table brings its sequences, so that no
genome is needed; saturation mutagenesis is scored in its elements. The model is one in the box (``--model lentimpra``) or
``--checkpoint``. Variants in elements that its training saw are excluded and counted. TABLE is the training table that
benchmarks/joint_lentimpra.py leaves in its WORK: the k-mer baseline is fitted on it. Outside scores join by
``--comparator SET:NAME=SCORES``. Prints the main figures with intervals as Markdown; all are in WORK/SET.metrics.tsv.
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "bin"))

import pandas as pd
import pysam

from allelegro.effects.measured import MeasuredOptions, read_measured
from allelegro.io.metrics import read_metrics
from allelegro.io.tables import GUESS, read_table, write_table
from allelegro.training.mpra import activity_columns, read_training_table

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Source:
    """A table of measured effects that brings its sequences."""

    kind: str
    path: str
    title: str


SOURCES = {
    "dsqtl": Source("qtl", "lcl_dsqtl/dsQTL.tsv.gz", "DNase QTLs of 70 YRI LCLs (Degner 2012)"),
    "abell": Source("mpra", "lcl_mpra_abell/abell2022_lcl_variants_with_seq.tsv.gz", "MPRA in GM12878 (Abell 2022)"),
    "tewhey": Source("mpra", "tewhey_lcl/cagi4_train.tsv.gz", "MPRA in LCLs (Tewhey 2016, CAGI4)"),
    "k562_atac": Source("udacha", "asv_hg38_context/udacha_k562_atac.tsv.gz", "UDACHA K562 ATAC"),
    "hepg2_atac": Source("udacha", "asv_hg38_context/udacha_hepg2_atac.tsv.gz", "UDACHA HepG2 ATAC"),
    "hepg2_dnase": Source("udacha", "asv_hg38_context/udacha_hepg2_dnase.tsv.gz", "UDACHA HepG2 DNase"),
    "asb": Source("adastra", "asv_hg38_context/asb_tfs_a_to_m.tsv.gz", "Allele-specific binding, factors A to M"),
}


def main() -> None:
    """Score each set, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument(
        "--set", dest="sets", choices=(*SOURCES, "satmut"), action="append", help="repeatable; default: all"
    )
    parser.add_argument("--model", default="lentimpra", help="model in the box")
    parser.add_argument("--checkpoint", type=Path, action="append", help="instead of --model; repeat for an ensemble")
    parser.add_argument("--output", help="of a network with several outputs this one")
    parser.add_argument("--training", type=Path, help="training table of the model")
    parser.add_argument("--test-fold", type=int, default=1, help="fold of --training that the model did not see")
    parser.add_argument("--include-seen", action="store_true", help="also variants whose element training saw")
    parser.add_argument("--comparator", action="append", default=[], help="SET:NAME=SCORES; repeatable")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.training:
        fit_baseline(options)
    for name in options.sets or (*SOURCES, "satmut"):
        satmut(options) if name == "satmut" else on_own_sequences(options, name, SOURCES[name])


def tool(name: str, *arguments: object) -> None:
    """Run one of the tools."""
    subprocess.run([sys.executable, str(ROOT / "bin" / f"{name}.py"), *map(str, arguments)], check=True)


def scoring(options: argparse.Namespace) -> list[object]:
    """Options that name the model."""
    given = [part for path in options.checkpoint or [] for part in ("--checkpoint", path)]
    output = ["--output", options.output] if options.output else []
    name = ["--name", "checkpoint"] if given else []
    return [
        *(given or ["--model", options.model]),
        *output,
        *name,
        "--threads",
        options.threads,
        "--device",
        "cpu",
    ]


def fit_baseline(options: argparse.Namespace) -> None:
    """The k-mer model of the rows that the networks were trained on: the mean of the cell lines."""
    table = read_training_table(options.training)
    table = table[table["fold_num"] != options.test_fold]
    mean = table[activity_columns(table)].mean(axis=1)
    write_table(table[["seq"]].assign(mean_value=mean), options.work / "kmers.tsv")
    if not (options.work / "kmers.npz").is_file():
        tool(
            "fit_kmers",
            "--table",
            options.work / "kmers.tsv",
            "--out",
            options.work / "kmers.npz",
            "--threads",
            options.threads,
        )


def on_own_sequences(options: argparse.Namespace, name: str, source: Source) -> None:
    """Alleles as they come with the table, between the adaptors of the model's construct."""
    path, scores = options.data / source.path, options.work / f"{name}.scores.tsv"
    tool("score_variants", *scoring(options), "--variants", path, "--kind", source.kind, "--out", scores)
    compare(options, name, source.title, scores, path, source.kind)


def compare(
    options: argparse.Namespace, name: str, title: str, scores: Path, truth: Path, kind: str, *more: object
) -> None:
    """Run the benchmark and print its main figures."""
    metrics = options.work / f"{name}.metrics.tsv"
    outside = [text.split(":", 1)[1] for text in options.comparator if text.startswith(f"{name}:")]
    given = [part for text in outside for part in ("--comparator", text)]
    more = (*more, "--include-seen") if options.include_seen else more
    baseline = ["--kmers", options.work / "kmers.npz"] if (options.work / "kmers.npz").is_file() else []
    tool(
        "benchmark_variants", "--scores", scores, "--truth", truth, "--kind", kind, "--dataset", name, "--out", metrics,
        "--points", options.work / f"{name}.points.tsv.gz", *baseline, *given, *more, "--threads", options.threads,
    )  # fmt: skip
    rows = read_metrics([metrics])
    rows = rows[rows["metric"].isin(["pearson", "sign_accuracy", "auroc", "excluded_seen"])]
    rows = rows[rows["subset"].isin(["all", "significant", "matched", "within_groups", "strength_5_of_5"])]
    print(
        f"\n### {title}\n\n| subset | n | model | metric | value | 95 % interval |\n| --- | ---: | --- | --- | ---: | --- |"
    )
    for row in rows[rows["value"].notna()].itertuples():
        print(
            f"| {row.subset} | {int(row.n):,} | {row.model} | {row.metric} | {row.value:.3f} | {row.ci_low:.3f} to {row.ci_high:.3f} |"
        )


def satmut(options: argparse.Namespace) -> None:
    """The loci whose sequence is known, each a contig of a FASTA; positions are counted from the element's start."""
    elements = read_table(options.data / "satmut" / "element_sequences.tsv", others=GUESS).drop_duplicates("start_pos")
    truth = read_measured(
        options.data / "satmut" / "elements.tsv.gz", "satmut", MeasuredOptions(release="GRCh37")
    ).table
    fasta, parts = options.work / "elements.fa", []
    with fasta.open("w") as file:
        for _, element in elements.iterrows():
            locus = element["regulatory_element"].removesuffix("MOD")
            sequence, start = element["ref_sequence"], element["start_pos"]
            inside = truth[(truth["pos"] > start) & (truth["pos"] <= start + len(sequence))]
            pairs = zip(inside["pos"], inside["ref"], strict=True)
            rows = inside[[sequence[pos - start - 1] == ref for pos, ref in pairs]]
            parts.append(rows.assign(chrom=locus, pos=rows["pos"] - start))
            file.write(f">{locus}\n{sequence}\n")
    pysam.faidx(str(fasta))
    table = pd.concat(parts)
    write_table(table, options.work / "satmut.truth.tsv")
    unique = table.drop_duplicates(["chrom", "pos", "ref", "alt"])[["chrom", "pos", "ref", "alt"]]
    write_table(unique, options.work / "satmut.variants.tsv")
    scores = options.work / "satmut.scores.tsv"
    tool(
        "score_variants", *scoring(options), "--variants", options.work / "satmut.variants.tsv", "--fasta", fasta,
        "--edges", "slide", "--out", scores,
    )  # fmt: skip
    title = "Saturation mutagenesis (Kircher 2019), 14 loci"
    compare(options, "satmut", title, scores, options.work / "satmut.truth.tsv", "table", "--fasta", fasta)


if __name__ == "__main__":
    main()
