#!/usr/bin/env python3
"""The whole pipeline on real data: a megabase of chr22, WTC11 lentiMPRA, saturation mutagenesis and LCL MPRA.

    make real DATA=../shared/data
    tests/real_chr22.py --data ../shared/data --out results/real_chr22    (the same, with Nextflow on PATH)

DATA holds the folders ``chr22_hg19 lentimpra_wtc11 satmut tewhey_lcl udacha_hg38 asb_hg38``. Sheets are written to
OUT/sheets, the run's parameters stand in real_chr22.json beside this file, anything after ``--`` goes to Nextflow.
The libraries are thinnings of one K562 track, so nothing in them depends on the donors' genotypes: between donors and
alleles nothing may be found. UDACHA and MixALime tables are on hg38, whose sequence is not here: they are read whole, and
scored where ``--hg38`` names the FASTA.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pysam

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "bin"))

from allelegro.effects.measured import read_measured  # noqa: E402
from allelegro.io.tables import GUESS, read_table, write_table  # noqa: E402


def main() -> None:
    """Prepare the sheets and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the real data")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "real_chr22", help="results folder")
    parser.add_argument("--hg38", type=Path, help="FASTA of GRCh38, to score the allele-specific tables too")
    parser.add_argument("--prepare-only", action="store_true", help="write the sheets and stop")
    parser.add_argument("nextflow", nargs="*", help="options of Nextflow, as -resume or -profile docker")
    options = parser.parse_args()
    sheets = prepare(options.data.resolve(), options.out.resolve() / "sheets", options.hg38)
    if options.prepare_only:
        return
    chr22 = options.data.resolve() / "chr22_hg19"
    command = [
        "nextflow", "run", str(ROOT / "main.nf"), "-params-file", str(Path(__file__).with_suffix(".json")),
        "--outdir", str(options.out.resolve()), "--libraries", str(sheets / "libraries.tsv"), "--genome", str(chr22 / "genome.fa.gz"),
        "--variants", str(chr22 / "yri60.phased.vcf.gz"), "--mpra", str(sheets / "mpra.tsv"),
        "--variant_sets", str(sheets / "variant_sets.tsv"), *options.nextflow,
    ]  # fmt: skip
    raise SystemExit(subprocess.run(command, check=False).returncode)


def prepare(data: Path, sheets: Path, hg38: Path | None) -> Path:
    """The four sheets of the run, and the tables that need another shape; returns their folder."""
    sheets.mkdir(parents=True, exist_ok=True)
    libraries = read_table(data / "chr22_hg19" / "libraries.tsv", others=GUESS)[["library", "donor", "plus", "minus"]]
    for strand in ("plus", "minus"):
        libraries[strand] = [str(data / "chr22_hg19" / path) for path in libraries[strand]]
    write_table(libraries, sheets / "libraries.tsv")
    # Two of the ten published folds are here; without fold numbers ten are dealt anew, or nothing would be left to train on.
    folds = [read_table(data / "lentimpra_wtc11" / f"fold{fold}.tsv.gz", others=GUESS) for fold in (1, 2)]
    write_table(pd.concat(folds), sheets / "wtc11.tsv")
    write_table(pd.DataFrame({"name": ["WTC11"], "table": ["wtc11.tsv"]}), sheets / "mpra.tsv")
    elements(data / "satmut", sheets)
    rows = [
        ("satmut", "satmut", "satmut.tsv", "elements.fa"),
        ("tewhey_lcl", "mpra", str(data / "tewhey_lcl" / "cagi4_train.tsv.gz"), ""),
    ]
    for kind, path in allele_specific(data):
        found = read_measured(path, kind).table
        print(f"{path.name}: {len(found):,} variants, {int((found['significant'] == 1).sum()):,} at FDR < 0.05")
        if hg38 is not None:
            rows.append((path.name.split(".tsv")[0], kind, str(path), str(hg38.resolve())))
    write_table(pd.DataFrame(rows, columns=["name", "kind", "table", "genome"]), sheets / "variant_sets.tsv")
    return sheets


def elements(satmut: Path, sheets: Path) -> None:
    """Saturation mutagenesis on the elements' own sequences: a FASTA of them, and positions counted from their starts."""
    sequences = read_table(satmut / "element_sequences.tsv", others=GUESS).drop_duplicates("start_pos")
    kircher = read_table(satmut / "elements.tsv.gz", others=GUESS)
    kircher = kircher[(kircher["Release"] == "GRCh37") & kircher["Pos"].notna()]
    parts = []
    with (sheets / "elements.fa").open("w") as fasta:
        for element in sequences.itertuples():
            locus, start, sequence = (
                element.regulatory_element.removesuffix("MOD"),
                element.start_pos,
                element.ref_sequence,
            )
            fasta.write(f">{locus}\n{sequence}\n")
            offset = kircher["Pos"].astype(int) - start
            inside = kircher[offset.between(1, len(sequence))]
            offset = offset[inside.index]
            agrees = [sequence[at - 1] == ref for at, ref in zip(offset, inside["Ref"], strict=True)]
            parts.append(inside.assign(Chrom=locus, Pos=offset)[agrees])
    pysam.faidx(str(sheets / "elements.fa"))
    write_table(pd.concat(parts), sheets / "satmut.tsv")


def allele_specific(data: Path) -> list[tuple[str, Path]]:
    """Kind and path of every allele-specific table."""
    udacha = [*sorted((data / "udacha_hg38").glob("*.tsv.gz")), *sorted((data / "asb_hg38").glob("*.mixalime.tsv.gz"))]
    adastra = sorted((data / "asb_hg38").glob("*_HUMAN@*.tsv"))
    return [("udacha", path) for path in udacha] + [("adastra", path) for path in adastra]


if __name__ == "__main__":
    main()
