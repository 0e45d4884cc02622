"""Command line of ``count_alleles.py``."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer

from allelegro.cli.common import Threads, Tool, Version
from allelegro.cli.read_options import Mate, MinMapq, Reference, Umi, umi_left
from allelegro.resources import limit_threads

app = Tool()


@app.command()
def main(
    reads: Annotated[
        list[Path], typer.Option(help="BAM or CRAM of the library, sorted by coordinate; repeat for runs.")
    ],
    vcf: Annotated[
        list[Path],
        typer.Option(help="Phased genotypes, bgzipped VCF or BCF with its index; repeat for one a chromosome."),
    ],
    windows: Annotated[Path, typer.Option(help="Windows of one width (windows.bed of merge_peaks.py).")],
    library: Annotated[str, typer.Option(help="Name of the library.")],
    donor: Annotated[str, typer.Option(help="The donor it comes from, as the VCF calls it.")],
    out_prefix: Annotated[
        Path, typer.Option(help="Writes PREFIX.allelic.npy, .reference.npy, .snvs.tsv.gz and .alleles.json.")
    ],
    reference: Reference = None,
    library_type: Annotated[
        Literal["procap", "grocap", "proseq"],
        typer.Option(help="procap, grocap: 5' end, same strand; proseq: 5' end, other strand."),
    ] = "procap",
    mate: Mate = "1",
    min_mapq: MinMapq = 30,
    umi: Umi = "none",
    drop_flagged_duplicates: Annotated[
        bool, typer.Option("--drop-flagged-duplicates", help="Drop reads flagged 0x400.")
    ] = False,
    alignment_report: Annotated[
        Path | None, typer.Option(help="Report of align_reads.py on these reads: its duplicates are done with.")
    ] = None,
    min_base_quality: Annotated[int, typer.Option(min=0, max=93, help="Lowest quality of a base that counts.")] = 20,
    indel_distance: Annotated[
        int, typer.Option(min=0, help="SNVs at most this many bp from an indel of the donor are set apart.")
    ] = 5,
    skip_unusable: Annotated[
        bool,
        typer.Option(
            "--skip-unusable", help="Write nothing, and warn, where haplotypes cannot be told (as without phase)."
        ),
    ] = False,
    threads: Threads = 1,
    version: Version = False,
) -> None:
    """Count the reads of each haplotype of a library's donor in every window and strand, and both alleles' reads a SNV.

    A read is given to a haplotype when it has that haplotype's base at phased heterozygous SNVs. What cannot be given is
    counted by reason. Threads work contig by contig on indexed BAM files.
    """
    limit_threads(threads)
    from allelegro.procap.alleles import AlleleRules, count_alleles, warn_on_error
    from allelegro.procap.bam import ReadRules
    from allelegro.procap.coverage import read_alignment_report

    alignment = read_alignment_report(alignment_report) if alignment_report else None
    rules = ReadRules(
        min_mapq=min_mapq,
        mate=1 if mate == "1" else 2,
        flip=library_type == "proseq",
        drop_flagged_duplicates=drop_flagged_duplicates,
        umi=umi_left(umi, alignment),
    )
    with warn_on_error(library) if skip_unusable else nullcontext():
        count_alleles(
            reads, vcf, windows, out_prefix, library=library, donor=donor, read_rules=rules,
            allele_rules=AlleleRules(min_base_quality, indel_distance), reference=reference, threads=threads,
        )  # fmt: skip
