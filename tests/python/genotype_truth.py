"""A slow, plain implementation of the haplotype rules, written apart from the library, and small files for tests."""

import random
from dataclasses import dataclass, field
from pathlib import Path

import pysam

HEADER = """##fileformat=VCFv4.2
##FILTER=<ID=PASS,Description="All filters passed">
##INFO=<ID=END,Number=1,Type=Integer,Description="End">
##INFO=<ID=SVLEN,Number=.,Type=Integer,Description="Length">
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
##FORMAT=<ID=DP,Number=1,Type=Integer,Description="Depth">
"""
PS = '##FORMAT=<ID=PS,Number=1,Type=Integer,Description="Phase set">\n'


@dataclass
class Record:
    """A VCF line; ``pos`` is 1-based."""

    pos: int
    ref: str
    alt: str
    genotypes: list[str]
    info: str = "."
    format: str = "GT"
    chrom: str = "chr1"

    def line(self) -> str:
        columns = [self.chrom, str(self.pos), ".", self.ref, self.alt, ".", "PASS", self.info, self.format]
        return "\t".join([*columns, *self.genotypes]) + "\n"


@dataclass
class Cohort:
    """Files of one tiny cohort."""

    genome: dict[str, str]
    records: list[Record]
    donors: list[str]
    windows: list[tuple[str, int, int]]
    extra_header: str = ""
    paths: dict[str, Path] = field(default_factory=dict)

    def write(self, folder: Path) -> "Cohort":
        folder.mkdir(parents=True, exist_ok=True)
        fasta, vcf, windows = folder / "genome.fa", folder / "variants.vcf", folder / "windows.bed"
        fasta.write_text("".join(f">{name}\n{wrap(sequence)}" for name, sequence in self.genome.items()))
        pysam.faidx(str(fasta))
        contigs = "".join(f"##contig=<ID={name},length={len(s)}>\n" for name, s in self.genome.items())
        columns = (
            "\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *self.donors]) + "\n"
        )
        vcf.write_text(HEADER + contigs + self.extra_header + columns + "".join(r.line() for r in self.records))
        compressed = pysam.tabix_index(str(vcf), preset="vcf", force=True)
        write_windows(windows, self.windows)
        self.paths = {"vcf": Path(compressed), "fasta": fasta, "windows": windows}
        return self


def write_windows(path: Path, windows: list[tuple[str, int, int]]) -> None:
    rows = [f"{c}\t{s}\t{e}\twindow{n}\t0\t.\t{n % 5}\n" for n, (c, s, e) in enumerate(windows)]
    path.write_text("#chrom\tstart\tend\tname\tscore\tstrand\tfold\n" + "".join(rows))


def wrap(sequence: str, width: int = 60) -> str:
    return "".join(sequence[i : i + width] + "\n" for i in range(0, len(sequence), width))


def random_dna(rng: random.Random, length: int) -> str:
    return "".join(rng.choice("ACGT") for _ in range(length))


def trimmed(pos: int, ref: str, alt: str) -> tuple[int, str, str]:
    """0-based start and what is really replaced."""
    start = pos - 1
    while len(ref) > 1 and len(alt) > 1 and ref[-1].upper() == alt[-1].upper():
        ref, alt = ref[:-1], alt[:-1]
    while ref and alt and ref[0].upper() == alt[0].upper():
        start, ref, alt = start + 1, ref[1:], alt[1:]
    while ref and alt and ref[-1].upper() == alt[-1].upper():
        ref, alt = ref[:-1], alt[:-1]
    return start, ref, alt


def edits_of(records: list[Record], chrom: str, donor: int, copy: int, *, indels: bool) -> list[tuple[int, int, str]]:
    """(start, end, bases) that one haplotype carries, overlaps resolved."""
    found = []
    for order, record in enumerate(records):
        if record.chrom != chrom:
            continue
        call = record.genotypes[donor].split(":")[0].replace("/", "|").split("|")
        allele = call[copy] if len(call) == 2 else call[0]
        if allele in (".", "0"):
            continue
        alt = record.alt.split(",")[int(allele) - 1]
        if alt.startswith("<DEL"):
            info = dict(item.split("=") for item in record.info.split(";") if "=" in item)
            start, end, bases = record.pos, int(info["END"]), ""
        elif alt == "*" or not alt.isalpha():
            continue
        else:
            start, ref, bases = trimmed(record.pos, record.ref, alt)
            end = start + len(ref)
        if not indels and end - start != len(bases):
            continue
        found.append((start, start != end, order, end, bases))
    kept: list[tuple[int, int, str]] = []
    for start, _, _, end, bases in sorted(found):
        clash = False
        for other_start, other_end, _ in kept:
            if start == end and other_start == other_end:
                clash |= start == other_start
            elif start == end:
                clash |= other_start < start < other_end
            elif other_start == other_end:
                clash |= start < other_start < end
            else:
                clash |= start < other_end and other_start < end
        if not clash:
            kept.append((start, end, bases))
    return kept


def haplotype(sequence: str, edits: list[tuple[int, int, str]], start: int, end: int) -> str:
    """The window [start, end) of the personal sequence: the whole contig is spelt out base by base, then cut."""
    spelled = [[base.upper()] for base in sequence]
    before_first: list[str] = []
    for a, b, bases in edits:
        for i in range(a, b):
            spelled[i] = [] if i - a >= len(bases) else [bases[i - a].upper(), *spelled[i][1:]]
        surplus = list(bases[b - a :].upper())
        if b == 0:
            before_first += surplus
        else:
            # An insertion goes directly behind the reference base before it, whatever happened to that base.
            spelled[b - 1] = (spelled[b - 1] or [""]) + surplus
    centre = (start + end) // 2 if (end - start) % 2 == 0 else start + (end - start) // 2
    left = "".join(before_first) + "".join("".join(token) for token in spelled[:centre])
    right = "".join("".join(token) for token in spelled[centre:])
    n_left = centre - start
    n_right = end - centre
    text = ("N" * n_left + left)[-n_left:] if n_left else ""
    text += (right + "N" * n_right)[:n_right]
    return "".join(base if base in "ACGT" else "N" for base in text)


def expected(cohort: Cohort, window: int, donor: str, copy: int, *, indels: bool = True) -> str:
    """The right answer for one haplotype."""
    chrom, start, end = cohort.windows[window]
    edits = edits_of(cohort.records, chrom, cohort.donors.index(donor), copy, indels=indels)
    return haplotype(cohort.genome[chrom], edits, start, end)
