"""From phased variants, a genome and windows to the haplotype store, streamed shard by shard."""

import logging
import multiprocessing
import os
import shutil
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pandas as pd

from allelegro import __version__
from allelegro.errors import DataError, said_by_system
from allelegro.genotype.shard import TEXT_BUDGET, Rules, Shard, ShardResult, ShardWorker
from allelegro.genotype.store import DONOR_COUNTS, StoreWriter
from allelegro.io.atomic import atomic_folder
from allelegro.io.contigs import check_contigs, contig_hint
from allelegro.io.fasta import Fasta
from allelegro.io.genotypes import Ints
from allelegro.io.vcf import IndexedVcf, select_samples
from allelegro.io.windows import read_windows
from allelegro.progress import track

logger = logging.getLogger(__name__)

INDEX_BUDGET = 4_000_000  # windows × donors in a shard
EXPECTED_SPACING = 60  # bp between variants, only to plan shards; a shard with more text is halved

DROPPED = ("star", "symbolic", "ambiguous", "indel", "ref_mismatch", "duplicate", "overlapping")


def extract_haplotypes(
    vcfs: Sequence[Path],
    fasta: Path,
    windows_path: Path,
    out: Path,
    donors: Sequence[str] | None = None,
    rules: Rules = Rules(),
    threads: int = 1,
    flank: int = 0,
) -> None:
    """Write the haplotype store ``out``: both haplotypes of every donor at every window, each distinct one once.

    ``vcfs`` are phased, indexed VCF or BCF files that share no contig (one file, or one a chromosome). The sequences reach
    ``flank`` bp beyond their window on either side, N beyond the contig, for models that move windows. Raises DataError
    for whatever of the input cannot be read as the rules say, naming file and position.
    """
    windows = read_windows(windows_path, folds=False)
    width = int(windows["end"].iloc[0] - windows["start"].iloc[0]) + 2 * flank
    files = [IndexedVcf(path) for path in vcfs]
    chosen = select_samples(donors, files[0].samples, files[0].path)
    for vcf in files[1:]:
        select_samples(chosen, vcf.samples, vcf.path)
    with Fasta(fasta) as genome:
        _check_windows(windows, windows_path, genome, files)
        contigs = {chrom: genome.lengths[chrom] for chrom in windows["chrom"].unique()}
    for vcf in files:
        vcf.close()
    shards, order = plan_shards(windows.assign(start=windows["start"] - flank), width, len(chosen))
    worker_arguments = (tuple(vcfs), fasta, chosen, width, rules)
    with atomic_folder(out, "haplotypes") as folder:
        shutil.copyfile(windows_path, folder / "windows.bed")
        writer, conflicts = StoreWriter(folder, width, chosen), list[str]()
        for results in track(_run(shards, worker_arguments, threads), "haplotypes", total=len(shards)):
            for result in results:
                writer.add(result)
                conflicts += result.conflicts
        tally = writer.tally
        writer.finish(
            order,
            {
                **asdict(rules),
                "flank": flank,
                "contigs": contigs,
                "dropped": {reason: tally[reason] for reason in DROPPED},
                "alleles_read": tally["alleles"],
                "not_left_aligned": tally["not_left_aligned"],
                "phase_set_changes": tally["phase_set_changes"],
                "rows_merged": tally["rows_merged"],
                "genotypes": {
                    name: int(n) for name, n in zip(DONOR_COUNTS, writer.donor_counts.sum(axis=0), strict=True)
                },
                "inputs": {"vcf": [path.name for path in vcfs], "fasta": fasta.name, "windows": windows_path.name},
                "allelegro": __version__,
            },
        )
    _log_summary(writer)
    if conflicts:
        logger.warning(
            "%d repeated records have other genotypes than the first of their kind, which was used: %s%s",
            len(conflicts),
            conflicts[0],
            " …" if len(conflicts) > 1 else "",
        )


def _log_summary(writer: StoreWriter) -> None:
    tally, rows = writer.tally, sum(int(n.sum()) for n in writer.rows_per_window)
    total = sum(len(n) for n in writer.rows_per_window) * len(writer.donors) * 2
    logger.info(
        "%d haplotypes, %d distinct, %d variants in use of %d alleles", total, rows, writer.n_variants, tally["alleles"]
    )
    for reason in DROPPED:
        if tally[reason]:
            logger.info("dropped: %s %d", reason, tally[reason])
    if tally["not_left_aligned"]:
        logger.warning("%d indels are not left-aligned; bcftools norm would place them", tally["not_left_aligned"])
    if tally["phase_set_changes"]:
        logger.warning("phase sets change inside a window for %d donor × window pairs", tally["phase_set_changes"])


def _check_windows(windows: pd.DataFrame, path: Path, genome: Fasta, files: list[IndexedVcf]) -> None:
    chroms = windows["chrom"].unique().tolist()
    check_contigs(chroms, str(path), genome.lengths, genome.path)
    lengths = windows["chrom"].map(genome.lengths).to_numpy()
    beyond = np.flatnonzero(windows["end"].to_numpy() > lengths)
    if len(beyond):
        row = windows.iloc[beyond[0]]
        raise DataError(
            f"{path} row {beyond[0] + 1}: window {row['chrom']}:{row['start'] + 1}-{row['end']} ends beyond the contig, "
            f"which has {lengths[beyond[0]]} bp; drop or shift this window"
        )
    owner: dict[str, Path] = {}
    for vcf in files:
        for chrom in vcf.contigs:
            if chrom in owner and chrom in set(chroms):
                raise DataError(f"{vcf.path}: contig {chrom} is in {owner[chrom]}, too; give each contig in one file")
            owner[chrom] = vcf.path
    absent = [chrom for chrom in chroms if chrom not in owner]
    if len(absent) == len(chroms):
        raise DataError(
            f"{path}: no contig of the windows has records in {files[0].path}; {contig_hint(absent, owner)}"
        )
    for chrom in absent:
        count = int((windows["chrom"] == chrom).sum())
        logger.warning("%s: no variant records; its %d windows are the reference for everyone", chrom, count)


def plan_shards(windows: pd.DataFrame, width: int, donors: int) -> tuple[list[Shard], Ints]:
    """Shards by position, and the line of ``windows`` that each of their windows comes from."""
    starts = windows["start"].to_numpy(np.int64)
    codes, names = pd.factorize(windows["chrom"])
    order = np.lexsort((starts, codes))
    span = TEXT_BUDGET * EXPECTED_SPACING // (5 * donors)
    most = max(1, INDEX_BUDGET // donors)
    shards = []
    first, previous = 0, -1
    for n in range(1, len(order) + 1):
        here = order[first]
        same = n < len(order) and codes[order[n]] == codes[here]
        if same and n - first < most and starts[order[n]] - starts[here] < span:
            continue
        shards.append(Shard(str(names[codes[here]]), starts[order[first:n]], previous))
        previous = int(starts[order[n - 1]]) + width if same else -1
        first = n
    return shards, order


_worker: ShardWorker | None = None


def _start_worker(*arguments: object) -> None:
    global _worker
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = ShardWorker(*arguments)  # type: ignore[arg-type]


def _end_with_parent() -> None:
    """End this worker when the process that started it has ended in any way, so that a killed run leaves nothing behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(shard: Shard) -> list[ShardResult]:
    assert _worker is not None
    return _worker.run(shard)


def _run(
    shards: list[Shard], arguments: tuple[Sequence[Path], Path, list[str], int, Rules], threads: int
) -> Iterator[list[ShardResult]]:
    """Results in the order of the shards; with more threads, a few shards ahead and no more are held in memory."""
    pool = _workers(arguments, threads) if threads > 1 and len(shards) > 1 else None
    if pool is None:
        worker = ShardWorker(*arguments)
        for shard in shards:
            yield worker.run(shard)
        return
    try:
        with pool:
            ahead: deque[Future[list[ShardResult]]] = deque()
            for shard in shards:
                ahead.append(pool.submit(_work, shard))
                if len(ahead) > 2 * threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
    except BrokenProcessPool:
        raise DataError(
            "a worker process was killed, perhaps for memory; give the machine more, or the tool fewer --threads"
        ) from None


def _workers(arguments: tuple[object, ...], threads: int) -> ProcessPoolExecutor | None:
    """Worker processes; None, and a warning, where they cannot work together (/dev/shm, or TMPDIR for their socket)."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # import once, not once a worker
    try:
        forkserver.ensure_running()
        return ProcessPoolExecutor(threads, context, _start_worker, arguments)
    except OSError as error:
        said = said_by_system(error)
        logger.warning("one process instead of %d: they cannot share memory or a socket here (%s)", threads, said)
        return None
