"""Command line of ``match_donors.py``."""

from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Threads, Tool, Version
from allelegro.cli.read_options import Reference
from allelegro.resources import limit_threads

app = Tool()


@app.command()
def main(
    reads: Annotated[
        list[Path], typer.Option(help="BAM or CRAM of the library, sorted by coordinate; repeat for runs.")
    ],
    vcf: Annotated[
        list[Path],
        typer.Option(help="Genotypes of all donors, bgzipped VCF or BCF with its index; repeat for one a chromosome."),
    ],
    library: Annotated[str, typer.Option(help="Name of the library.")],
    donor: Annotated[str, typer.Option(help="The donor it is said to come from.")],
    out: Annotated[Path, typer.Option(help="Table of donors, best first (LIBRARY.donors.tsv).")],
    reference: Reference = None,
    min_mapq: Annotated[int, typer.Option(min=0, max=255, help="Lowest mapping quality of a read that counts.")] = 30,
    max_bins: Annotated[int, typer.Option(min=1, help="Best-covered 128-bp stretches to search for SNPs.")] = 20_000,
    min_sites: Annotated[int, typer.Option(min=1, help="SNPs with reads that a call needs.")] = 10,
    min_log10_odds: Annotated[
        float, typer.Option(min=0, help="log10 odds over the next donor that a call needs.")
    ] = 3.0,
    min_concordance: Annotated[
        float, typer.Option(min=0, max=1, help="Share of reads at homozygous sites that the best donor must explain.")
    ] = 0.9,
    threads: Threads = 1,
    version: Version = False,
) -> None:
    """Rank donors by how well their genotypes explain the alleles of a library's reads, and say whether the claim holds.

    Calls: match, swap, undecided, no donor fits, donor not genotyped. A swap is reported, not an error; library_qc.py
    gathers the calls of a cohort and stops on them when asked.
    """
    limit_threads(threads)
    from allelegro.procap.donors import MatchRules, match_donor

    rules = MatchRules(min_mapq, max_bins, min_sites, min_log10_odds, min_concordance)
    match_donor(reads, vcf, library, donor, out, rules, reference)
