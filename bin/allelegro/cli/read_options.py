"""Options that the tools share which read alignments."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

Reference = Annotated[Path | None, typer.Option(help="Reference FASTA, needed for CRAM.")]
Mate = Annotated[Literal["1", "2"], typer.Option(help="Which read of a pair is counted.")]
MinMapq = Annotated[int, typer.Option(min=0, max=255, help="Lowest mapping quality that counts.")]
Umi = Annotated[str, typer.Option(help="none, name (after the last _ or : of the read name) or a tag such as RX.")]


def umi_left(umi: str, alignment: dict[str, Any] | None) -> str:
    """Where UMIs still have to be looked for, given the report of align_reads.py on these reads."""
    if alignment and (alignment["deduplicated"] or umi != "name"):
        return "none"  # collapsed already, or a tag, which a BAM made from FASTQ has not
    return umi
