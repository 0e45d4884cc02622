"""Command line of ``call_allelic_events.py``."""

from pathlib import Path
from typing import Annotated

import typer

from allelegro.cli.common import Threads, Tool, Version
from allelegro.resources import limit_threads

app = Tool()


@app.command()
def main(
    snvs: Annotated[
        list[Path] | None, typer.Option(help="LIBRARY.snvs.tsv.gz of count_alleles.py; repeat for libraries.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="With --snvs: table of tested SNVs (allelic_events.tsv).")] = None,
    min_reads: Annotated[int, typer.Option(min=1, help="Reads of both alleles that a test needs.")] = 10,
    fdr: Annotated[
        float, typer.Option(min=0, max=1, help="Rate of false discovery of what is called significant.")
    ] = 0.05,
    allow_none: Annotated[
        bool, typer.Option("--allow-none", help="Where nothing has the reads, warn and write a table without rows.")
    ] = False,
    counts: Annotated[
        Path | None, typer.Option(help="With --haplotypes: counts store with allelic reads, to test whole windows.")
    ] = None,
    haplotypes: Annotated[Path | None, typer.Option(help="Haplotype store of the same windows.")] = None,
    out_windows: Annotated[
        Path | None, typer.Option(help="Table of tested windows and pairs of haplotypes (allelic_windows.tsv).")
    ] = None,
    threads: Threads = 1,
    version: Version = False,
) -> None:
    """Test SNVs for allelic imbalance over all heterozygous donors, against fitted overdispersion and reference bias.

    effect is log2 alternative over reference. p is of a likelihood ratio of beta-binomials, fdr Benjamini and Hochberg's. With
    --counts, --haplotypes and --out-windows each pair of haplotypes of a window, over the donors that carry it.
    """
    whole = (counts, haplotypes, out_windows)
    if any(whole) and not all(whole):
        raise typer.BadParameter("give --counts, --haplotypes and --out-windows together")
    if bool(snvs) != bool(out) or not (snvs or any(whole)):
        raise typer.BadParameter("give --snvs and --out, or --counts, --haplotypes and --out-windows, or all of them")
    limit_threads(threads)
    from allelegro.procap.allelic_events import call_events

    if snvs and out:
        call_events(snvs, out, min_reads=min_reads, fdr=fdr, allow_none=allow_none)
    if counts and haplotypes and out_windows:
        _windows(counts, haplotypes, out_windows, min_reads, fdr, allow_none)


def _windows(counts: Path, haplotypes: Path, out: Path, min_reads: int, fdr: float, allow_none: bool) -> None:
    """Test the pairs of haplotypes of the windows of two stores."""
    import numpy as np

    from allelegro.errors import DataError
    from allelegro.genotype.store import HaplotypeStore
    from allelegro.procap.allelic_windows import call_window_events
    from allelegro.procap.counts import CountsStore

    signal, sequences = CountsStore.open(counts), HaplotypeStore(haplotypes)
    found = signal.allelic()
    if found is None:
        raise DataError(f"{counts}: has no allelic reads; give count_windows.py the reports of count_alleles.py")
    sequences.check_windows(signal.windows)
    donors = signal.libraries["donor"].astype(str).tolist()
    pairs = np.asarray(sequences.index)[:, [sequences.donor(name) for name in donors]].astype(np.int64)
    call_window_events(
        signal.windows, found[0].sum(axis=2), found[1], pairs, donors, sequences.differing_alleles, out,
        min_reads=min_reads, fdr=fdr, allow_none=allow_none,
    )  # fmt: skip
