"""Command line of ``score_variants.py``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from allelegro.cli.common import Device, Seed, Threads, Tool, Version, name_and_value
from allelegro.cli.scoring_options import (
    Context,
    CostRecord,
    DroppedList,
    HeldOutOnly,
    ModelName,
    OutputNames,
    load_models,
)
from allelegro.io.effect_kinds import EffectKind
from allelegro.models.box import find_model
from allelegro.resources import limit_threads

app = Tool("dropped", "counts", "cost")


@app.command()
def main(
    out: Annotated[
        Path,
        typer.Option(
            help="Scores: .tsv, .tsv.gz or .parquet; {model} in its name, as in those of --cost and --dropped, is the "
            "model's."
        ),
    ],
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(
            help="Checkpoint folder, or a folder of them (an ensemble), of the model --name; repeat for more."
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Instead of --checkpoint: a model in the box (lentimpra), or NAME=CHECKPOINT; repeat for several, or a "
            "name for an ensemble."
        ),
    ] = None,
    output: OutputNames = None,
    variants: Annotated[
        Path | None, typer.Option(help="VCF, BCF or table (columns chrom pos ref alt, 1-based).")
    ] = None,
    fasta: Annotated[Path | None, typer.Option(help="Genome of --variants: plain or bgzip FASTA.")] = None,
    sequences: Annotated[
        Path | None, typer.Option(help="Instead of --variants: table with ref_sequence and alt_sequence.")
    ] = None,
    kind: Annotated[
        EffectKind | None,
        typer.Option(
            help="Read --variants as a table of measured effects. One that brings the sequences of both alleles (ref_seq, "
            "alt_seq) is scored on these, and needs no --fasta."
        ),
    ] = None,
    release: Annotated[str | None, typer.Option(help="Kind satmut: which assembly's rows, as GRCh38.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="FIELD=COLUMN of measured effects, as pos=hg38_pos; repeatable.")
    ] = None,
    windows: Annotated[
        Path | None,
        typer.Option(
            help="Elements (windows.bed, or any BED of one width): a variant inside one is scored in the window of the "
            "model around its centre, as PRO-cap training showed it; the effect centred on the variant is given too."
        ),
    ] = None,
    null: Annotated[
        int,
        typer.Option(
            min=0, help="Score so many random SNVs a class as well, and place each variant among them (null_quantile)."
        ),
    ] = 0,
    seed: Seed = 0,
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
    counts: Annotated[
        Path | None, typer.Option(help="Counts of variants by model: scored, and dropped for each reason (TSV).")
    ] = None,
    haplotypes: Annotated[
        Path | None, typer.Option(help="Haplotype store: also score SNVs on each distinct haplotype around them.")
    ] = None,
    out_backgrounds: Annotated[
        Path | None, typer.Option(help="Effects on people's haplotypes (with --haplotypes): one row a variant.")
    ] = None,
    out_vcf: Annotated[
        Path | None, typer.Option(help="Copy of a VCF given as --variants with the scores as INFO fields.")
    ] = None,
    cost: CostRecord = None,
    shard: Annotated[
        str | None,
        typer.Option(
            help="Score part I of N of the chunks: I/N, I from 1. A part may be without scores, a file may not."
        ),
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

    Needs either --variants with --fasta, or --sequences. Every variant has a row: its status is "scored", or why not.
    """
    if (variants is None) == (sequences is None):
        raise typer.BadParameter("give either --variants or --sequences")
    if out_vcf is not None and (variants is None or kind is not None):
        raise typer.BadParameter("--out-vcf needs a VCF as --variants")
    if (haplotypes is None) != (out_backgrounds is None) or (haplotypes is not None and variants is None):
        raise typer.BadParameter("--haplotypes, --out-backgrounds and --variants belong together")
    if (windows is not None or haplotypes is not None) and variants is None:
        raise typer.BadParameter("--windows and --haplotypes need --variants")
    part = _shard(shard) if shard else None
    if out_vcf is not None and part is not None and part[1] > 1:
        raise typer.BadParameter("--out-vcf needs all variants; of shards gather_scores.py annotates a VCF")
    named = _named(model or [], checkpoint or [], name)
    if len(named) > 1 and (haplotypes or any(path and "{model}" not in path.name for path in (out, dropped, cost))):
        raise typer.BadParameter(
            "several models: write {model} in the names of --out, --dropped and --cost; no --haplotypes"
        )
    columns = dict(name_and_value(text, "--column") for text in column or [])
    limit_threads(threads)
    from allelegro.effects.measured import MeasuredOptions
    from allelegro.effects.score_set import Outputs, VariantSet, score_set, score_set_on_haplotypes
    from allelegro.effects.scoring import Scorer
    from allelegro.genotype.store import HaplotypeStore
    from allelegro.io.windows import read_windows

    given = VariantSet(variants, sequences, fasta, kind, MeasuredOptions(columns, release=release), part)
    if fasta is None and not given.on_sequences:
        raise typer.BadParameter("--variants needs --fasta")
    scorers = [
        Scorer(
            called, load_models(paths, device, output or ()), context, strands, shift or [0], edges == "slide", held_out_only, precision,
            batch_size,
        )
        for called, paths in named.items()
    ]  # fmt: skip
    outputs = Outputs(out, dropped, counts, cost, out_vcf)
    elements = read_windows(windows, folds=False) if windows else None
    score_set(given, scorers, outputs, on_ref_mismatch == "error", elements, null, seed)
    if haplotypes is not None and out_backgrounds is not None:
        store = HaplotypeStore(haplotypes, verify=True)
        score_set_on_haplotypes(given, scorers[0], store, out_backgrounds)


def _named(models: list[str], checkpoints: list[Path], name: str) -> dict[str, list[Path]]:
    """Checkpoints of each model, by its name."""
    if bool(models) == bool(checkpoints):
        raise typer.BadParameter("give either --checkpoint or --model")
    named: dict[str, list[Path]] = {}
    for text in models:
        called, path = (
            name_and_value(text, "--model", "CHECKPOINT") if "=" in text else (Path(text).name, find_model(text))
        )
        named.setdefault(called, []).append(Path(path))
    return named or {name: checkpoints}


def _shard(text: str) -> tuple[int, int]:
    try:
        index, total = (int(part) for part in text.split("/"))
    except ValueError:
        raise typer.BadParameter(f"--shard {text}: write I/N, for example 3/8") from None
    if not 1 <= index <= total:
        raise typer.BadParameter(f"--shard {text}: I must be between 1 and N")
    return index, total
