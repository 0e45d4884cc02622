"""Command line of ``procap_coverage.py``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from allelegro.cli.common import SkipBadLibraries, Threads, Tool, Version
from allelegro.cli.read_options import Mate, MinMapq, Reference, Umi, umi_left
from allelegro.resources import limit_threads

app = Tool()

# Which end of the read is the RNA end of interest, and whether the read is its reverse complement.
_TYPES = {"procap": (5, False), "grocap": (5, False), "proseq": (5, True)}


@app.command()
def main(
    out_prefix: Annotated[Path, typer.Option(help="Writes PREFIX.plus.bw, PREFIX.minus.bw and PREFIX.qc.json.")],
    reads: Annotated[list[Path], typer.Option(help="BAM, CRAM or SAM sorted by coordinate; repeat for runs.")] = [],  # noqa: B006
    plus: Annotated[
        list[Path], typer.Option(help="Instead of reads: raw plus-strand bigWig or bedGraph; repeat.")
    ] = [],  # noqa: B006
    minus: Annotated[
        list[Path], typer.Option(help="Its minus strand, positive or negative; in the order of --plus.")
    ] = [],  # noqa: B006
    library: Annotated[str | None, typer.Option(help="Name of the library [default: the prefix].")] = None,
    library_type: Annotated[
        Literal["procap", "grocap", "proseq", "custom"],
        typer.Option(help="procap, grocap: 5' end, same strand; proseq: 5' end, other strand; custom: options below."),
    ] = "procap",
    read_end: Annotated[Literal["5", "3"], typer.Option(help="With custom: the read end that is counted.")] = "5",
    flip_strand: Annotated[bool, typer.Option("--flip-strand", help="With custom: count on the other strand.")] = False,
    mate: Mate = "1",
    min_mapq: MinMapq = 30,
    umi: Umi = "none",
    drop_flagged_duplicates: Annotated[
        bool,
        typer.Option("--drop-flagged-duplicates", help="Drop reads flagged 0x400 (they are always counted in the QC)."),
    ] = False,
    max_clip: Annotated[
        int | None,
        typer.Option(min=0, help="Drop reads with more soft-clipped bases at the counted end [default: keep all]."),
    ] = None,
    cap_g: Annotated[
        Literal["keep", "move"],
        typer.Option(
            help="move: a first aligned G that the reference lacks (MD tag) is the cap's; count one base inwards."
        ),
    ] = "keep",
    contigs: Annotated[list[str], typer.Option(help="Glob of contigs to keep; repeat [default: all].")] = [],  # noqa: B006
    exclude_contigs: Annotated[
        list[str] | None,
        typer.Option(
            help="Glob of contigs to exclude; repeat; '' for none [default: alternative, unplaced, decoy, M]."
        ),
    ] = None,
    blacklist: Annotated[Path | None, typer.Option(help="BED of regions whose read ends do not count.")] = None,
    reference: Reference = None,
    alignment_report: Annotated[
        Path | None,
        typer.Option(
            help="Report of align_reads.py on these reads: its steps come first, its duplicates are done with."
        ),
    ] = None,
    skip_bad_libraries: SkipBadLibraries = False,
    threads: Threads = 1,
    version: Version = False,
) -> None:
    """Turn the reads (or the strand pair) of one library into raw stranded coverage of RNA 5' ends at single bases.

    Both bigWigs hold whole non-negative counts. Secondary, supplementary and failed alignments never count.
    """
    limit_threads(threads)
    if bool(reads) == bool(plus) or len(plus) != len(minus):
        raise typer.BadParameter("give either --reads or as many --plus as --minus", param_hint="--reads")
    if library_type != "custom" and (read_end != "5" or flip_strand):
        raise typer.BadParameter("--read-end and --flip-strand need --library-type custom", param_hint="--library-type")
    end, flip = _TYPES.get(library_type, (int(read_end), flip_strand))
    if alignment_report and not reads:
        raise typer.BadParameter("it needs --reads", param_hint="--alignment-report")
    from allelegro.inputs.excluded import exclude_on_error
    from allelegro.io.contigs import EXCLUDED_CONTIGS
    from allelegro.procap.bam import ReadRules
    from allelegro.procap.coverage import coverage_of_reads, coverage_of_signal, read_alignment_report
    from allelegro.procap.regions import ContigFilter

    exclude = EXCLUDED_CONTIGS if exclude_contigs is None else [glob for glob in exclude_contigs if glob]
    contig_filter, name = ContigFilter(contigs, exclude), library or out_prefix.name
    with exclude_on_error(name, Path(f"{out_prefix}.excluded.tsv") if skip_bad_libraries else None):
        if plus:
            coverage_of_signal(
                list(zip(plus, minus, strict=True)), out_prefix, library=name, library_type=library_type, flip=flip,
                contigs=contig_filter, blacklist=blacklist,
            )  # fmt: skip
            return
        alignment = read_alignment_report(alignment_report) if alignment_report else None
        rules = ReadRules(
            min_mapq=min_mapq,
            mate=1 if mate == "1" else 2,
            end=5 if end == 5 else 3,
            flip=flip,
            drop_flagged_duplicates=drop_flagged_duplicates,
            max_clip=max_clip,
            move_cap_g=cap_g == "move",
            umi=umi_left(umi, alignment),
        )
        coverage_of_reads(
            reads, out_prefix, library=name, library_type=library_type, rules=rules, contigs=contig_filter,
            blacklist=blacklist, reference=reference, alignment=alignment,
        )  # fmt: skip
