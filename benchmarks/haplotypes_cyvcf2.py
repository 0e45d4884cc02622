#!/usr/bin/env python3
"""extract_haplotypes.py with genotypes read by cyvcf2 instead of our decoder; run by ``haplotypes.py --cyvcf2``.

Everything else is the same code, and so is the store (compared there). Not a replacement: cyvcf2 0.35 refuses the
phase marks of VCF 4.4 and takes lines with too many sample columns.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from cyvcf2 import VCF

sys.path.insert(0, str(Path(__file__).parents[1] / "bin"))

from allelegro.genotype import shard
from allelegro.io import genotypes, vcf

arrays: dict[
    str, np.ndarray
] = {}  # by record line: genotypes ``[samples, 3]``: two alleles and whether they are phased


def lines(self: vcf.IndexedVcf, chrom: str, start: int, end: int) -> Iterator[str]:
    """The fixed columns of the records of a region; their genotypes go to ``arrays``."""
    if chrom not in self.contigs:
        return
    if not hasattr(self, "cyvcf2"):
        self.cyvcf2 = VCF(str(self.path))
    for record in self.cyvcf2(f"{chrom}:{start + 1}-{end}"):
        info = ";".join(f"{key}={record.INFO[key]}" for key in ("END", "SVLEN") if record.INFO.get(key) is not None)
        alt = ",".join(record.ALT) or "."
        line = f"{chrom}\t{record.POS}\t.\t{record.REF}\t{alt}\t.\t.\t{info or '.'}\tGT\t0"
        arrays[line] = record.genotype.array()
        yield line


class Lines(genotypes.RecordLines):
    """Record lines whose calls come from cyvcf2's arrays."""

    def calls(self, records, samples, columns, donors, *, phase_sets=False):
        """As of RecordLines, without phase sets and for diploid files."""
        texts = self.text.tobytes().decode().split("\n")
        table = np.stack([arrays[texts[record]] for record in records.tolist()])
        arrays.clear()
        chosen = np.argsort(columns)[-donors:]
        return genotypes.Calls(
            table[:, chosen, :2].astype(np.int16), table[:, chosen, 2] > 0, np.full((0, donors), -1, np.int32)
        )


if __name__ == "__main__":
    vcf.IndexedVcf.lines = lines
    shard.RecordLines = Lines
    from allelegro.cli.extract_haplotypes import app

    app()
