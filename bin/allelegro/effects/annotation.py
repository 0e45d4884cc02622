"""Genes of a GTF or GFF3 annotation: the transcription start site that is nearest to a variant."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.intervals import nearest
from allelegro.io.compression import text_lines
from allelegro.io.contigs import plain_contig

_TRANSCRIPTS = ("transcript", "mRNA", "lnc_RNA", "ncRNA")
_NAMES = ("gene_name", "gene", "Name", "gene_id", "ID")
GENE_COLUMNS = ["gene", "tss_distance"]


class _Site(NamedTuple):
    chrom: str
    position: int  # 0-based
    strand: int  # 1 or -1
    gene: str


class StartSites:
    """Transcription start sites by contig, sorted; ``nearest`` finds that of each variant."""

    def __init__(self, sites: list[_Site]) -> None:
        table = pd.DataFrame(sites, columns=_Site._fields).sort_values(["chrom", "position"], kind="stable")
        self._by_contig = {str(chrom): rows for chrom, rows in table.groupby("chrom", sort=False)}

    @classmethod
    def read(cls, path: Path) -> "StartSites":
        """Start sites of the transcripts of a GTF or GFF3 (of genes where it lists no transcripts); gzip is allowed.

        Raises DataError for a line that is no annotation, and when there is neither.
        """
        features = list(_features(path))
        transcripts = [site for kind, site in features if kind in _TRANSCRIPTS]
        sites = transcripts or [site for kind, site in features if kind == "gene"]
        if not sites:
            raise DataError(f"{path}: lists neither transcripts nor genes; give a GTF or GFF3 annotation")
        return cls(sites)

    def nearest(self, table: pd.DataFrame) -> pd.DataFrame:
        """``GENE_COLUMNS`` of variants (``chrom pos``, 1-based): gene, and bp from its start, negative upstream of it."""
        gene: NDArray[np.object_] = np.full(len(table), ".", object)
        distance = np.full(len(table), np.nan)
        plain = table["chrom"].astype(str).map(plain_contig).to_numpy()
        start = table["pos"].to_numpy(np.int64) - 1
        for chrom, sites in self._by_contig.items():
            rows = np.flatnonzero(plain == chrom)
            positions = sites["position"].to_numpy(np.int64)
            site = nearest(start[rows], positions)
            gene[rows] = sites["gene"].to_numpy()[site]
            distance[rows] = (start[rows] - positions[site]) * sites["strand"].to_numpy()[site]
        return pd.DataFrame({"gene": gene, "tss_distance": distance}, index=table.index)


def _features(path: Path) -> Iterator[tuple[str, _Site]]:
    for number, line in enumerate(text_lines(path), start=1):
        if line.startswith("##FASTA"):
            return
        if line.startswith("#") or not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) != 9 or not (cells[3].isdigit() and cells[4].isdigit()):
            raise DataError(f"{path} line {number}: no line of a GTF or GFF3 (nine columns separated by tabs)")
        chrom, _, kind, first, last, _, strand, _, attributes = cells
        if kind == "gene" or kind in _TRANSCRIPTS:
            minus = strand == "-"
            position = int(last) - 1 if minus else int(first) - 1
            yield kind, _Site(plain_contig(chrom), position, -1 if minus else 1, _name(attributes))


def _name(attributes: str) -> str:
    """The gene's name among the attributes of either format."""
    found = dict(re.findall(r'([^\s;=]+)[ =]"?([^";]+)"?', attributes))
    return next((found[key].removeprefix("gene:") for key in _NAMES if key in found), ".")
