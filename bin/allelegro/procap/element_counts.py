"""Counts stores from tables with one number for each element and library, where there is no signal to count.

The layout is that of ``sl2665/procap-network`` (the elements of Kristjansdottir et al. 2020, doi:10.1038/s41467-020-19829-z,
on hg19): ``Table.3a.procap.readcount.ambr.txt`` has a row an element, its chromosome, its position and one whole number a
library, separated by blanks; ``procap.ambr.list.txt`` names the libraries in the order of the columns; ``caplist.csv``
(``name,id,mappedReads``) has the reads of each. Libraries are cell lines (``GM18505``, ``GM18505r`` for a replicate).
"""

import logging
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.io.compression import text_lines
from allelegro.io.contigs import match_contigs
from allelegro.io.tables import COUNT, NAME, read_table
from allelegro.io.windows import WINDOW_COLUMNS
from allelegro.procap.counts import write_element_counts
from allelegro.procap.folds import UNASSIGNED, assign_folds

WIDTH = 1000  # bp, as merge_peaks.py makes windows
FOLDS, GAP = 10, 10_000  # where a genome is too small for the folds of human chromosomes

log = logging.getLogger(__name__)


def counts_from_tables(
    table: Path,
    libraries: Path,
    mapped: Path,
    out: Path,
    *,
    lengths: Mapping[str, int],
    donors: Collection[str] | None = None,
    width: int = WIDTH,
) -> dict[str, str]:
    """Write the counts store ``out`` of the three files of the module's layout; returns why libraries were excluded.

    A window of ``width`` bp lies about each element's position (0-based); it is named as ``lengths``, the contigs of the
    genome and their lengths in bp, name it, and has the fold of its chromosome. Libraries whose donor is not among
    ``donors`` are excluded. The tables do not tell bases or strands apart, and the store says so (``resolved``).
    Elements on other contigs, beyond their ends or in no fold are dropped and counted. Raises DataError, naming file,
    row and column, for a table of another layout, a library without mapped reads, or when nothing is left.
    """
    names = _library_names(libraries)
    sizes = read_table(mapped, {"id": NAME, "mappedReads": COUNT}).assign(id=lambda found: found["id"].str.rstrip("*"))
    if sizes["id"].duplicated().any():
        raise DataError(
            f"{mapped}: library {sizes['id'][sizes['id'].duplicated()].iloc[0]} occurs twice; give it one row"
        )
    total = sizes.set_index("id")["mappedReads"].reindex(names)
    if total.isna().any():
        raise DataError(
            f"{mapped}: no mapped reads of library {total.index[total.isna()][0]} of {libraries}; add its row"
        )
    sheet = pd.DataFrame(
        {"library": names, "donor": [donor_of(name) for name in names], "total_reads": total.to_numpy()}
    )
    places, reads = _read_elements(table, names)
    windows, kept = _windows(places, lengths, width, table)
    known = sheet["donor"].isin(donors) if donors is not None else pd.Series(True, sheet.index)
    excluded = {name: f"no genotypes of donor {donor_of(name)}" for name in sheet["library"][~known]}
    if not known.any():
        raise DataError(f"{libraries}: none of the donors ({sheet['donor'].iloc[0]}, …) has genotypes; check the names")
    log.info("%s: %d of %d libraries excluded: no genotypes of their donors", table, len(excluded), len(names))
    write_element_counts(windows, sheet[known].reset_index(drop=True), reads[kept][:, known.to_numpy()], out, excluded)
    return excluded


def donor_of(library: str) -> str:
    """The donor as 1000 Genomes names it: the DNA NA18505 of the cell line GM18505 (``GM18505r`` for its replicate)."""
    return re.sub(r"^GM", "NA", library.removesuffix("r"))


def _library_names(path: Path) -> list[str]:
    """The libraries in the order of the table's columns, one a line; a star marks some and is no part of a name."""
    names = [line.strip().rstrip("*") for line in text_lines(path) if line.strip()]
    twice = next((name for name in names if names.count(name) > 1), None)
    if not names or twice:
        raise DataError(f"{path}: {f'library {twice} occurs twice' if twice else 'no library'}; one name a line")
    return names


def _read_elements(path: Path, names: list[str]) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Places ``chrom pos`` of the elements and their reads ``[element, library]``."""
    places: list[tuple[str, int]] = []
    reads: list[NDArray[np.int64]] = []
    for row, cells in _rows(path):
        if len(cells) != len(names) + 2:
            raise DataError(
                f"{path} row {row}: {len(cells)} columns, expected {len(names) + 2} (chromosome, position and "
                f"{len(names)} libraries); give the list of libraries that belongs to this table"
            )
        try:
            numbers = np.array(cells[1:], np.float64)
        except ValueError:
            numbers = pd.to_numeric(pd.Series(cells[1:]), errors="coerce").to_numpy(np.float64)
        bad = ~((numbers >= 0) & (numbers % 1 == 0) & (numbers < 2**53))
        if bad.any():
            column = int(bad.argmax())
            what = ["position", *names][column]
            raise DataError(
                f"{path} row {row}, column {what}: not a whole number from 0 ('{cells[column + 1]}'); give raw read "
                "counts, not normalised ones"
            )
        places.append((cells[0], int(numbers[0])))
        reads.append(numbers[1:].astype(np.int64))
    if not places:
        raise DataError(f"{path}: no rows; give a table of read counts by element")
    return pd.DataFrame(places, columns=["chrom", "pos"]), np.stack(reads)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows, counted from 1, as cells; a header, whose second cell is no number, is none of them."""
    row = 0
    for line in text_lines(path):
        cells = line.replace('"', "").split()
        if not cells or (row == 0 and len(cells) > 1 and cells[1][0].isalpha()):
            continue
        row += 1
        yield row, cells


def _windows(
    places: pd.DataFrame, lengths: Mapping[str, int], width: int, path: Path
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Windows about elements, sorted, in folds, and the element of each; what is dropped is counted."""
    chrom = places["chrom"].map(match_contigs(places["chrom"].unique(), lengths))
    start = places["pos"] - width // 2
    inside = chrom.notna() & (start >= 0) & (start + width <= chrom.map(lengths).fillna(0))
    if not inside.any():
        raise DataError(
            f"{path}: no element has {width} bp of the genome around it; give the genome of the table (hg19)"
        )
    windows = pd.DataFrame({"chrom": chrom, "start": start, "end": start + width})[inside]
    windows = windows.sort_values(["chrom", "start"], kind="stable")
    if windows.duplicated().any():
        twice = windows[windows.duplicated()].iloc[0]
        raise DataError(
            f"{path}: the element at {twice['chrom']}:{twice['start'] + width // 2} occurs twice; keep one row"
        )
    fold, _ = assign_folds(windows, "auto", FOLDS, GAP)
    windows = windows.assign(fold=fold)[(fold != UNASSIGNED).to_numpy()]
    log.info(
        "%s: %d elements, %d dropped on other contigs or at their ends, %d in no fold",
        path, len(places), int((~inside).sum()), int(inside.sum()) - len(windows),
    )  # fmt: skip
    name = windows["chrom"] + ":" + (windows["start"] + 1).astype(str) + "-" + windows["end"].astype(str)
    kept = windows.index.to_numpy(np.int64)
    return windows.assign(name=name, score=0, strand=".")[WINDOW_COLUMNS].reset_index(drop=True), kept
