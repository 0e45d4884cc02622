"""Do genome, genotypes and signal files speak of the same contigs and donors? Every disagreement is one line."""

import re
from collections.abc import Collection, Mapping
from itertools import islice
from pathlib import Path

from allelegro.errors import DataError
from allelegro.io import bgzf
from allelegro.io.compression import open_binary
from allelegro.io.contigs import check_shared, is_excluded

MAX_LENGTH = 1 << 29  # bp that a .tbi can index
MOST_CONTIGS = 30  # looked at for unphased genotypes: the chromosomes, not thousands of scaffolds
UNPHASED = re.compile(r"(\d+|\.)/(?!\1(?:$|:))")
Contigs = dict[str, int]  # name → length in bp, 0 when the file does not say


def fasta_contigs(path: Path) -> Contigs:
    """Contigs of a FASTA, whose index is checked, or made where there is none; DataError as of :class:`Fasta`."""
    from allelegro.io.fasta import Fasta

    with Fasta(path) as genome:
        return genome.lengths


def variant_header(path: Path) -> tuple[Contigs, list[str]]:
    """Contigs with records and donors of a VCF or BCF; DataError as of :class:`IndexedVcf`."""
    from allelegro.io.vcf import IndexedVcf

    vcf = IndexedVcf(path)
    vcf.close()
    return vcf.lengths, vcf.samples


def signal_contigs(path: Path, column: str) -> Contigs:
    """Contigs of the alignments or the signal of a column of the library sheet; none of a bedGraph, which does not list them.

    Raises DataError when the file is truncated or of another kind.
    """
    from allelegro.io.bigwig import BIG_ENDIAN_MAGIC, MAGIC
    from allelegro.io.signal import Signal

    if column == "bam":
        return _alignment_contigs(path)
    with path.open("rb") as file:
        is_bigwig = file.read(4) in (MAGIC, BIG_ENDIAN_MAGIC)
    signal = Signal(path) if is_bigwig or path.suffix.lower() in (".bw", ".bigwig") else None
    return signal.contigs if signal is not None and signal.sized else {}


def _alignment_contigs(path: Path) -> Contigs:
    import pysam

    pysam.set_verbosity(0)  # htslib complains of an index that nothing here needs
    try:
        with pysam.AlignmentFile(str(path), check_sq=False, ignore_truncation=False) as file:
            if file.is_bam and not bgzf.ends_whole(path):
                raise DataError(f"{path}: the BAM ends early; the file is truncated, copy it again")
            return dict(zip(file.references, file.lengths, strict=True))
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not a readable BAM or CRAM ({error})") from None


def compare_contigs(name: str, contigs: Mapping[str, int], genome: Mapping[str, int], genome_name: str) -> list[str]:
    """Problems of a file's contigs against the genome's: none in common, or one name with two lengths.

    Contigs that are excluded anyway do not count: hg19 and its 1000 Genomes edition have two different chrM.
    """
    counted = [contig for contig in contigs if not is_excluded(contig)] or list(contigs)
    try:
        check_shared(counted, name, genome, genome_name)
    except DataError as error:
        return [str(error)]
    return [
        f"{name}: {contig} is {contigs[contig]} bp long, in {genome_name} {genome[contig]} bp; they are of two assemblies"
        for contig in counted
        if contig in genome and contigs[contig] and contigs[contig] != genome[contig]
    ][:1]


def unphased_at(path: Path, donors: Collection[str] | None = None, records: int = 200) -> tuple[str, str] | None:
    """Place and donor of an unphased heterozygote in the first ``records`` of each contig of an indexed VCF, or None.

    Only ``donors`` are looked at; None: everyone. DataError as of :class:`IndexedVcf`.
    """
    from allelegro.io.vcf import IndexedVcf

    vcf = IndexedVcf(path)
    try:
        columns = [(9 + place, name) for place, name in enumerate(vcf.samples) if donors is None or name in donors]
        for contig in vcf.contigs[:MOST_CONTIGS]:
            for line in islice(vcf.lines(contig, 0, MAX_LENGTH), records):
                if "/" not in line:
                    continue
                cells = line.split("\t")
                for column, name in columns:
                    if UNPHASED.match(cells[column]):
                        return f"{cells[0]}:{cells[1]}", name
    finally:
        vcf.close()
    return None


def check_fastq(path: Path) -> None:
    """The first record of a FASTQ, plain or gzipped; raises DataError when it is not one."""
    with open_binary(path) as file:
        record = [file.readline().rstrip() for _ in range(4)]
    if not (record[0][:1] == b"@" and record[2][:1] == b"+" and len(record[1]) == len(record[3])):
        raise DataError(f"{path}: does not begin with a FASTQ record (@name, bases, +, as many qualities)")
