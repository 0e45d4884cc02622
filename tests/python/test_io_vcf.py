"""VCF as it comes: every reader of the project gets every oddity, for every kind of sample names.

Each pair works or is one line that names the file; what the haplotypes make of an oddity is written out.
"""

import gzip
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pysam
import pytest

from allelegro.effects.score_files import annotate_vcf
from allelegro.effects.variants import Dropped, parse_alleles, read_variants, with_alleles
from allelegro.errors import DataError
from allelegro.genotype.extract import extract_haplotypes
from allelegro.genotype.store import HaplotypeStore
from allelegro.inputs.references import variant_header
from allelegro.io.dna import decode
from allelegro.io.vcf import IndexedVcf, read_sites
from allelegro.procap.donors import MatchRules, match_donor
from helpers.slow_haplotypes import wrap, write_windows

#         0         1         2         3         4
#         0123456789012345678901234567890123456789
GENOME = "ACGTTGCAAGCTTACGGATCCATGACCTGATTTCAGGCTR" * 10  # base 39, 79, … is R: A or G, A to a VCF
WINDOW = (30, 50)
REFERENCE = "TTTCAGGCTAACGTTGCAAG"

SAMPLES = {
    "plain": ["d0", "d1", "d2"],
    "blank": ["NA 18505", "d 1", " d2"],
    "comma": ["a,b", "c,", ","],
    "number": ["001", "1e5", "12.10"],
    "missing value": ["NA", "nan", "None"],
    "dash": ["-d0", "--vcf", "-"],
    "quote": ["O'Brien", 'say "x"', "a`b`"],
    "not ASCII": ["Zoë", "名前", "d2"],
    "one": ["d0"],
    "many": [f"d{n}" for n in range(300)],
}


@dataclass(frozen=True)
class Oddity:
    """Records of a file (the calls are repeated for all samples) and what the first donor's haplotypes become.

    ``first`` and ``second`` are the two sequences of the first sample, or ``error`` is in the message.
    """

    records: list[str]
    calls: list[str] = field(default_factory=lambda: ["0|1", "1|0", "0|0"])
    first: str = REFERENCE
    second: str = REFERENCE
    dropped: str = ""
    error: str = ""
    header: str = ""
    format: str = "GT"


def record(pos: int | str, ref: str, alt: str, info: str = ".", chrom: str = "chr1") -> str:
    return "\t".join([chrom, str(pos), ".", ref, alt, ".", "PASS", info])


SNV = record(36, "G", "T")  # base 35 of TTTCA[G]GCTA: the sixth of the window
CHANGED = "TTTCATGCTAACGTTGCAAG"
ODDITIES = {
    "plain": Oddity([SNV], second=CHANGED),
    "phase marks of VCF 4.4": Oddity([SNV], ["|0|1", "|1|0", "|0|0"], second=CHANGED),
    "an unphased first mark": Oddity([SNV], ["/0|1", "|1|0"], error="chr1:36 G T: heterozygote of donor"),
    "haploid phase marks": Oddity([SNV], ["|1", "/1", "1"], first=CHANGED, second=CHANGED),
    "half calls": Oddity([SNV], [".|1", "1|.", ".|."], second=CHANGED),
    "mixed ploidy": Oddity([SNV], ["1", "0|1", "."], first=CHANGED, second=CHANGED),
    "triploid": Oddity([SNV], ["0|1|1"], error="more than two alleles"),
    "DEL on N": Oddity([record(33, "N", "<DEL>", "END=36")], second="TGATTTGCTAACGTTGCAAG"),
    "DEL on an IUPAC letter": Oddity([record(40, "R", "<DEL>", "END=41")], second=REFERENCE[:10] + "CGTTGCAAGC"),
    "DEL by SVLEN": Oddity([record(40, "N", "<DEL>", "SVTYPE=DEL;SVLEN=-1")], second=REFERENCE[:10] + "CGTTGCAAGC"),
    "each DEL its SVLEN": Oddity(
        [record(40, "A", "<DEL>,<DEL>", "END=45;SVLEN=-5,-1")], ["0|2"], second=REFERENCE[:10] + "CGTTGCAAGC"
    ),
    "DEL without END or SVLEN": Oddity([record(36, "G", "<DEL>")], dropped="symbolic"),
    "DEL that ends before it starts": Oddity([record(36, "G", "<DEL>", "END=20")], dropped="symbolic"),
    "DEL beyond the contig": Oddity([record(45, "T", "<DEL>", "END=90000000")], second=REFERENCE[:15] + "NNNNN"),
    "symbols": Oddity([record(36, "G", "<INS>"), record(37, "G", "<DUP:TANDEM>")], dropped="symbolic"),
    "breakends": Oddity(
        [record(36, "G", "G[chr1:30["), record(37, "G", ".G"), record(38, "C", "C.")], dropped="symbolic"
    ),
    "gVCF block": Oddity([record(1, "A", "<NON_REF>", "END=35"), record(36, "G", "T,<NON_REF>")], second=CHANGED),
    "gVCF block of samtools": Oddity([record(1, "A", "<*>", "END=35"), record(36, "G", "T,<*>")], second=CHANGED),
    "star": Oddity([record(36, "G", "*,T")], ["1|2", "2|0"], second=CHANGED, dropped="star"),
    "no alternative": Oddity([record(35, "A", "."), SNV], ["0|1"], second=CHANGED),
    "empty alternative": Oddity([record(36, "G", "")], dropped="symbolic"),
    "IUPAC letter of the genome": Oddity([record(40, "A", "C")], second=REFERENCE[:9] + "C" + REFERENCE[10:]),
    "IUPAC REF": Oddity([record(40, "R", "C")], second=REFERENCE[:9] + "C" + REFERENCE[10:]),
    "lower case": Oddity([record(36, "g", "t")], second=CHANGED),
    "IUPAC ALT": Oddity([record(36, "G", "R")], dropped="ambiguous"),
    "another REF": Oddity([record(36, "C", "T")], error="chr1:36 C T: REF is not the reference"),
    "repeated record": Oddity([SNV, SNV], second=CHANGED, dropped="duplicate"),
    "repeated in other words": Oddity([record(35, "AG", "AT"), SNV], second=CHANGED, dropped="duplicate"),
    "position beyond the contig": Oddity([SNV, record(5000, "A", "T")], second=CHANGED),
    "position 0": Oddity([record(0, "N", "<DEL>", "END=3"), SNV], second=CHANGED),
    "contig without a sequence": Oddity([SNV, record(5, "A", "T", chrom="chrUn")], second=CHANGED),
    "undeclared keys": Oddity([record(36, "G", "T", "XX=1;YY")], second=CHANGED, format="GT:ZZ"),
    "no GT": Oddity([SNV], ["3"], error="FORMAT does not begin with GT", format="DP"),
    "allele that the record lacks": Oddity([SNV], ["0|2"], error="names no allele"),
    "genotype that is none": Oddity([SNV], ["x"], error="names no allele"),
    "300 alternatives": Oddity(
        [record(36, "G", ",".join("G" + "ACGT"[n % 4] * (n // 4 + 1) for n in range(300)))],
        ["0|297"],
        second="AAAAAAGCTAACGTTGCAAG",
    ),
    "huge header": Oddity(
        [SNV], second=CHANGED, header="".join(f"##contig=<ID=HLA-{n}*01:01,length={n + 1}>\n" for n in range(20_000))
    ),
}


def read_haplotypes(vcf: Path, world: Path) -> HaplotypeStore:
    out = vcf.parent / "store"
    extract_haplotypes([vcf], world / "genome.fa", world / "windows.bed", out)
    return HaplotypeStore(out)


def read_donors(vcf: Path, world: Path) -> pd.DataFrame:
    return match_donor([world / "reads.bam"], [vcf], "L", "d0", vcf.parent / "donors.tsv", MatchRules())


def read_user_variants(vcf: Path, world: Path) -> pd.DataFrame:
    dropped = Dropped()
    kept = [
        pd.DataFrame(columns=["chrom", "pos", "ref", "alt", "id"]),
        *parse_alleles(read_variants(vcf), dropped, source=vcf),
    ]
    assert sum(map(len, kept)) + sum(dropped.counts.values()) == sum(map(len, read_variants(vcf)))
    return pd.concat(kept)


def annotate(vcf: Path, world: Path) -> Path:
    dropped = Dropped(keep_rows=True)
    chunks = []
    for chunk in read_variants(vcf):
        scored = chunk.index.isin(with_alleles(chunk, dropped).index)
        figures = {
            name: np.where(scored, 0.5, np.nan) for name in ("effect", "effect_sd", "alt_prediction", "ref_prediction")
        }
        chunks.append(
            chunk.assign(
                **figures, seen="no", status=dropped.take()["status"].reindex(chunk.index, fill_value="scored")
            )
        )
    annotate_vcf(vcf, {"m": chunks}, vcf.parent / "annotated.vcf.gz")
    return vcf.parent / "annotated.vcf.gz"


READERS: dict[str, Callable[[Path, Path], object]] = {
    "haplotypes": read_haplotypes,
    "donors": read_donors,
    "user variants": read_user_variants,
    "annotation": annotate,
    "input check": lambda vcf, world: variant_header(vcf),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A genome, one window and a few reads over it."""
    folder = tmp_path_factory.mktemp("vcf")
    (folder / "genome.fa").write_text(f">chr1\n{wrap(GENOME)}")
    write_windows(folder / "windows.bed", [("chr1", *WINDOW)])
    header = pysam.AlignmentHeader.from_dict({"HD": {"VN": "1.6"}, "SQ": [{"SN": "chr1", "LN": len(GENOME)}]})
    with pysam.AlignmentFile(str(folder / "reads.bam"), "wb", header=header) as file:
        for n in range(20):
            read = pysam.AlignedSegment(header)
            read.query_name, read.reference_id, read.reference_start = f"r{n}", 0, 20
            read.query_sequence, read.cigarstring = GENOME[20:60].replace("R", "A"), "40M"
            read.mapping_quality = 60
            file.write(read)
    return folder


def write_vcf(path: Path, oddity: Oddity, samples: list[str]) -> Path:
    fixed = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT"
    lines = [
        "##fileformat=VCFv4.4", '##FILTER=<ID=PASS,Description="passed">',
        '##INFO=<ID=END,Number=1,Type=Integer,Description="E">', '##INFO=<ID=SVLEN,Number=A,Type=Integer,Description="L">',
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="G">', f"##contig=<ID=chr1,length={len(GENOME)}>",
        *oddity.header.splitlines(), "\t".join([fixed, *samples]),
    ]  # fmt: skip
    calls = [oddity.calls[n % len(oddity.calls)] + ":1" * oddity.format.count(":") for n in range(len(samples))]
    for line in oddity.records:
        # A record of no called alternative (a reference block) has reference calls.
        own = ["0|0"] * len(calls) if line.split("\t")[4] in (".", "<NON_REF>", "<*>") else calls
        lines.append("\t".join([line, oddity.format, *own]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return Path(pysam.tabix_index(str(path), preset="vcf", force=True))


@pytest.mark.parametrize("reader", [reader for reader in READERS if reader != "haplotypes"])  # which have their own
@pytest.mark.parametrize("oddity", ODDITIES)
def test_every_reader_takes_it_or_says_why(oddity: str, reader: str, world: Path, tmp_path: Path) -> None:
    for number, samples in enumerate(SAMPLES.values()):
        vcf = write_vcf(tmp_path / str(number) / "v.vcf", ODDITIES[oddity], samples)
        try:
            READERS[reader](vcf, world)
        except DataError as error:
            assert "\n" not in str(error)
            assert str(vcf) in str(error)


@pytest.mark.parametrize("samples", SAMPLES)
@pytest.mark.parametrize("oddity", ODDITIES)
def test_haplotypes_of_an_oddity(oddity: str, samples: str, world: Path, tmp_path: Path) -> None:
    expected = ODDITIES[oddity]
    vcf = write_vcf(tmp_path / "v.vcf", expected, SAMPLES[samples])
    if expected.error:
        with pytest.raises(DataError, match=expected.error.replace("|", r"\|")):
            read_haplotypes(vcf, world)
        return
    store = read_haplotypes(vcf, world)
    assert store.donors == SAMPLES[samples]
    assert [decode(codes) for codes in store.haplotypes(0, 0)] == [expected.first, expected.second]
    dropped = {reason: n for reason, n in store.metadata["dropped"].items() if n}
    if expected.dropped:
        assert expected.dropped in dropped


def test_genotypes_of_a_repeated_record_that_differ_are_said(world: Path, tmp_path: Path, caplog) -> None:
    vcf = write_vcf(tmp_path / "v.vcf", Oddity([SNV]), ["d0", "d1"])
    text = gzip.decompress(vcf.read_bytes()).decode()
    vcf.with_suffix("").write_text(text + SNV + "\tGT\t1|0\t1|0\n")
    pysam.tabix_index(str(vcf.with_suffix("")), preset="vcf", force=True)
    store = read_haplotypes(vcf, world)
    assert store.index.tolist() == [[[0, 1], [1, 0]]]
    assert store.metadata["dropped"]["duplicate"] == 1
    assert (
        f"1 repeated records have other genotypes than the first of their kind, which was used: {vcf} chr1:36"
        in caplog.text
    )


def change(vcf: Path, edit: Callable[[str], str]) -> Path:
    """The file with another text, under its old index."""
    text = edit(gzip.decompress(vcf.read_bytes()).decode())
    with pysam.BGZFile(str(vcf), "w") as handle:  # type: ignore[call-arg]
        handle.write(text.encode())
    return vcf


def as_csi(vcf: Path) -> Path:
    Path(f"{vcf}.tbi").unlink()
    pysam.tabix_index(str(vcf), preset="vcf", csi=True, force=True)
    return vcf


def as_bcf(vcf: Path) -> Path:
    bcf = vcf.with_name("v.bcf")
    with pysam.VariantFile(str(vcf)) as source, pysam.VariantFile(str(bcf), "wb", header=source.header) as target:
        for line in source:
            target.write(line)
    pysam.tabix_index(str(bcf), preset="bcf", force=True)
    return bcf


def as_misnamed_bcf(vcf: Path) -> Path:
    bcf = as_bcf(vcf)
    Path(f"{vcf}.tbi").unlink()
    bcf.replace(vcf)
    Path(f"{bcf}.csi").replace(f"{vcf}.csi")
    return vcf


def with_blank(vcf: Path) -> Path:
    named = vcf.with_name("my variants (1).vcf.gz")
    Path(f"{vcf}.tbi").replace(f"{named}.tbi")
    return vcf.replace(named)


def unindexed(vcf: Path) -> Path:
    Path(f"{vcf}.tbi").unlink()
    return vcf


def with_damaged_index(vcf: Path) -> Path:
    Path(f"{vcf}.tbi").write_bytes(b"no index")
    return vcf


def rewritten(make: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def edit(vcf: Path) -> Path:
        vcf.write_bytes(make(vcf.read_bytes()))
        return vcf

    return edit


# What each file becomes, and the readers' answer: "" for works. Readers that need no index are not asked for one.
NEEDS_INDEX = {"haplotypes", "donors", "input check"}
FILES: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "csi": (as_csi, "", ""),
    "bcf": (as_bcf, "", ""),
    "bcf called vcf.gz": (as_misnamed_bcf, "", ""),
    "a name with blanks": (with_blank, "", ""),
    "no index": (unindexed, "no index", ""),
    "records added behind the index": (lambda vcf: change(vcf, lambda text: text + text.splitlines()[-1] + "\n"), "stale index", ""),
    "records taken away behind the index": (
        lambda vcf: change(vcf, lambda text: "\n".join(text.splitlines()[:-1]) + "\n"), "stale index", "no variants"
    ),
    "damaged index": (with_damaged_index, "not a readable index", ""),
    "plain text": (rewritten(gzip.decompress), "not bgzip-compressed", ""),
    "gzip": (rewritten(lambda data: gzip.compress(gzip.decompress(data))), "not bgzip-compressed", ""),
    "truncated": (rewritten(lambda data: data[:-28]), "truncated", "truncated"),
    "empty": (rewritten(lambda data: b""), "the file is empty", "the file is empty"),
    "no VCF": (rewritten(lambda data: b"hello\n"), "not bgzip-compressed", "column chrom"),
    "CR LF": (lambda vcf: change(vcf, lambda text: text.replace("\n", "\r\n")), "CR LF|stale index", ""),
}  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("file", FILES)
def test_every_reader_of_every_file(file: str, reader: str, world: Path, tmp_path: Path) -> None:
    make, with_index, without = FILES[file]
    vcf = make(write_vcf(tmp_path / "v.vcf", ODDITIES["plain"], SAMPLES["plain"]))
    expected = with_index if reader in NEEDS_INDEX else without
    if not expected:
        READERS[reader](vcf, world)
        return
    with pytest.raises(DataError, match=expected) as caught:
        READERS[reader](vcf, world)
    assert "\n" not in str(caught.value)
    assert vcf.name in str(caught.value)


def test_time_stamps_do_not_matter(world: Path, tmp_path: Path) -> None:
    """A copy may be newer than its index, which fits it all the same."""
    import os

    vcf = write_vcf(tmp_path / "v.vcf", ODDITIES["plain"], SAMPLES["plain"])
    os.utime(f"{vcf}.tbi", (0, 0))
    assert IndexedVcf(vcf).samples == SAMPLES["plain"]


def test_one_file_a_chromosome_where_decoys_are_in_both(world: Path, tmp_path: Path) -> None:
    """Only contigs with windows must be in one file; samples may come in another order."""
    genome = tmp_path / "genome.fa"
    genome.write_text(f">chr1\n{wrap(GENOME)}>chr2\n{wrap(GENOME)}")
    write_windows(tmp_path / "windows.bed", [("chr1", *WINDOW), ("chr2", *WINDOW)])
    decoy = record(5, "A", "T", chrom="hs37d5")
    one = write_vcf(tmp_path / "1" / "v.vcf", Oddity([SNV, decoy]), ["a", "b"])
    two = write_vcf(tmp_path / "2" / "v.vcf", Oddity([SNV.replace("chr1", "chr2"), decoy]), ["b", "a"])
    extract_haplotypes([one, two], genome, tmp_path / "windows.bed", tmp_path / "store")
    assert HaplotypeStore(tmp_path / "store").index.tolist() == [[[0, 1], [1, 0]], [[1, 0], [0, 1]]]


def test_annotation_keeps_every_record(world: Path, tmp_path: Path) -> None:
    vcf = write_vcf(tmp_path / "v.vcf", ODDITIES["gVCF block"], SAMPLES["plain"])
    annotated = annotate(vcf, world)
    assert [(site.pos, site.alts) for site in read_sites(annotated)] == [
        (site.pos, site.alts) for site in read_sites(vcf)
    ]
    with pysam.VariantFile(str(annotated)) as file:
        assert [line.info.get("m_effect") for line in file] == [None, (0.5, None)]
    shutil.rmtree(tmp_path)
