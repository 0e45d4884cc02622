"""Do genome, genotypes and signal files speak of the same contigs and donors? Every disagreement is one line."""

import gzip
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from allelegro.errors import DataError
from allelegro.io import bgzf

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


def signal_contigs(path: Path) -> Contigs:
    """Contigs of a BAM, CRAM or bigWig file; none of files that do not list them.

    Raises DataError when the file is truncated or of another kind.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] in ([".bam"], [".cram"], [".sam"]):
        return _alignment_contigs(path)
    if suffixes[-1:] in ([".bw"], [".bigwig"]):
        return _bigwig_contigs(path)
    return {}


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


def _bigwig_contigs(path: Path) -> Contigs:
    from allelegro.io.signal import Signal

    return Signal(path).contigs


def compare_contigs(name: str, contigs: Mapping[str, int], genome: Mapping[str, int], genome_name: str) -> list[str]:
    """Problems of a file's contigs against the genome's: none in common, or one name with two lengths."""
    shared = [contig for contig in contigs if contig in genome]
    if contigs and not shared:
        stripped = {contig.removeprefix("chr") for contig in contigs} & {
            contig.removeprefix("chr") for contig in genome
        }
        hint = "one has the prefix chr and the other does not; rename one of them" if stripped else "another genome?"
        return [f"{name}: no contig in common with {genome_name} ({_few(contigs)} against {_few(genome)}); {hint}"]
    return [
        f"{name}: {contig} is {contigs[contig]} bp long, in {genome_name} {genome[contig]} bp; they are of two assemblies"
        for contig in shared
        if contigs[contig] and contigs[contig] != genome[contig]
    ][:1]


def missing_donors(
    libraries: Iterable[Mapping[str, str]], donors: Iterable[str], variants: str
) -> list[tuple[int, str]]:
    """Rows of the library sheet (from 0) whose donor has no genotypes, and what to say of each."""
    known = set(donors)
    return [
        (number, f"donor '{row['donor']}' is not in {variants} (it has {_few(sorted(known))})")
        for number, row in enumerate(libraries)
        if row["donor"] and row["donor"] not in known
    ]


def check_fastq(path: Path) -> None:
    """The first record of a FASTQ, plain or gzipped; raises DataError when it is not one."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path, "rb") if zipped else path.open("rb") as file:
            record = [file.readline().rstrip() for _ in range(4)]
    except (OSError, EOFError, zlib.error):
        raise DataError(f"{path}: the gzip stream is damaged or ends early; copy the file again") from None
    if not (record[0][:1] == b"@" and record[2][:1] == b"+" and len(record[1]) == len(record[3])):
        raise DataError(f"{path}: does not begin with a FASTQ record (@name, bases, +, as many qualities)")


def _few(names: Iterable[str]) -> str:
    """The first names of many."""
    listed = list(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
