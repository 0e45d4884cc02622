"""Where reads count: contigs by name, a blacklist, and the surroundings of annotated start sites."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.intervals import Regions, union
from allelegro.io.bed import data_lines, interval, is_header, read_bed
from allelegro.io.contigs import EXCLUDED_CONTIGS, contig_hint, match_contigs
from allelegro.procap.bam import CONTIG_SHIFT

Keys = NDArray[np.uint64]


@dataclass(frozen=True)
class ContigFilter:
    """Which contigs count: names that match a ``keep`` glob (all when there is none) and no ``exclude`` glob."""

    keep: Sequence[str] = ()
    exclude: Sequence[str] = EXCLUDED_CONTIGS

    def mask(self, contigs: Mapping[str, int], path: Path) -> NDArray[np.bool_]:
        """True for contigs that count; raises DataError when none is left."""
        kept = np.array([self.keeps(name) for name in contigs], np.bool_)
        if not kept.any():
            raise DataError(
                f"{path}: the contig filter leaves none of its {len(contigs)} contigs "
                f"({', '.join(list(contigs)[:3])}); see --contigs and --exclude-contigs"
            )
        return kept

    def keeps(self, name: str) -> bool:
        """Whether a contig of this name counts."""
        wanted = not self.keep or any(fnmatchcase(name, pattern) for pattern in self.keep)
        return wanted and not any(fnmatchcase(name, pattern) for pattern in self.exclude)


def on_contigs(table: pd.DataFrame, contigs: Mapping[str, int], path: Path) -> pd.DataFrame:
    """The rows of a table of places on the reads' contigs, by their names there (chr1 and 1 are one).

    Raises DataError when none is.
    """
    names = match_contigs(table["chrom"].unique().tolist(), contigs)
    if contigs and not any(names.values()):
        raise DataError(
            f"{path}: no row is on a contig of the reads ({next(iter(names))}); {contig_hint(names, contigs)}"
        )
    return table.assign(chrom=table["chrom"].map(names)).dropna(subset="chrom")


def blacklist_keys(path: Path | None, contigs: Mapping[str, int]) -> tuple[Keys, Keys]:
    """Disjoint sorted intervals of keys (see :mod:`allelegro.procap.bam`) of a BED's regions; none without a file.

    Raises DataError for an unreadable BED, and when no region is on a contig of the reads.
    """
    if path is None:
        return np.empty(0, np.uint64), np.empty(0, np.uint64)
    table = on_contigs(read_bed(path), contigs, path)
    contig = (
        table["chrom"].map({name: number for number, name in enumerate(contigs)}).to_numpy(np.int64) << CONTIG_SHIFT
    )
    starts, ends = union(contig + table["start"].to_numpy() * 2, contig + table["end"].to_numpy() * 2)
    return starts.astype(np.uint64), ends.astype(np.uint64)


def read_tss(path: Path, distance: int, contigs: Mapping[str, int]) -> Regions:
    """Stretches within ``distance`` bp of annotated transcription start sites, on the reads' ``contigs``.

    From the ``transcript`` (or, without any, ``gene``) lines of a GTF or GFF, or from a BED: the first base of each feature on
    its strand (column 6, plus when absent). Raises DataError for another file, and when no site is on one of the contigs.
    """
    rows: dict[str, list[tuple[str, int]]] = {"transcript": [], "gene": [], "bed": []}
    for number, cells in data_lines(path):
        if (
            len(cells) >= 9 and cells[3].isdigit() and cells[4].isdigit() and cells[6] in "+-."
        ):  # GTF, GFF: 1-based, closed
            kind = {"mRNA": "transcript"}.get(cells[2], cells[2])
            if kind in rows:
                rows[kind].append((cells[0], int(cells[4] if cells[6] == "-" else cells[3]) - 1))
        elif rows["bed"] or not is_header(cells):
            start, end = interval(cells, path, number)
            rows["bed"].append((cells[0], end - 1 if cells[5:6] == ["-"] else start))
    found = rows["transcript"] or rows["gene"] or rows["bed"]
    if not found:
        raise DataError(f"{path}: no transcript, gene or BED line; give an annotation of transcription start sites")
    table = on_contigs(pd.DataFrame(found, columns=["chrom", "site"]), contigs, path)
    table["start"], table["end"] = (table["site"] - distance).clip(lower=0), table["site"] + distance + 1
    return Regions.of(table)
