"""Command line of ``align_reads.py``."""

from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import SkipBadLibraries, Threads, Tool, Version
from allelegro.resources import limit_threads

app = Tool()


@app.command()
def main(
    fastq_1: Annotated[list[Path], typer.Option(help="FASTQ (or .gz) of the reads, or of read 1; repeat for runs.")],
    genome: Annotated[Path, typer.Option(help="Genome FASTA, or the prefix of its bowtie2 index.")],
    library: Annotated[str, typer.Option(help="Name of the library.")],
    out: Annotated[Path, typer.Option(help="BAM to write, with OUT.bai and, for its suffix, .counts.json.")],
    fastq_2: Annotated[list[Path], typer.Option(help="Read 2 of each run, in the order of --fastq-1.")] = [],  # noqa: B006
    umi: Annotated[
        str | None, typer.Option(help="UMI at the 5' end of read 1 as a umi_tools pattern, such as NNNNNNNN.")
    ] = None,
    umi_2: Annotated[str | None, typer.Option(help="The same for read 2.")] = None,
    adapter: Annotated[
        str, typer.Option(help="3' adaptor of the reads, or none; the default is Illumina RA3, as PRO-cap uses.")
    ] = "TGGAATTCTCGGGTGCCAAGG",
    adapter_2: Annotated[str | None, typer.Option(help="3' adaptor of read 2.")] = None,
    min_length: Annotated[int, typer.Option(min=1, help="Shortest read kept after trimming.")] = 18,
    unwanted: Annotated[
        Path | None,
        typer.Option(help="rRNA or spike-in FASTA or bowtie2 index; reads that align to it are excluded first."),
    ] = None,
    local: Annotated[
        bool,
        typer.Option("--local/--end-to-end", help="Let bowtie2 clip read ends, as the cap's non-templated G needs."),
    ] = True,
    deduplicate: Annotated[
        bool,
        typer.Option(
            "--deduplicate/--keep-duplicates", help="Collapse molecules by umi_tools dedup when --umi is given."
        ),
    ] = True,
    vcf: Annotated[
        list[Path],
        typer.Option(
            help="Genotypes of the donor, bgzipped VCF or BCF with its index, repeat for one a chromosome: reads that do not "
            "come back to their place with alleles swapped (WASP) are marked by the tag vW."
        ),
    ] = [],  # noqa: B006
    donor: Annotated[str | None, typer.Option(help="The donor, as the VCF calls it.")] = None,
    min_mapq: Annotated[
        int, typer.Option(min=0, max=255, help="Mapping quality that reads with swapped alleles must come back with.")
    ] = 30,
    skip_unusable: Annotated[
        bool, typer.Option("--skip-unusable", help="Mark no read, and warn, where the genotypes cannot be used.")
    ] = False,
    skip_bad_libraries: SkipBadLibraries = False,
    threads: Threads = 1,
    version: Version = False,
) -> None:
    """Turn one library's FASTQ into a sorted BAM with cutadapt, bowtie2, samtools and (with --umi) umi_tools.

    These must be on PATH. OUT's .counts.json holds the reads left at every step, tool versions and commands. Kept duplicates
    carry their UMI in the read name: procap_coverage.py --umi name collapses them.
    """
    limit_threads(threads)
    if fastq_2 and len(fastq_2) != len(fastq_1):
        raise typer.BadParameter("give as many --fastq-2 as --fastq-1", param_hint="--fastq-2")
    if bool(vcf) != bool(donor):
        raise typer.BadParameter("give --vcf and --donor together, or neither", param_hint="--donor")
    from allelegro.inputs.excluded import exclude_on_error
    from allelegro.procap.align import AlignmentPlan, align_reads

    plan = AlignmentPlan(
        genome,
        unwanted,
        umi,
        umi_2,
        None if adapter == "none" else adapter,
        adapter_2,
        min_length,
        local=local,
        deduplicate=deduplicate,
        threads=threads,
        vcfs=vcf,
        donor=donor,
        skip_unusable=skip_unusable,
        min_mapq=min_mapq,
    )
    mates: list[Path | None] = list(fastq_2) if fastq_2 else [None] * len(fastq_1)
    with exclude_on_error(library, out.with_suffix(".excluded.tsv") if skip_bad_libraries else None):
        align_reads(library, list(zip(fastq_1, mates, strict=True)), out, plan)
