#!/usr/bin/env python3
"""The study at its true size, on simulated data: every CPU stage through the tools themselves, timed; prints a table.

    bin/simulate_cohort.py --out SIM --preset study --individuals 500 --second-libraries 9 --loci 50000 --no-bam
    benchmarks/rehearsal.py --sim SIM --work WORK --donors 58

The first DONORS donors of SIM and their libraries (58 donors: 67 libraries) take part; the genotypes stay those of all.
Whole processes on one thread. Coverage and peaks are those of the first library; merging lends the peaks of --sample
libraries to the others. Training is one epoch of --training-rows sequences of the full table.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd
from haplotypes import REPOSITORY, run

BIN = REPOSITORY / "bin"


def timed(tool: str, *arguments: object) -> dict[str, float]:
    """Seconds and peak MiB of one call of a tool."""
    wall, cpu, peak = run([sys.executable, BIN / f"{tool}.py", *arguments])[:3]
    return {"wall": wall, "cpu": cpu, "peak": peak}


def size_of(path: Path) -> float:
    """MB of a file or folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def show(stage: str, of: str, cost: dict[str, float], written: float | None = None) -> None:
    """One row of the table."""
    disk = "" if written is None else f"{written:,.1f}"
    print(f"| {stage} | {of} | {cost['wall']:,.1f} | {cost['cpu']:,.1f} | {cost['peak']:,.0f} | {disk} |", flush=True)


def libraries(sim: Path, work: Path, donors: int) -> pd.DataFrame:
    """The sheet of the first donors' libraries, with absolute paths."""
    sheet = pd.read_csv(sim / "signals.tsv", sep="\t")
    sheet = sheet[sheet["donor"].isin(sheet["donor"].unique()[:donors])]
    for strand in ("plus", "minus"):
        sheet[strand] = [str((sim / path).resolve()) for path in sheet[strand]]
    sheet.to_csv(work / "signals.tsv", sep="\t", index=False)
    return sheet


def rows_of(table: Path) -> int:
    """Rows below the header."""
    with table.open() as lines:
        return sum(1 for _ in lines) - 1


def study_windows(sim: Path, work: Path) -> Path:
    """A window at each of the first 48,000 loci, the study's number: shallow simulated libraries show fewer."""
    elements = pd.read_csv(sim / "elements.bed", sep="\t").head(48_000)
    centre = (elements["plus_summit"] + elements["minus_summit"]) // 2
    windows = pd.DataFrame(
        {"#chrom": elements["#chrom"], "start": centre - 500, "end": centre + 500, "name": elements["name"]}
    )
    fold = windows["#chrom"].factorize()[0]
    windows.assign(score=0, strand=".", fold=fold).to_csv(work / "windows.bed", sep="\t", index=False)
    return work / "windows.bed"


def procap(sheet: pd.DataFrame, sim: Path, work: Path, sample: int) -> Path:
    """Coverage and peaks of a sample, then windows of all and counts; returns the windows."""
    peaks = []
    for number, row in enumerate(sheet.itertuples()):
        out = work / "peaks" / row.library
        out.parent.mkdir(exist_ok=True)
        coverage = timed(
            "procap_coverage", "--plus", row.plus, "--minus", row.minus, "--library", row.library, "--out-prefix", out
        )
        called = timed(
            "call_peaks", "--plus", f"{out}.plus.bw", "--minus", f"{out}.minus.bw", "--out", f"{out}.peaks.bed",
            "--out-elements", f"{out}.elements.bed",
        )  # fmt: skip
        peaks.append(
            {"library": row.library, "donor": row.donor, "peaks": f"{out}.peaks.bed", "elements": f"{out}.elements.bed"}
        )
        if number == 0:
            show(
                "coverage from bigWig",
                "a library",
                coverage,
                size_of(Path(f"{out}.plus.bw")) + size_of(Path(f"{out}.minus.bw")),
            )
            show("peaks", "a library", called, size_of(Path(f"{out}.peaks.bed")))
        if number + 1 == sample:
            break
    # The other libraries lend the called peaks of the sample: merging sees the study's number of rows.
    table = pd.DataFrame(
        [
            peaks[number % len(peaks)] | {"library": row.library, "donor": row.donor}
            for number, row in enumerate(sheet.itertuples())
        ]
    )
    table.to_csv(work / "peaks.tsv", sep="\t", index=False)
    merged = timed(
        "merge_peaks", "--sheet", work / "peaks.tsv", "--fasta", sim / "genome.fa", "--out", work / "merged.bed",
        "--out-summary", work / "merged.json",
    )  # fmt: skip
    show("merge peaks", f"{len(sheet)} libraries, {rows_of(work / 'merged.bed'):,} windows", merged)
    windows = study_windows(sim, work)
    n = rows_of(windows)
    counted = timed("count_windows", "--windows", windows, "--sheet", work / "signals.tsv", "--out", work / "counts")
    show("count", f"{len(sheet)} libraries, {n:,} windows", counted, size_of(work / "counts"))
    quality = timed("library_qc", "--counts", work / "counts", "--folder", work / "peaks", "--out", work / "qc")
    show("library QC", f"{len(sheet)} libraries", quality, size_of(work / "qc"))
    return windows


def genotype(windows: Path, sheet: pd.DataFrame, sim: Path, work: Path) -> None:
    """The haplotype store and its report."""
    donors = sorted(sheet["donor"].unique())
    made = timed(
        "extract_haplotypes", "--vcf", sim / "variants.vcf.gz", "--fasta", sim / "genome.fa", "--windows", windows,
        "--donors", ",".join(donors), "--out", work / "haplotypes",
    )  # fmt: skip
    n = rows_of(windows)
    show("haplotypes", f"{len(donors)} donors, {n:,} windows", made, size_of(work / "haplotypes"))
    report = timed("genotype_report", "--store", work / "haplotypes", "--out", work / "genotype_qc")
    show("genotype report", f"{len(donors)} donors", report, size_of(work / "genotype_qc"))


def training(windows: Path, sim: Path, work: Path, rows: int) -> Path:
    """A lentiMPRA table of full size; one epoch of pretraining on part of it; returns the model."""
    table = work / "cell1.tsv"
    prepared = timed(
        "prepare_mpra",
        "--table",
        sim / "lentimpra.cell1.tsv",
        "--name",
        "cell1",
        "--out",
        table,
        "--compare-windows",
        windows,
    )
    show("prepare lentiMPRA", f"{rows_of(table):,} rows", prepared, size_of(table))
    part = work / "part.tsv"
    pd.read_csv(table, sep="\t").sample(rows, random_state=1).to_csv(part, sep="\t", index=False)
    trained = timed(
        "pretrain_legnet",
        "--table",
        part,
        "--out",
        work / "pretrained",
        "--preset",
        "published",
        "--epochs",
        1,
        "--validation-fold",
        1,
    )
    show("pretrain, published size", f"an epoch of {rows:,} rows, 1 thread", trained, size_of(work / "pretrained"))
    return work / "pretrained"


def scoring(model: Path, sim: Path, work: Path, variants: int) -> None:
    """The cohort's first variants."""
    effects = pd.read_csv(sim / "truth" / "effects.tsv", sep="\t", nrows=variants)
    effects[["chrom", "pos", "ref", "alt"]].to_csv(work / "variants.tsv", sep="\t", index=False)
    scored = timed(
        "score_variants", "--checkpoint", model, "--variants", work / "variants.tsv", "--fasta", sim / "genome.fa",
        "--out", work / "scores.tsv", "--all-models",
    )  # fmt: skip
    show(
        "score, published size",
        f"{len(effects):,} variants, both strands, 1 thread",
        scored,
        size_of(work / "scores.tsv"),
    )


def main() -> None:
    """Take the stages in order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sim", type=Path, required=True, help="simulated cohort (see above)")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--donors", type=int, default=58)
    parser.add_argument("--sample", type=int, default=4, help="libraries whose peaks are called")
    parser.add_argument("--training-rows", type=int, default=8000)
    parser.add_argument("--variants", type=int, default=100_000)
    parser.add_argument(
        "--stage",
        action="append",
        choices=("procap", "genotype", "training", "scoring"),
        help="repeatable; default all",
    )
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    stages = options.stage or ["procap", "genotype", "training", "scoring"]
    sheet = libraries(options.sim, options.work, options.donors)
    windows = options.work / "windows.bed"
    print("| stage | of | wall s | CPU s | peak MiB | written MB |\n| --- | --- | ---: | ---: | ---: | ---: |")
    if "procap" in stages:
        windows = procap(sheet, options.sim, options.work, options.sample)
    if "genotype" in stages:
        genotype(windows, sheet, options.sim, options.work)
    model = options.work / "pretrained"
    if "training" in stages:
        model = training(windows, options.sim, options.work, options.training_rows)
    if "scoring" in stages:
        scoring(model, options.sim, options.work, options.variants)


if __name__ == "__main__":
    main()
