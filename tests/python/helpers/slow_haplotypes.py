"""A slow, plain implementation of the haplotype rules, written apart from the library, and small files for tests."""

import random
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pysam
import pysam.bcftools
from hypothesis import strategies as st

from allelegro.genotype.extract import Rules, extract_haplotypes
from allelegro.genotype.store import HaplotypeStore
from allelegro.io.dna import decode

PAD = 200  # bp around a window that the comparisons look at

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


def extract(
    cohort: Cohort, folder: Path, *, donors: list[str] | None = None, threads: int = 1, flank: int = 0, **rules
) -> HaplotypeStore:
    cohort.write(folder)
    paths = cohort.paths
    out = folder / "store"
    extract_haplotypes([paths["vcf"]], paths["fasta"], paths["windows"], out, donors, Rules(**rules), threads, flank)
    return HaplotypeStore(out)


def write_windows(path: Path, windows: list[tuple[str, int, int]]) -> None:
    rows = [f"{c}\t{s}\t{e}\twindow{n}\t0\t.\t{n % 5}\n" for n, (c, s, e) in enumerate(windows)]
    path.write_text("#chrom\tstart\tend\tname\tscore\tstrand\tfold\n" + "".join(rows))


def wrap(sequence: str, width: int = 60) -> str:
    return "".join(sequence[i : i + width] + "\n" for i in range(0, len(sequence), width))


def random_dna(rng: random.Random, length: int) -> str:
    return "".join(rng.choice("ACGT") for _ in range(length))


@st.composite
def cohorts(draw) -> Cohort:
    rng = random.Random(draw(st.integers(0, 2**32)))
    length = draw(st.integers(30, 150))
    alphabet = draw(st.sampled_from(["ACGT", "AC", "A"]))  # low complexity: shared bases, one change in several ways
    genome = {"chr1": "".join(rng.choice(alphabet) for _ in range(length)), "chr2": random_dna(rng, 80)}
    donors = [f"d{n}" for n in range(draw(st.integers(1, 4)))]
    records = []
    for chrom, sequence in genome.items():
        for pos in sorted(rng.choices(range(1, len(sequence) + 1), k=rng.randint(0, 25))):
            ref = sequence[pos - 1 : pos - 1 + rng.choice([1, 1, 1, 2, 3, 6, 15])]
            alts = []
            for _ in range(rng.choice([1, 1, 2, 3])):
                kind = rng.random()
                if kind < 0.07:
                    alts.append("*")
                elif kind < 0.12 and pos + 2 < len(sequence):
                    alts.append("<DEL>")
                elif kind < 0.4:
                    alts.append(ref[0])
                elif kind < 0.6:
                    alts.append(ref + random_dna(rng, rng.randint(1, 12)))
                else:
                    alts.append(random_dna(rng, rng.randint(1, 4)))
            alts = [alt if alt != ref else alt + "A" for alt in alts]
            if len(ref) == 1:
                alts = [alt if alt != ref[0] else ref + "C" for alt in alts]
            end = min(len(sequence), pos + rng.randint(1, 30))
            numbers = [str(n) for n in range(len(alts) + 1)]
            calls = [
                rng.choice(
                    [f"{rng.choice(numbers)}|{rng.choice(numbers)}", "0|0", "0|1", ".|.", "1", ".", "1/1", ".|1"]
                )
                for _ in donors
            ]
            calls = [call if call != "./1" else "0|1" for call in calls]
            records.append(
                Record(pos, ref, ",".join(alts), calls, info=f"END={end}" if "<DEL>" in alts else ".", chrom=chrom)
            )
    width = draw(st.integers(1, 30))
    windows = []
    for chrom, sequence in genome.items():
        windows += [(chrom, start, start + width) for start in rng.choices(range(len(sequence) - width + 1), k=4)]
    rng.shuffle(windows)
    return Cohort(genome, records, donors, windows)


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
    seen: dict[tuple[int, int, str], tuple[int, int]] = {}  # change → the first record and allele that makes it
    for order, record in enumerate(records):
        if record.chrom != chrom:
            continue
        for number in range(1, record.alt.count(",") + 2):
            if change := change_of(record, number):
                seen.setdefault(change, (order, number))
        call = record.genotypes[donor].split(":")[0].replace("/", "|").split("|")
        allele = call[copy] if len(call) == 2 else call[0]
        if allele in (".", "0"):
            continue
        change = change_of(record, int(allele))
        if change is None or seen[change] != (order, int(allele)):
            continue
        start, end, bases = change
        if not indels and end - start != len(bases):
            continue
        found.append((start, start != end, order, end, bases))
    kept: list[tuple[int, int, str]] = []
    for start, _, _, end, bases in sorted(found):
        clash = False
        for other_start, other_end, _ in kept[-3:]:  # kept ones are sorted and apart, so only the last can clash
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


def change_of(record: Record, number: int) -> tuple[int, int, str] | None:
    """(start, end, bases) of one alternative allele; None for what is no sequence and no deletion by symbol."""
    alt = record.alt.split(",")[number - 1]
    if alt.startswith("<DEL"):
        info = dict(item.split("=") for item in record.info.split(";") if "=" in item)
        return record.pos, int(info["END"]), ""
    if alt == "*" or not alt.isalpha():
        return None
    start, ref, bases = trimmed(record.pos, record.ref, alt)
    return start, start + len(ref), bases.upper()


def haplotype(sequence: str, edits: list[tuple[int, int, str]], start: int, end: int) -> str:
    """The window [start, end) of the personal sequence: the whole contig is spelt out base by base, then cut."""
    written = [[base.upper()] for base in sequence]
    before_first: list[str] = []
    for a, b, bases in edits:
        for i in range(a, b):
            written[i] = [] if i - a >= len(bases) else [bases[i - a].upper(), *written[i][1:]]
        surplus = list(bases[b - a :].upper())
        if b == 0:
            before_first += surplus
        else:
            # An insertion goes directly behind the reference base before it, whatever happened to that base.
            written[b - 1] = (written[b - 1] or [""]) + surplus
    centre = (start + end) // 2 if (end - start) % 2 == 0 else start + (end - start) // 2
    left = "".join(before_first) + "".join("".join(token) for token in written[:centre])
    right = "".join("".join(token) for token in written[centre:])
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


def read_records(vcf: Path) -> list[Record]:
    """Every record of a file."""
    found = []
    with pysam.VariantFile(str(vcf)) as file:
        for line in map(str, file):
            chrom, pos, _, ref, alt, _, _, info, form, *calls = line.rstrip("\n").split("\t")
            found.append(Record(int(pos), ref, alt, calls, info, form, chrom))
    return found


def count_slow_differences(store: HaplotypeStore, vcf: Path, fasta: Path) -> int:
    """Haplotypes of all donors and windows that differ from the slow implementation; equal edits are spelt once."""
    records, width = read_records(vcf), store.width
    different = 0
    with pysam.FastaFile(str(fasta)) as genome:

        @cache
        def written(chrom: str, start: int, edits: tuple[tuple[int, int, str], ...]) -> str:
            low = max(0, start - PAD)
            local = [(a - low, b - low, bases) for a, b, bases in edits]
            high = min(genome.get_reference_length(chrom), start + width + PAD)
            return haplotype(genome.fetch(chrom, low, high), local, start - low, start - low + width)

        for chrom, windows in store.windows.groupby("chrom"):
            own = [record for record in records if record.chrom == chrom]
            for donor in range(len(store.donors)):
                for copy in range(2):
                    edits = edits_of(own, chrom, donor, copy, indels=True)
                    first = np.array([a for a, _, _ in edits], int)
                    starts = windows["start"].to_numpy()
                    lows = np.searchsorted(first, starts - PAD).tolist()
                    highs = np.searchsorted(first, starts + width + PAD).tolist()
                    for window, start, low, high in zip(windows.index, starts.tolist(), lows, highs, strict=True):
                        near = tuple(edit for edit in edits[low:high] if edit[1] < start + width + PAD)
                        row = store.offsets[window] + store.index[window, donor, copy]
                        different += decode(store.sequences[row]) != written(chrom, start, near)
    return different


def count_consensus_differences(store: HaplotypeStore, vcf: Path, fasta: Path, folder: Path, donors: list[str]) -> int:
    """Haplotypes of the donors that differ from bcftools consensus on padded regions, cut to the windows."""
    with pysam.FastaFile(str(fasta)) as genome, (folder / "padded.fa").open("w") as padded:
        for chrom, start in zip(store.windows["chrom"], store.windows["start"], strict=True):
            low, high = start - PAD, start + store.width + PAD
            padded.write(f">{chrom}:{low + 1}-{high}\n{genome.fetch(chrom, low, high)}\n")
    different = 0
    for donor in donors:
        rows = store.rows(np.arange(len(store)), store.donor(donor))
        for copy in range(2):
            personal = consensus(vcf, donor, copy, folder)
            for (sequence, blocks), row in zip(personal.values(), rows[:, copy].tolist(), strict=True):
                different += cut(sequence, blocks, store.width) != decode(store.sequences[row])
    return different


def consensus(vcf: Path, donor: str, copy: int, folder: Path) -> dict[str, tuple[str, list[tuple[int, int, int]]]]:
    """Personal sequence and chain blocks (size, reference gap, personal gap) of each padded region."""
    out, chain = folder / "out.fa", folder / "out.chain"
    options = ["-s", donor, "-H", f"{copy + 1}pIu", "-f", str(folder / "padded.fa"), "-c", str(chain), "-o", str(out)]
    pysam.bcftools.consensus(*options, str(vcf), catch_stdout=False)
    blocks: dict[str, list[tuple[int, int, int]]] = {}
    name, sequences = "", {}
    for line in chain.read_text().splitlines():
        fields = line.split()
        if line.startswith("chain"):
            name = f"{fields[2]}:{int(fields[5]) + 1}-{fields[6]}"
            blocks[name] = []
        elif fields:
            sizes = [int(value) for value in fields]
            blocks[name].append((sizes[0], sizes[1] if len(sizes) > 1 else 0, sizes[2] if len(sizes) > 1 else 0))
    for entry in out.read_text().split(">")[1:]:
        name, *lines = entry.split("\n")
        sequences[name] = "".join(lines).upper()
    return {name: (sequence, blocks.get(name, [])) for name, sequence in sequences.items()}


def cut(sequence: str, blocks: list[tuple[int, int, int]], width: int) -> str:
    """The window around the reference base at its centre, found by way of the chain."""
    centre, reference, personal, at = PAD + width // 2, 0, 0, None
    for size, gap_reference, gap_personal in blocks or [(len(sequence), 0, 0)]:
        if centre < reference + size:
            at = personal + centre - reference
            break
        reference, personal = reference + size, personal + size
        if centre < reference + gap_reference:
            at = personal + gap_personal
            break
        reference, personal = reference + gap_reference, personal + gap_personal
    assert at is not None
    return sequence[at - width // 2 : at + width - width // 2]
