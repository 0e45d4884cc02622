"""Command line of ``score_variants.py``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from allelegro.cli.benchmark_variants import name_and_value
from allelegro.cli.common import Device, Threads, Tool, Version
from allelegro.cli.scoring_options import Checkpoints, Context, CostRecord, DroppedList, HeldOutOnly, ModelName
from allelegro.resources import limit_threads

app = Tool()


@app.command()
def main(
    checkpoint: Checkpoints,
    out: Annotated[Path, typer.Option(help="Scores: .tsv, .tsv.gz or .parquet.")],
    variants: Annotated[
        Path | None, typer.Option(help="VCF, BCF or table (columns chrom pos ref alt, 1-based).")
    ] = None,
    fasta: Annotated[Path | None, typer.Option(help="Genome of --variants: plain or bgzip FASTA.")] = None,
    sequences: Annotated[
        Path | None, typer.Option(help="Instead of --variants: table with ref_sequence and alt_sequence.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            help="Read --variants as a truth table: satmut mpra adastra udacha qtl truth table. A table of kind mpra "
            "that holds ref_sequence and alt_sequence is scored on these, as --sequences."
        ),
    ] = None,
    release: Annotated[str | None, typer.Option(help="Kind satmut: which assembly's rows, as GRCh38.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="FIELD=COLUMN of a truth table, as pos=hg38_pos; repeatable.")
    ] = None,
    name: ModelName = "model",
    context: Context = "auto",
    strands: Annotated[
        Literal["both", "forward"], typer.Option(help="Average both strands, or read the given one only.")
    ] = "both",
    shift: Annotated[
        list[int] | None, typer.Option(help="Shift of the window in bp; repeat to average over several (default 0).")
    ] = None,
    edges: Annotated[
        Literal["pad", "slide"],
        typer.Option(
            help="Windows at a contig's end slide inside, or keep their variant in the middle, padded with N."
        ),
    ] = "slide",
    held_out_only: HeldOutOnly = True,
    on_ref_mismatch: Annotated[
        Literal["skip", "error"], typer.Option(help="A REF that the FASTA does not have: drop and count it, or stop.")
    ] = "skip",
    dropped: DroppedList = None,
    haplotypes: Annotated[
        Path | None, typer.Option(help="Haplotype store: also score SNVs on each distinct haplotype around them.")
    ] = None,
    out_backgrounds: Annotated[
        Path | None, typer.Option(help="Effects by haplotype background (with --haplotypes): one row a variant.")
    ] = None,
    out_vcf: Annotated[
        Path | None, typer.Option(help="Copy of a VCF given as --variants with the scores as INFO fields.")
    ] = None,
    cost: CostRecord = None,
    shard: Annotated[
        str | None,
        typer.Option(help="Score part I of N of the chunks: I/N, I from 1. Part of a scatter may be without scores."),
    ] = None,
    precision: Annotated[
        Literal["auto", "fp32"], typer.Option(help="auto: bfloat16 where the hardware has it; fp32: 32-bit throughout.")
    ] = "auto",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Sequences that go through the network together (default: by width).")
    ] = None,
    threads: Threads = 1,
    device: Device = "auto",
    version: Version = False,
) -> None:
    """Score variants: predicted log2 alt/ref, positive when the alternative allele increases activity.

    Needs either --variants with --fasta, or --sequences.
    """
    if (variants is None) == (sequences is None):
        raise typer.BadParameter("give either --variants or --sequences")
    if variants is not None and fasta is None:
        raise typer.BadParameter("--variants needs --fasta")
    if out_vcf is not None and (variants is None or kind is not None):
        raise typer.BadParameter("--out-vcf needs a VCF as --variants")
    if (haplotypes is None) != (out_backgrounds is None) or (haplotypes is not None and variants is None):
        raise typer.BadParameter("--haplotypes, --out-backgrounds and --variants belong together")
    part = _shard(shard or "1/1")
    columns = dict(name_and_value(text, "--column") for text in column or [])
    limit_threads(threads)
    from allelegro.effects.measured import TruthOptions
    from allelegro.effects.run import Run, run

    run(
        Run(
            checkpoints=checkpoint, out=out, variants=variants, fasta=fasta, sequences=sequences, kind=kind, truth=TruthOptions(columns, release=release), name=name,
            context=context, strands=strands, shifts=shift or [0], slide=edges == "slide", held_out_only=held_out_only,
            stop_on_mismatch=on_ref_mismatch == "error", dropped=dropped, haplotypes=haplotypes, out_backgrounds=out_backgrounds,
            out_vcf=out_vcf, cost=cost, shard=part, may_be_empty=shard is not None,
            precision=precision, batch_size=batch_size, threads=threads, device=device,
        )
    )  # fmt: skip


def _shard(text: str) -> tuple[int, int]:
    try:
        index, total = (int(part) for part in text.split("/"))
    except ValueError:
        raise typer.BadParameter(f"--shard {text}: write I/N, for example 3/8") from None
    if not 1 <= index <= total:
        raise typer.BadParameter(f"--shard {text}: I must lie between 1 and N")
    return index, total
