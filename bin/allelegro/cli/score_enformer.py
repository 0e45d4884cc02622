"""Command line of ``score_enformer.py``."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Device, Threads, Tool, Version
from allelegro.cli.scoring_options import CostRecord, DroppedList
from allelegro.io.effect_kinds import EffectKind
from allelegro.resources import limit_threads

app = Tool("dropped", "cost")
logger = logging.getLogger(__name__)


@app.command()
def main(
    weights: Annotated[Path, typer.Option(help="Folder of Enformer's weights (config.json, pytorch_model.bin).")],
    variants: Annotated[Path, typer.Option(help="VCF, BCF or table (columns chrom pos ref alt, 1-based).")],
    fasta: Annotated[Path, typer.Option(help="Genome of --variants: plain or bgzip FASTA.")],
    track: Annotated[list[int], typer.Option(help="Human output track, from 0; repeat to sum several.")],
    out: Annotated[Path, typer.Option(help="Scores: chrom pos ref alt score.")],
    kind: Annotated[EffectKind | None, typer.Option(help="Read --variants as a table of measured effects.")] = None,
    bins: Annotated[int, typer.Option(min=1, help="Central 128-bp bins that are summed.")] = 3,
    dropped: DroppedList = None,
    cost: CostRecord = None,
    threads: Threads = 1,
    device: Device = "auto",
    version: Version = False,
) -> None:
    """Score variants with Enformer (needs enformer-pytorch): a table for benchmark_variants.py --comparator."""
    limit_threads(threads)
    from allelegro.effects.enformer import ENFORMER_COLUMNS, EnformerScorer
    from allelegro.effects.score_files import write_chunks
    from allelegro.effects.score_set import VariantSet
    from allelegro.effects.scoring_cost import Meter
    from allelegro.effects.variants import Counts, Dropped
    from allelegro.effects.windows import Genome
    from allelegro.models.device import choose_device

    given = VariantSet(variants, None, fasta, kind)
    scorer = EnformerScorer.load(weights, track, choose_device(device), bins)
    meter = Meter()
    with meter, Dropped(dropped) as lost:
        scores = scorer.score(given.chunks(lost), Genome(fasta), lost)
        rows = write_chunks(
            scores, out, ENFORMER_COLUMNS, lambda: given.require_scores({"enformer": Counts(0, lost.counts)})
        )
        logger.info("Enformer: %s variants scored; dropped: %s", f"{rows:,}", lost.summary())
    if cost is not None:
        meter.cost("enformer", [("enformer", scorer.network)], rows, scorer.sequences, "fp32").write(cost)
