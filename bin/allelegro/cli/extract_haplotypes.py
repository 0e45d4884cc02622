"""Command line of ``extract_haplotypes.py``."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Seed, Threads, Tool, Version, read_names
from allelegro.resources import limit_threads

app = Tool()


class Indels(StrEnum):
    """What to do with alleles that change the length."""

    keep = "keep"
    skip = "skip"


class Unphased(StrEnum):
    """What to do with an unphased heterozygote."""

    error = "error"
    reference = "reference"
    random = "random"


class OnRefMismatch(StrEnum):
    """What to do with a record whose REF is not the genome's."""

    error = "error"
    skip = "skip"


@app.command()
def main(
    vcf: Annotated[
        list[Path],
        typer.Option(help="Phased VCF (bgzip) or BCF with its .tbi or .csi; repeat for one file a chromosome."),
    ],
    fasta: Annotated[Path, typer.Option(help="Genome, plain or bgzip FASTA with its .fai.")],
    windows: Annotated[Path, typer.Option(help="windows.bed of merge_peaks.py (0-based, one width).")],
    out: Annotated[Path, typer.Option(help="Haplotype store to make (a folder).")],
    donors: Annotated[
        list[str] | None,
        typer.Option(
            help="Donors to use: a file with one a line, or names, separated by commas or repeated; default all."
        ),
    ] = None,
    indels: Annotated[
        Indels, typer.Option(help="Keep insertions and deletions, or skip and count them.")
    ] = Indels.keep,
    flank: Annotated[
        int,
        typer.Option(min=0, help="bp of sequence to keep beyond each window on either side (CLIPNET moves windows)."),
    ] = 0,
    unphased: Annotated[
        Unphased,
        typer.Option(help="An unphased heterozygote: stop, take the reference, or phase it at random (--seed)."),
    ] = Unphased.error,
    on_ref_mismatch: Annotated[
        OnRefMismatch, typer.Option(help="A REF that differs from the genome: stop, or skip and count.")
    ] = OnRefMismatch.error,
    seed: Seed = 0,
    threads: Threads = 1,
    version: Version = False,
) -> None:
    """Rebuild both haplotypes of every donor at every window from phased variants, and store each distinct one once.

    Indels are kept with the window's centre in place and the flanks refilled, so that every sequence has one width.
    """
    limit_threads(threads)
    from allelegro.genotype.extract import extract_haplotypes
    from allelegro.genotype.shard import Rules

    rules = Rules(indels.value, unphased.value, on_ref_mismatch.value, seed)
    extract_haplotypes(vcf, fasta, windows, out, read_names(donors), rules, threads, flank)
