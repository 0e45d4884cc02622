"""WASP's filter (van de Geijn et al. 2015, doi:10.1038/nmeth.3582): reads that do not come back when their alleles are swapped.

A read over heterozygous SNVs of its donor is aligned again with the other allele at each of them. Unless it comes back to
its place it would not have been seen with that allele, and counting it prefers the allele it has. Such reads stay in
the BAM, which coverage counts as ever; tag ``vW`` marks them as STAR's ``--waspOutputMode`` does, and count_alleles.py
excludes them.
"""

import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.io.dna import decode, encode, reverse_complement
from allelegro.procap.bam import AlignmentStream, SitesOfContigs
from allelegro.resources import end_with_parent

IN_PLACE, UNMAPPED, LOW_MAPQ, MOVED = 1, 4, 5, 6  # STAR's codes; above 1 a read is excluded
OUTCOMES = {
    IN_PLACE: "back in place",
    UNMAPPED: "unmapped with the other allele",
    LOW_MAPQ: "low mapping quality with the other allele",
    MOVED: "elsewhere, or aligned otherwise, with the other allele",
}
_CIGAR = re.compile(r"(\d+)([MIDNSHP=X])")
_REVERSE, _MATES, _NO_PRIMARY = 0x10, 0xC0, "0x904"

Run = Callable[[Sequence[str | Path]], object]
Realign = Callable[[list[Path], Path], None]


@dataclass(frozen=True)
class Alignment:
    """The fields of a SAM line that say what was read and where it is."""

    name: str
    flag: int
    contig: str
    position: int  # 0-based
    mapq: int
    cigar: str
    bases: str
    qualities: str

    @classmethod
    def of(cls, line: str) -> "Alignment":
        """A line of SAM."""
        name, flag, contig, position, mapq, cigar, _, _, _, bases, qualities = line.split("\t", 11)[:11]
        return cls(name, int(flag), contig, int(position) - 1, int(mapq), cigar, bases, qualities)

    @property
    def mate(self) -> int:
        """0 for a single read, else which of the pair it is."""
        return self.flag & _MATES

    @property
    def place(self) -> tuple[str, int, int, str]:
        """Contig, position, strand and CIGAR: with another CIGAR the read may end elsewhere or lack the SNV."""
        return self.contig, self.position, self.flag & _REVERSE, self.cigar

    def swapped(self, sites: SitesOfContigs) -> str:
        """The aligned bases with the other allele at each heterozygous SNV; third bases stay."""
        if self.contig not in sites:
            return self.bases
        position, alleles = sites[self.contig]
        bases, query, on = list(self.bases), 0, self.position
        for size, kind in ((int(size), kind) for size, kind in _CIGAR.findall(self.cigar)):
            if kind in "M=X":
                first, last = np.searchsorted(position, [on, on + size])
                for site in range(first, last):
                    at = query + int(position[site]) - on
                    ref, alt = ("ACGT"[code] for code in alleles[site])
                    bases[at] = {ref: alt, alt: ref}.get(bases[at], bases[at])
            query += size if kind in "MIS=X" else 0
            on += size if kind in "MDN=X" else 0
        return "".join(bases)

    def fastq(self, bases: str) -> str:
        """A FASTQ record of other bases, as the read came from the sequencer."""
        qualities = self.qualities if self.qualities != "*" else "I" * len(bases)
        if self.flag & _REVERSE:
            bases, qualities = decode(reverse_complement(encode(bases))), qualities[::-1]
        return f"@{self.name}\n{bases}\n+\n{qualities}\n"


def mark_moved(
    aligned: Path, sites: SitesOfContigs, realign: Realign, run: Run, folder: Path, *, paired: bool, min_mapq: int = 30
) -> tuple[Path, dict[str, int]]:
    """Tag the reads of a sorted BAM whose alleles can be swapped with what becomes of them (``vW``); and count them.

    ``realign`` aligns FASTQ files (one, or both mates) into a BAM as ``aligned`` was made; ``run`` runs a command. A swapped
    read must come back to its place, strand and CIGAR with a mapping quality of ``min_mapq``; of a pair, both must.
    Counts are reads (or pairs) by ``OUTCOMES``. Returns ``aligned`` itself when no read has a known allele.
    """
    bed, names, over, rest = (folder / f"wasp.{name}" for name in ("bed", "names", "over.bam", "rest.bam"))
    with bed.open("w") as file:
        for contig, (position, _) in sites.items():
            file.writelines(f"{contig}\t{at}\t{at + 1}\n" for at in position.tolist())
    chosen = {
        read.name for read in _alignments(aligned, "-L", bed) if read.swapped(sites) != read.bases
    }  # fmt: skip
    outcomes = dict.fromkeys(OUTCOMES.values(), 0)
    if not chosen:
        return aligned, outcomes
    names.write_text("".join(f"{name}\n" for name in sorted(chosen)))
    run(["samtools", "view", "-b", "-N", names, "-F", _NO_PRIMARY, "-o", over, "-U", rest, aligned])
    places = _write_swapped(over, sites, mates := [folder / f"wasp.{mate}.fq" for mate in range(1 + paired)])
    realign(mates, again := folder / "wasp.again.bam")
    codes = _outcomes(places, again, min_mapq, 1 + paired)
    outcomes |= {OUTCOMES[code]: number for code, number in Counter(codes.values()).items()}
    tagged, joined = folder / "wasp.tagged.bam", folder / "wasp.bam"
    _tag(over, codes, tagged)
    run(["samtools", "merge", "-f", "-c", "-p", "-o", joined, rest, tagged])
    return joined, outcomes


def _write_swapped(
    over: Path, sites: SitesOfContigs, paths: list[Path]
) -> dict[str, dict[int, tuple[str, int, int, str]]]:
    """Write swapped reads as FASTQ, mates in one order; returns the place of each read by name and mate."""
    places: dict[str, dict[int, tuple[str, int, int, str]]] = {}
    waiting: dict[str, tuple[int, str]] = {}
    files = [path.open("w") for path in paths]
    try:
        for read in _alignments(over):
            places.setdefault(read.name, {})[read.mate] = read.place
            record = read.fastq(read.swapped(sites))
            if len(files) == 1:
                files[0].write(record)
            elif read.name not in waiting:
                waiting[read.name] = (read.mate, record)
            else:
                for file, (_, text) in zip(files, sorted([waiting.pop(read.name), (read.mate, record)]), strict=True):
                    file.write(text)
    finally:
        for file in files:
            file.close()
    return places


def _outcomes(
    places: Mapping[str, Mapping[int, tuple[str, int, int, str]]], again: Path, min_mapq: int, mates: int
) -> dict[str, int]:
    """The code of each read or pair: the worst of its mates."""
    seen = dict.fromkeys(places, 0)
    codes = dict.fromkeys(places, IN_PLACE)
    for read in _alignments(again):
        seen[read.name] += 1
        code = MOVED if read.place != places[read.name].get(read.mate) else IN_PLACE
        code = LOW_MAPQ if code == IN_PLACE and read.mapq < min_mapq else code
        codes[read.name] = max(codes[read.name], code)
    return {name: code if seen[name] == mates else UNMAPPED for name, code in codes.items()}


def _tag(over: Path, codes: Mapping[str, int], out: Path) -> None:
    """Write ``over`` with the tag ``vW``."""
    command = ["samtools", "view", "-b", "-o", str(out), "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, preexec_fn=end_with_parent) as writer:
        assert writer.stdin is not None
        for line in _lines(over, "-h"):
            tag = "" if line.startswith("@") else f"\tvW:i:{codes[line.split(chr(9), 1)[0]]}"
            writer.stdin.write(f"{line}{tag}\n")
        writer.stdin.close()
        if writer.wait():
            raise DataError(f"samtools view failed on the reads of {over}")


def _alignments(bam: Path, *options: str | Path) -> Iterator[Alignment]:
    """Primary alignments."""
    return map(Alignment.of, _lines(bam, "-F", _NO_PRIMARY, *options))


def _lines(bam: Path, *options: str | Path) -> Iterator[str]:
    """Lines of ``samtools view``."""
    command = ["samtools", "view", *map(str, options), str(bam)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=end_with_parent) as reader:
        assert reader.stdout is not None
        for line in reader.stdout:
            yield line.rstrip("\n")
        if reader.wait():
            raise DataError(f"{bam}: samtools view failed")


def sites_of(vcfs: Sequence[Path], donor: str, bam: Path) -> dict[str, tuple[NDArray[np.int64], NDArray[np.uint8]]]:
    """Heterozygous SNVs of a donor on the contigs of a BAM; DataError as of count_alleles.py, but phase is not needed."""
    from allelegro.io.contigs import check_shared
    from allelegro.procap.heterozygotes import DonorGenotypes

    genotypes, stream = DonorGenotypes.open(vcfs, donor), AlignmentStream(bam)
    contigs = stream.contigs
    stream.close()
    check_shared(contigs, str(bam), genotypes.lengths, vcfs[0])
    genotypes.require_contigs(contigs, bam)
    found = {name: genotypes.on(name) for name in contigs if name in genotypes.lengths}
    return {name: (sites.position, sites.alleles) for name, sites in found.items() if len(sites)}
