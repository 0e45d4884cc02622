"""The ``prepare_mpra.py`` tool."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Seed, Threads, Tool, Version, with_settings
from allelegro.resources import limit_threads
from allelegro.training.settings import MpraSettings

app = Tool()
log = logging.getLogger(__name__)


@app.command()
@with_settings(MpraSettings)
def main(
    settings: MpraSettings,
    table: Annotated[
        Path, typer.Option(help="lentiMPRA table (TSV or CSV, may be gzipped): a sequence and a log2 RNA/DNA per row.")
    ],
    name: Annotated[str, typer.Option(help="Name of the data set, for the log.")],
    out: Annotated[Path, typer.Option(help="Training table to write (TSV).")],
    exclude_windows: Annotated[
        list[Path] | None, typer.Option(help="windows.bed whose held-out loci must not be in the table; repeatable.")
    ] = None,
    exclude_fold: Annotated[
        list[int] | None, typer.Option(help="Folds of --exclude-windows to exclude; repeatable (default 0 and 1).")
    ] = None,
    compare_windows: Annotated[
        list[Path] | None, typer.Option(help="windows.bed whose overlap with the table is reported only; repeatable.")
    ] = None,
    seed: Seed = 0,
    threads: Threads = 1,
    version: Version = False,
) -> None:
    """Make a lentiMPRA training table whose folds do not leak.

    Columns out: seq_id seq (construct with adaptors) mean_value (log2 RNA/DNA) fold_num rev group, and chrom start end
    strand where the table has them. Orientations, alleles and overlapping tiles of an element get one group, found from
    coordinates, names and the sequences; a group is in one fold. Folds of the table are kept.
    """
    limit_threads(threads)
    from allelegro.io.tables import write_table
    from allelegro.training import mpra

    excluded = mpra.held_out_windows(exclude_windows or [], exclude_fold or [0, 1])
    prepared = mpra.prepare_mpra(table, settings, excluded)
    for path in compare_windows or []:
        mpra.report_overlap(prepared, path, table)
    write_table(prepared, out)
    log.info("%s: %d rows in %d folds", name, len(prepared), prepared["fold_num"].nunique())
