#!/usr/bin/env python3
"""Variant effects on public data: saturation mutagenesis (14 loci), allelic MPRA in LCLs, allele-specific tables.

    python benchmarks/real_effects.py --data DATA --checkpoint C [--checkpoint C …] --training TABLE --work WORK --threads 2

DATA holds ``satmut``, ``tewhey_lcl``, ``udacha_hg38`` and ``asb_hg38``; the checkpoints are one ensemble, TABLE its
training table (for the k-mer baseline). Prints every figure with its interval as Markdown. UDACHA and MixALime tables are
read whole; they need a GRCh38 genome (``--fasta``) to be scored.
"""

import argparse
import subprocess
import sys
from pathlib import Path

BIN = Path(__file__).parents[1] / "bin"
sys.path.insert(0, str(BIN))

import pandas as pd  # noqa: E402

from allelegro.effects.measured import MeasuredOptions, read_measured  # noqa: E402
from allelegro.io.metrics import read_metrics  # noqa: E402
from allelegro.io.tables import GUESS, read_table, write_table  # noqa: E402


def main() -> None:
    """Prepare sequences, score, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, action="append", required=True)
    parser.add_argument("--training", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--fasta", type=Path, help="GRCh38 genome of the allele-specific tables")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    tool("fit_kmers", "--table", options.training, "--out", options.work / "kmers.npz", "--threads", options.threads)
    satmut(options)
    tewhey(options)
    allele_specific(options)


def tool(name: str, *arguments: object) -> None:
    """Run one of the tools."""
    subprocess.run([sys.executable, str(BIN / f"{name}.py"), *map(str, arguments)], check=True)


def ensemble(options: argparse.Namespace) -> list[object]:
    """Options that name the ensemble."""
    checkpoints = [part for path in options.checkpoint for part in ("--checkpoint", path)]
    return [*checkpoints, "--name", "LegNet-WTC11", "--threads", options.threads, "--device", "cpu"]


def satmut(options: argparse.Namespace) -> None:
    """The loci whose sequence is known, each a contig of a FASTA; positions are counted from the element's start."""
    elements = read_table(options.data / "satmut" / "element_sequences.tsv", others=GUESS).drop_duplicates("start_pos")
    truth = read_measured(
        options.data / "satmut" / "elements.tsv.gz", "satmut", MeasuredOptions(release="GRCh37")
    ).table
    fasta, parts = options.work / "elements.fa", []
    with fasta.open("w") as file:
        for _, element in elements.iterrows():
            locus, sequence, start = (
                element["regulatory_element"].removesuffix("MOD"),
                element["ref_sequence"],
                element["start_pos"],
            )
            inside = (truth["pos"] > start) & (truth["pos"] <= start + len(sequence))
            ref_agrees = [
                sequence[pos - start - 1] == ref
                for pos, ref in zip(truth.loc[inside, "pos"], truth.loc[inside, "ref"], strict=True)
            ]
            rows = truth[inside][ref_agrees]
            parts.append(rows.assign(chrom=locus, pos=rows["pos"] - start))
            file.write(f">{locus}\n{sequence}\n")
    import pysam

    pysam.faidx(str(fasta))
    table = pd.concat(parts)
    write_table(table, options.work / "satmut.truth.tsv")
    unique = table.drop_duplicates(["chrom", "pos", "ref", "alt"])[["chrom", "pos", "ref", "alt"]]
    write_table(unique, options.work / "satmut.variants.tsv")
    scores = options.work / "satmut.scores.tsv"
    tool(
        "score_variants", *ensemble(options), "--variants", options.work / "satmut.variants.tsv", "--fasta", fasta,
        "--edges", "slide", "--out", scores, "--dropped", options.work / "satmut.dropped.tsv",
    )  # fmt: skip
    compare(options, "satmut", scores, options.work / "satmut.truth.tsv", "table", "--fasta", fasta)


def tewhey(options: argparse.Namespace) -> None:
    """Both alleles of each oligo as they were synthesised, between the adaptors of the model's construct."""
    table = options.data / "tewhey_lcl" / "cagi4_train.tsv.gz"
    scores = options.work / "tewhey.scores.tsv"
    tool("score_variants", *ensemble(options), "--sequences", table, "--out", scores)
    compare(options, "tewhey", scores, table, "mpra", "--sequences", table)


def compare(options: argparse.Namespace, name: str, scores: Path, truth: Path, kind: str, *sequences: object) -> None:
    """Run the benchmark and print its main figures."""
    metrics = options.work / f"{name}.metrics.tsv"
    tool(
        "benchmark_variants", "--scores", scores, "--truth", truth, "--kind", kind, "--dataset", name, "--out", metrics,
        "--points", options.work / f"{name}.points.tsv.gz", "--kmers", options.work / "kmers.npz", *sequences,
        "--threads", options.threads,
    )  # fmt: skip
    rows = read_metrics([metrics])
    rows = rows[rows["metric"].isin(["pearson", "spearman", "sign_accuracy", "auroc", "auprc"])]
    rows = rows[~rows["subset"].str.startswith(("strength", "frequency"))]
    print(f"\n### {name}\n\n| subset | n | model | metric | value | 95 % interval |\n|---|---|---|---|---|---|")
    for row in rows.itertuples():
        if pd.notna(row.value):
            print(
                f"| {row.subset} | {row.n} | {row.model} | {row.metric} | {row.value:.3f} | {row.ci_low:.3f} to {row.ci_high:.3f} |"
            )


def allele_specific(options: argparse.Namespace) -> None:
    """Read every allele-specific table whole; score it when a genome is given."""
    tables = [("udacha", path) for path in sorted((options.data / "udacha_hg38").glob("*.tsv.gz"))]
    tables += [("udacha", path) for path in sorted((options.data / "asb_hg38").glob("*.mixalime.tsv.gz"))]
    tables += [("adastra", path) for path in sorted((options.data / "asb_hg38").glob("*_HUMAN@*.tsv"))]
    print(
        "\n### Allele-specific tables\n\n| table | kind | variants | FDR < 0.05 | FDR > 0.5 | alternative allele preferred |\n|---|---|---|---|---|---|"
    )
    for kind, path in tables:
        table = read_measured(path, kind).table
        significant = table[table["significant"] == 1]
        share = (significant["measured"] > 0).mean()
        print(
            f"| {path.name} | {kind} | {len(table):,} | {len(significant):,} | {int((table['significant'] == 0).sum()):,} | {share:.1%} of the significant |"
        )
    if options.fasta is None:
        return
    for kind, path in tables:
        name = path.name.split(".tsv")[0]
        scores = options.work / f"{name}.scores.tsv"
        tool(
            "score_variants",
            *ensemble(options),
            "--variants",
            path,
            "--kind",
            kind,
            "--fasta",
            options.fasta,
            "--context",
            "genomic",
            "--out",
            scores,
        )
        compare(options, name, scores, path, kind, "--fasta", options.fasta)


if __name__ == "__main__":
    main()
