"""Command line of ``benchmark_variants.py``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from allelegro.cli.common import Seed, Threads, Tool, Version, name_and_value
from allelegro.io.effect_kinds import EffectKind
from allelegro.resources import limit_threads

app = Tool("points", "curves")


@app.command()
def main(
    truth: Annotated[Path, typer.Option(help="Table of measured effects.")],
    kind: Annotated[
        EffectKind,
        typer.Option(help="Source of --truth, which fixes its columns, coordinates and sign."),
    ],
    dataset: Annotated[str, typer.Option(help="Name of the measured effects in the metrics.")],
    out: Annotated[Path, typer.Option(help="Tidy metrics, TSV.")],
    points: Annotated[Path, typer.Option(help="Variants behind the metrics: measured and predicted, TSV.gz.")],
    scores: Annotated[
        list[Path] | None, typer.Option(help="Scores of score_variants.py; repeat for several models.")
    ] = None,
    curves: Annotated[
        Path | None,
        typer.Option(help="Curves behind the figures: ROC, precision-recall, right signs, calibration; TSV."),
    ] = None,
    comparator: Annotated[
        list[str] | None, typer.Option(help="NAME=TABLE of an outside model (chrom pos ref alt score); repeatable.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="FIELD=COLUMN of --truth, as measured=log2FC; repeatable.")
    ] = None,
    zero_based: Annotated[bool, typer.Option("--zero-based", help="Kind table: positions count from 0.")] = False,
    positive_allele: Annotated[
        Literal["alt", "ref"], typer.Option(help="Kind table: the allele that a positive measurement favours.")
    ] = "alt",
    release: Annotated[str | None, typer.Option(help="Kind satmut: which assembly's rows, as GRCh38.")] = None,
    min_tags: Annotated[int, typer.Option(min=0, help="Kind satmut: least barcodes of a variant.")] = 10,
    include_seen: Annotated[
        bool,
        typer.Option(
            "--include-seen",
            help="Count variants whose place training saw (column seen of --scores) as well: no held-out predictions.",
        ),
    ] = False,
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(
            help="Checkpoint (or folder of them) behind the scores: flags variants that a stage of its training saw."
        ),
    ] = None,
    truth_donor: Annotated[
        list[str] | None, typer.Option(help="Donor of the measurement: said when --checkpoint was trained on it.")
    ] = None,
    fasta: Annotated[
        Path | None,
        typer.Option(
            help="Genome, for the baselines that need sequence (not when --truth brings ref_seq and alt_seq)."
        ),
    ] = None,
    sequences: Annotated[
        Path | None, typer.Option(help="Instead of --fasta: table with ref_sequence and alt_sequence.")
    ] = None,
    kmers: Annotated[Path | None, typer.Option(help="Linear k-mer model of fit_kmers.py: a baseline.")] = None,
    cluster_distance: Annotated[
        int, typer.Option(min=0, help="Variants with gaps up to this many bp are resampled together.")
    ] = 10_000,
    n_boot: Annotated[int, typer.Option(min=100, help="Bootstrap replicates of the intervals.")] = 1000,
    seed: Seed = 0,
    threads: Threads = 1,
    version: Version = False,
) -> None:
    """Compare predicted with measured variant effects; all models on the variants that every one of them scored.

    Variants whose place training of a model saw are excluded and counted. Needs --scores, --comparator or both.
    """
    if not scores and not comparator:
        raise typer.BadParameter("give --scores, --comparator or both")
    columns = dict(name_and_value(text, "--column") for text in column or [])
    others = [(name, Path(path)) for name, path in (name_and_value(text, "--comparator") for text in comparator or [])]
    limit_threads(threads)
    from allelegro.effects.benchmark import Benchmark, flag_matched, flag_overlap, join, write_curves, write_points
    from allelegro.effects.kmers import KmerModel, sequences_of, signed_baselines
    from allelegro.effects.matching import distance_from_centre, minor_frequency
    from allelegro.effects.measured import MeasuredOptions, read_measured
    from allelegro.effects.windows import Genome
    from allelegro.io.metrics import write_metrics

    options = MeasuredOptions(columns, zero_based, positive_allele, release, min_tags)
    joined = join(read_measured(truth, kind, options), scores or [], others, cluster_distance, include_seen)
    flag_overlap(joined, checkpoint or [], truth_donor or [], Genome(fasta) if fasta else None)
    flag_matched(joined, seed)
    found = sequences_of(joined.table, fasta, sequences)
    signed = signed_baselines(joined.table, found, KmerModel.load(kmers) if kmers else None)
    unsigned = {
        "baseline_distance": -distance_from_centre(joined.table),
        "baseline_frequency": minor_frequency(joined.table),
    }
    rows = Benchmark(dataset, joined, signed, unsigned, n_boot, seed).rows()
    write_points(joined, points)
    if curves is not None:
        write_curves(joined, curves)
    write_metrics(rows, out)
