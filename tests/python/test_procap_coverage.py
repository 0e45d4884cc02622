"""Coverage of alignments against a read-by-read count with pysam, against bedtools, and on broken input."""

import json
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest

from allelegro.errors import DataError
from allelegro.io.bigwig import PIECE
from allelegro.io.contigs import EXCLUDED_CONTIGS
from allelegro.io.signal import StrandedSignal
from allelegro.procap.bam import ReadRules
from allelegro.procap.coverage import (
    complexity,
    coverage_of_reads,
    coverage_of_signal,
    read_alignment_report,
)
from allelegro.procap.regions import ContigFilter

CONTIGS = {"chr1": PIECE * 2 + 50_000, "chr2": 30_000, "chrUn_1": 9_000, "chr3": 12_000, "chrM": 16_000}
Tracks = dict[str, Counter[tuple[str, int]]]


def header(contigs: dict[str, int] = CONTIGS) -> pysam.AlignmentHeader:
    """A BAM header."""
    return pysam.AlignmentHeader.from_dict(
        {"HD": {"VN": "1.6", "SO": "coordinate"}, "SQ": [{"SN": name, "LN": size} for name, size in contigs.items()]}
    )


def random_read(rng: random.Random, number: int, heads: pysam.AlignmentHeader) -> pysam.AlignedSegment:
    """A read of any kind: clips, gaps, insertions, pairs, low quality, unmapped, secondary, duplicates."""
    read = pysam.AlignedSegment(heads)
    contig = rng.choice([0, 0, 0, 1, 2, 3, 4])
    length = list(CONTIGS.values())[contig]
    sites = [100, 5_000, PIECE - 30, PIECE - 1, PIECE, 2 * PIECE - 3] if contig == 0 else [50, 4_000, 8_000]
    start = min(rng.choice(sites) + int(rng.expovariate(0.05)), length - 700)
    cigar = [(0, rng.randint(20, 40))]
    if rng.random() < 0.2:
        cigar += [(rng.choice([1, 2, 3]), rng.randint(1, 500)), (0, 10)]
    if rng.random() < 0.3:
        cigar.insert(0, (4, rng.choice([1, 1, 3, 9])))
    if rng.random() < 0.3:
        cigar.append((4, rng.choice([1, 1, 3, 9])))
    if rng.random() < 0.1:
        cigar.insert(0, (5, 4))
    bases = sum(size for kind, size in cigar if kind in (0, 1, 4))
    read.query_name = f"r{number}_{''.join(rng.choices('ACGTN', k=1))}"
    read.query_sequence = "".join(rng.choices("ACGT", k=bases))
    read.query_qualities = pysam.qualitystring_to_array("I" * bases)
    read.reference_id, read.reference_start, read.cigartuples = contig, start, cigar
    read.mapping_quality = rng.choice([0, 10, 29, 30, 31, 60])
    flags = [0x100, 0x200, 0x400, 0x800]
    read.flag = rng.choice([0, 16]) | sum(flag for flag in flags if rng.random() < 0.05)
    if rng.random() < 0.2:
        read.flag |= rng.choice([0x1 | 0x40, 0x1 | 0x80])
    if rng.random() < 0.05:
        read.flag |= 4
    read.set_tag("XA", "chr2,+5,10M,0;")
    read.set_tag("ZB", [1, 2, 3])
    read.set_tag("RX", rng.choice("ACGT") + "-" + "A")
    return read


def write_bam(path: Path, reads: list[pysam.AlignedSegment], heads: pysam.AlignmentHeader | None = None) -> Path:
    """Write reads sorted by coordinate, unplaced ones last."""
    reads = sorted(reads, key=lambda read: (read.reference_id % 2**32, read.reference_start))
    with pysam.AlignmentFile(str(path), "wb", header=heads or header()) as file:
        for read in reads:
            file.write(read)
    return path


def make_reads(seed: int, number: int = 3000) -> list[pysam.AlignedSegment]:
    """Random reads and some without a place."""
    rng, heads = random.Random(seed), header()
    reads = [random_read(rng, n, heads) for n in range(number)]
    for n in range(5):
        read = pysam.AlignedSegment(heads)
        read.query_name, read.flag, read.query_sequence = f"u{n}_AC", 4, "ACGT"
        reads.append(read)
    return reads


def slow_ends(reads: list[pysam.AlignedSegment], rules: ReadRules, unique: bool = False) -> Tracks:
    """The same count, one read at a time."""
    seen: set[tuple[Any, ...]] = set()
    tracks: Tracks = {"+": Counter(), "-": Counter()}
    for read in reads:
        wrong_mate = read.is_paired and not (read.is_read1 if rules.mate == 1 else read.is_read2)
        if read.flag & 0xB04 or read.mapping_quality < rules.min_mapq or wrong_mate:
            continue
        if read.reference_name in ("chrUn_1", "chrM") or (rules.drop_flagged_duplicates and read.is_duplicate):
            continue
        leftmost = read.is_reverse == (rules.end == 3)
        outer = [size for kind, size in (read.cigartuples or [])[:: 1 if leftmost else -1] if kind != 5]
        kinds = [kind for kind, _ in (read.cigartuples or [])[:: 1 if leftmost else -1] if kind != 5]
        if rules.max_clip is not None and kinds[0] == 4 and outer[0] > rules.max_clip:
            continue
        assert read.reference_end is not None
        position = read.reference_start if leftmost else read.reference_end - 1
        strand = "-" if read.is_reverse != rules.flip else "+"
        umi = str(read.query_name).split("_")[1] if rules.umi == "name" else read.get_tag("RX")
        molecule = (read.reference_name, position, strand, umi)
        if unique and molecule in seen:
            continue
        seen.add(molecule)
        tracks[strand][str(read.reference_name), position] += 1
    return tracks


def tracks_of(prefix: Path) -> Tracks:
    """What was written."""
    pair = StrandedSignal((Path(f"{prefix}.plus.bw"), Path(f"{prefix}.minus.bw")))
    tracks: Tracks = {"+": Counter(), "-": Counter()}
    for contig in pair.contigs:
        for strand, counts in zip("+-", pair.counts(contig), strict=True):
            tracks[strand].update({(contig, int(p)): int(n) for p, n in zip(*counts, strict=True)})
    return tracks


def run(reads: list[Path] | Path, prefix: Path, rules: ReadRules | None = None, **options: Any) -> dict[str, Any]:
    """Coverage with defaults."""
    options.setdefault("contigs", ContigFilter())
    paths = reads if isinstance(reads, list) else [reads]
    return coverage_of_reads(paths, prefix, library="L", library_type="procap", rules=rules or ReadRules(), **options)


RULES = [
    ReadRules(),
    ReadRules(min_mapq=0, mate=2),
    ReadRules(end=3, flip=True, min_mapq=31),
    ReadRules(drop_flagged_duplicates=True, max_clip=1),
    ReadRules(end=3, max_clip=3),
]


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_coverage_equals_counting_read_by_read(tmp_path: Path, rules: ReadRules) -> None:
    reads = make_reads(1)
    qc = run(write_bam(tmp_path / "a.bam", reads), tmp_path / "out", rules)
    truth = slow_ends(reads, rules)
    assert tracks_of(tmp_path / "out") == truth
    assert qc["strands"] == {"plus": truth["+"].total(), "minus": truth["-"].total()}
    assert qc["positions"] == {"plus": len(truth["+"]), "minus": len(truth["-"])}
    assert qc["steps"][0]["reads"] == len(reads)
    assert qc["steps"][-1]["reads"] == truth["+"].total() + truth["-"].total()
    assert sum(qc["dropped"].values()) == len(reads) - qc["steps"][-1]["reads"]
    assert qc == json.loads((tmp_path / "out.qc.json").read_text())
    assert qc["contigs"] == {"kept": 3, "excluded": 2}


@pytest.mark.parametrize("umi", ["name", "RX"])
def test_molecules_are_position_strand_and_umi(tmp_path: Path, umi: str) -> None:
    reads = make_reads(2)
    qc = run(write_bam(tmp_path / "a.bam", reads), tmp_path / "out", ReadRules(umi=umi))
    truth = slow_ends(reads, ReadRules(umi=umi), unique=True)
    assert tracks_of(tmp_path / "out") == truth
    assert qc["complexity"]["distinct"] == truth["+"].total() + truth["-"].total()
    assert qc["dropped"]["duplicate UMI"] > 20


def test_runs_are_merged_and_molecules_collapsed_over_them(tmp_path: Path) -> None:
    first, second = make_reads(3, 1500), make_reads(4, 1500)
    paths = [write_bam(tmp_path / "a.bam", first), write_bam(tmp_path / "b.bam", second)]
    run(paths, tmp_path / "sum")
    assert tracks_of(tmp_path / "sum") == slow_ends(first + second, ReadRules())
    run(paths, tmp_path / "umi", ReadRules(umi="RX"))
    assert tracks_of(tmp_path / "umi") == slow_ends(first + second, ReadRules(umi="RX"), unique=True)


def test_compaction_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = make_reads(5)
    bam = write_bam(tmp_path / "a.bam", reads)
    monkeypatch.setattr("allelegro.procap.coverage._COMPACT_AT", 50)
    monkeypatch.setattr("allelegro.procap.coverage._Buffer.most", 50)
    monkeypatch.setattr("allelegro.io.bgzf._READ_AT_ONCE", 3000)
    for umi in ("none", "RX"):
        run(bam, tmp_path / umi, ReadRules(umi=umi))
        assert tracks_of(tmp_path / umi) == slow_ends(reads, ReadRules(umi=umi), unique=umi == "RX")


@pytest.mark.skipif(shutil.which("bedtools") is None, reason="bedtools is not installed")
def test_coverage_equals_bedtools(tmp_path: Path) -> None:
    bam = write_bam(tmp_path / "a.bam", [read for read in make_reads(6) if not read.is_paired])
    filtered = tmp_path / "filtered.bam"
    pysam.view("-b", "-q", "30", "-F", "0xB04", "-o", str(filtered), str(bam), catch_stdout=False)  # type: ignore[attr-defined]
    run(bam, tmp_path / "out", contigs=ContigFilter(exclude=()))
    written = tracks_of(tmp_path / "out")
    for strand in "+-":
        said = subprocess.run(
            ["bedtools", "genomecov", "-ibam", filtered, "-5", "-strand", strand, "-bg"], capture_output=True, text=True
        ).stdout
        truth: Counter[tuple[str, int]] = Counter()
        for line in said.splitlines():
            contig, start, end, value = line.split("\t")
            truth.update({(contig, position): int(value) for position in range(int(start), int(end))})
        assert truth.total() > 300
        assert written[strand] == truth


def cap_read(name: str, start: int, sequence: str, cigar: str, md: str | None, reverse: bool) -> pysam.AlignedSegment:
    """A read with an MD tag."""
    read = pysam.AlignedSegment(header())
    read.query_name, read.query_sequence, read.cigarstring = name, sequence, cigar
    read.reference_id, read.reference_start, read.mapping_quality = 1, start, 60
    read.flag = 16 if reverse else 0
    if md is not None:
        read.set_tag("MD", md)
    return read


def test_cap_g_is_counted_and_moved(tmp_path: Path) -> None:
    reads = [
        cap_read("a", 100, "GACGTACGTA", "10M", "0T9", False),  # G over T: the cap's G, count at 101
        cap_read("b", 100, "GACGTACGTA", "10M", "10", False),  # G in the genome: stays
        cap_read("c", 100, "AACGTACGTA", "10M", "0T9", False),  # a mismatch that is no G: stays
        cap_read("d", 100, "ACGTACGTAC", "10M", "9T0", True),  # minus: last base C is the read's G, count at 108
        cap_read("e", 100, "ACGTACGTAC", "10M", "10", True),  # 109
        cap_read("f", 100, "GACGTACGTA", "1S9M", "9", False),  # already clipped: 100
        cap_read("g", 100, "ACGTACGTAC", "9M1S", "9", True),  # clipped G on minus: 108
        cap_read("h", 100, "TTACGTACGT", "2S8M", "8", False),  # other clip: 100
    ]
    bam = write_bam(tmp_path / "a.bam", reads)
    kept = run(bam, tmp_path / "keep")
    assert kept["five_prime"] == {"soft_clipped_one_g": 2, "soft_clipped_other": 1, "mismatched_g_moved": 0}
    assert tracks_of(tmp_path / "keep") == {"+": {("chr2", 100): 5}, "-": {("chr2", 109): 2, ("chr2", 108): 1}}
    moved = run(bam, tmp_path / "move", ReadRules(move_cap_g=True))
    assert moved["five_prime"]["mismatched_g_moved"] == 2
    assert tracks_of(tmp_path / "move") == {
        "+": {("chr2", 100): 4, ("chr2", 101): 1},
        "-": {("chr2", 109): 1, ("chr2", 108): 2},
    }
    bam = write_bam(tmp_path / "b.bam", [cap_read("noMD", 5, "GA", "2M", None, False)])
    with pytest.raises(DataError, match="read noMD has no MD tag; add it with samtools calmd"):
        run(bam, tmp_path / "x", ReadRules(move_cap_g=True))


def test_blacklist_and_contig_patterns(tmp_path: Path) -> None:
    reads = make_reads(7)
    bam = write_bam(tmp_path / "a.bam", reads)
    (tmp_path / "black.bed").write_text(
        f"#x\nchr1\t90\t120\nchr1\t110\t130\nchr1\t{PIECE - 1}\t{PIECE + 5}\nchr9\t1\t2\n"
    )
    qc = run(bam, tmp_path / "out", blacklist=tmp_path / "black.bed")
    inside = set(range(90, 130)) | set(range(PIECE - 1, PIECE + 5))
    truth = {
        strand: Counter({at: n for at, n in track.items() if at[0] != "chr1" or at[1] not in inside})
        for strand, track in slow_ends(reads, ReadRules()).items()
    }
    assert tracks_of(tmp_path / "out") == truth
    assert qc["dropped"]["blacklist"] == qc["steps"][-2]["reads"] - qc["steps"][-1]["reads"] > 0
    run(bam, tmp_path / "two", contigs=ContigFilter(keep=["chr[23]"], exclude=["*3"]))
    assert {contig for track in tracks_of(tmp_path / "two").values() for contig, _ in track} == {"chr2"}
    assert list(StrandedSignal((tmp_path / "two.plus.bw", tmp_path / "two.minus.bw")).contigs) == ["chr2"]
    with pytest.raises(DataError, match=r"a.bam: the contig filter leaves none of its 5 contigs"):
        run(bam, tmp_path / "none", contigs=ContigFilter(keep=["22"]))
    (tmp_path / "ensembl.bed").write_text((tmp_path / "black.bed").read_text().replace("chr", ""))
    run(bam, tmp_path / "ensembl", blacklist=tmp_path / "ensembl.bed")
    assert tracks_of(tmp_path / "ensembl") == truth
    (tmp_path / "mouse.bed").write_text("scaffold\t5\t9\n")
    with pytest.raises(DataError, match=r"mouse.bed: no row is on a contig of the reads \(scaffold\)"):
        run(bam, tmp_path / "none", blacklist=tmp_path / "mouse.bed")


def test_default_contigs_leave_out_what_is_not_assembled_and_mitochondria() -> None:
    names = [
        "chr1",
        "1",
        "chrX",
        "chr6_GL000250v2_alt",
        "chrUn_KI270302v1",
        "GL000192.1",
        "hs37d5",
        "chrM",
        "MT",
        "HLA-A*01:01",
    ]
    kept = ContigFilter(exclude=EXCLUDED_CONTIGS).mask(dict.fromkeys(names, 1), Path("x"))
    assert [name for name, keep in zip(names, kept, strict=True) if keep] == ["chr1", "1", "chrX"]


def truncated(bam: Path) -> None:
    bam.write_bytes(bam.read_bytes()[:-200])


def without_end(bam: Path) -> None:
    bam.write_bytes(bam.read_bytes()[:-28])


def flipped(bam: Path) -> None:
    data = bytearray(bam.read_bytes())
    data[len(data) // 2] ^= 0xFF
    bam.write_bytes(bytes(data))


def unsorted(bam: Path) -> None:
    write_bam(bam, make_reads(1, 50))
    with pysam.AlignmentFile(str(bam)) as file:
        reads = list(file)
    with pysam.AlignmentFile(str(bam), "wb", header=header()) as file:
        for read in [reads[3], reads[2]]:
            file.write(read)


def empty(bam: Path) -> None:
    bam.write_bytes(b"")


def text(bam: Path) -> None:
    bam.write_text("chr1\t5\t6\n")


def no_reads(bam: Path) -> None:
    write_bam(bam, [])


def only_poor_reads(bam: Path) -> None:
    reads = make_reads(1, 40)
    for read in reads:
        read.mapping_quality = 5
    write_bam(bam, reads)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncated, r"a.bam: ends without the BAM end-of-file block; the file is truncated"),
        (without_end, r"a.bam: ends without the BAM end-of-file block; the file is truncated"),
        (flipped, r"a.bam: (a damaged block|a block's checksum is wrong|not block-gzipped)"),
        (
            unsorted,
            r"a.bam: not sorted by coordinate \(read \S+, record 2\); run samtools sort, an index is not needed",
        ),
        (empty, r"a.bam: the file is empty"),
        (text, r"a.bam: not BAM, CRAM or SAM with a header"),
        (no_reads, r"a.bam: no read is left; the input has no alignments"),
        (only_poor_reads, r"a.bam: no read is left; the step 'MAPQ at least 30' dropped all \d+ that reached it"),
        (Path.unlink, r"a.bam: no such file"),
    ],
)
def test_broken_input_is_one_line_and_leaves_nothing(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    bam = write_bam(tmp_path / "a.bam", make_reads(1))
    damage(bam)
    with pytest.raises(DataError, match=message) as error:
        run(bam, tmp_path / "out" / "L")
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "out").glob("*") if (tmp_path / "out").exists() else [])


def test_missing_umis_and_different_contigs_are_named(tmp_path: Path) -> None:
    reads = make_reads(1, 20)
    reads[0].query_name = "plain"
    bam = write_bam(tmp_path / "a.bam", [reads[0]])
    reads[0].flag, reads[0].mapping_quality, reads[0].reference_id = 0, 60, 0
    bam = write_bam(tmp_path / "a.bam", [reads[0]])
    with pytest.raises(DataError, match=r"read plain has no UMI in its name after the last _ or :"):
        run(bam, tmp_path / "out", ReadRules(umi="name"))
    with pytest.raises(DataError, match=r"read plain has no UMI in tag UB"):
        run(bam, tmp_path / "out", ReadRules(umi="UB"))
    other = write_bam(tmp_path / "b.bam", [], header({"1": 5000}))
    with pytest.raises(DataError, match=r"b.bam: its contigs differ from those of .*a.bam"):
        run([bam, other], tmp_path / "out")


def test_cram_and_sam_give_the_same_and_cram_needs_its_reference(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    genome = {
        name: "".join(np.array(list("ACGT"))[rng.integers(0, 4, size)])
        for name, size in CONTIGS.items()
        if name != "chr1"
    }
    heads = header({name: len(bases) for name, bases in genome.items()})
    (tmp_path / "genome.fa").write_text("".join(f">{name}\n{bases}\n" for name, bases in genome.items()))
    pysam.faidx(str(tmp_path / "genome.fa"))  # type: ignore[attr-defined]
    reads = []
    for n in range(300):
        read = pysam.AlignedSegment(heads)
        start = int(rng.integers(0, 8000))
        read.query_name, read.query_sequence, read.cigarstring = f"r{n}", genome["chr2"][start : start + 30], "30M"
        read.reference_id, read.reference_start, read.mapping_quality, read.flag = 0, start, 60, 16 * (n % 2)
        reads.append(read)
    bam = write_bam(tmp_path / "a.bam", reads, heads)
    cram, sam = tmp_path / "a.cram", tmp_path / "a.sam"
    pysam.view("-C", "-T", str(tmp_path / "genome.fa"), "-o", str(cram), str(bam), catch_stdout=False)  # type: ignore[attr-defined]
    pysam.view("-h", "-o", str(sam), str(bam), catch_stdout=False)  # type: ignore[attr-defined]
    for path, name in ((bam, "b"), (cram, "c"), (sam, "s")):
        run(path, tmp_path / name, reference=tmp_path / "genome.fa")
    assert tracks_of(tmp_path / "b") == tracks_of(tmp_path / "c") == tracks_of(tmp_path / "s")
    assert tracks_of(tmp_path / "b")["+"].total() == 150
    with pytest.raises(DataError, match=r"a.cram: a CRAM needs its reference genome; pass --reference genome.fa"):
        run(cram, tmp_path / "x")
    cram.write_bytes(cram.read_bytes()[:-500])
    with pytest.raises(DataError, match=r"a.cram: "):
        run(cram, tmp_path / "x", reference=tmp_path / "genome.fa")
    assert not (tmp_path / "x.plus.bw").exists()


def test_signal_pairs_become_the_same_coverage(tmp_path: Path) -> None:
    reads = make_reads(8)
    run(write_bam(tmp_path / "a.bam", reads), tmp_path / "a", contigs=ContigFilter(exclude=()))
    with (tmp_path / "plus.bedGraph").open("w") as plus, (tmp_path / "minus.bedGraph").open("w") as minus:
        plus.write("track type=bedGraph\n")
        pair = StrandedSignal((tmp_path / "a.plus.bw", tmp_path / "a.minus.bw"))
        for contig in pair.contigs:
            for file, counts, sign in zip((plus, minus), pair.counts(contig), (1, -1), strict=True):
                file.writelines(f"{contig}\t{p}\t{p + 1}\t{sign * n}\n" for p, n in zip(*counts, strict=True))
    files = [
        (tmp_path / "plus.bedGraph", tmp_path / "minus.bedGraph"),
        (tmp_path / "a.plus.bw", tmp_path / "a.minus.bw"),
    ]
    qc = coverage_of_signal(
        files, tmp_path / "s", library="L", library_type="procap", flip=False, contigs=ContigFilter()
    )
    truth = {
        strand: Counter({at: 2 * n for at, n in track.items()})
        for strand, track in slow_ends(reads, ReadRules()).items()
    }
    assert tracks_of(tmp_path / "s") == truth
    assert qc["dropped"]["excluded contig"] > 0
    coverage_of_signal(files, tmp_path / "f", library="L", library_type="proseq", flip=True, contigs=ContigFilter())
    assert tracks_of(tmp_path / "f") == {"+": truth["-"], "-": truth["+"]}


def test_complexity_is_the_expected_number_among_random_reads() -> None:
    figures = complexity({1: 60, 2: 30, 10: 2}, "molecules")
    assert (figures["reads"], figures["distinct"]) == (140, 92)
    assert figures["duplication"] == pytest.approx(1 - 92 / 140)
    assert figures["estimated_total"] == pytest.approx(92 + 60 * 59 / (2 * 31))
    rng = np.random.default_rng(1)
    molecules = np.repeat(np.arange(92), [1] * 60 + [2] * 30 + [10] * 2)
    drawn = np.mean([len(np.unique(molecules[rng.random(140) < 0.5])) for _ in range(2000)])
    half = dict(figures["curve"])[70]
    assert half == pytest.approx(drawn, abs=1)
    assert figures["curve"][-1] == [140, 92]


def test_the_tool_reports_and_exits(tmp_path: Path) -> None:
    bam = write_bam(tmp_path / "a.bam", make_reads(1))
    tool = Path(__file__).parents[2] / "bin" / "procap_coverage.py"

    def call(*options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, tool, *map(str, options)], capture_output=True, text=True)

    assert call("--reads", bam, "--out-prefix", tmp_path / "o" / "L").returncode == 0
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["L.minus.bw", "L.plus.bw", "L.qc.json"]
    bad = call("--reads", bam, "--out-prefix", tmp_path / "L", "--min-mapq", 200)
    assert bad.returncode == 1
    assert bad.stderr.splitlines()[-1].startswith("error: ") and "MAPQ at least 200" in bad.stderr
    assert call("--out-prefix", tmp_path / "L").returncode == 2
    assert call("--reads", bam, "--out-prefix", tmp_path / "L", "--flip-strand").returncode == 2


def test_an_alignment_report_puts_its_steps_first_and_must_belong_to_the_reads(tmp_path: Path) -> None:
    reads = [read for read in make_reads(1) if not read.flag & 0x1]
    pairs = make_reads(2, 200)
    for number, read in enumerate(pairs):
        read.flag = 0x1 | (0x40 if number % 2 else 0x80)
    bam = write_bam(tmp_path / "a.bam", pairs)
    complexity_before = {
        "unit": "molecules",
        "reads": 140,
        "distinct": 100,
        "duplication": 2 / 7,
        "curve": [[140, 100]],
    }
    report = {
        "steps": [{"step": "in the FASTQ", "reads": 150}, {"step": "aligned", "reads": 140}, {"step": "distinct", "reads": 100}],
        "dropped": {"unmapped": 10, "duplicate UMI": 40}, "deduplicated": True, "complexity": complexity_before,
    }  # fmt: skip
    plain = run(bam, tmp_path / "plain")
    qc = run(bam, tmp_path / "after", alignment=report)
    assert [step["step"] for step in qc["steps"][:4]] == ["in the FASTQ", "aligned", "distinct", "on kept contigs"]
    assert qc["steps"][3:] == plain["steps"][3:] and qc["strands"] == plain["strands"]
    assert qc["steps"][0]["reads"] == qc["steps"][-1]["reads"] + sum(qc["dropped"].values())
    assert qc["complexity"] == complexity_before
    with pytest.raises(
        DataError, match=r"a.bam: \d+ reads are aligned, but its alignment report says 100; give the report"
    ):
        run(write_bam(bam, reads), tmp_path / "other", alignment=report)
    (tmp_path / "r.json").write_text("{}")
    with pytest.raises(DataError, match=r"r.json: not a report of align_reads.py"):
        read_alignment_report(tmp_path / "r.json")


def test_the_tool_names_a_bad_library_and_notes_it_when_asked(tmp_path: Path) -> None:
    bam = write_bam(tmp_path / "a.bam", make_reads(1))
    truncated(bam)
    tool = Path(__file__).parents[2] / "bin" / "procap_coverage.py"
    command = [sys.executable, tool, "--reads", bam, "--library", "LCL7", "--out-prefix", tmp_path / "o" / "LCL7"]
    stopped = subprocess.run(command, capture_output=True, text=True)
    assert stopped.returncode == 1
    assert stopped.stderr.splitlines()[-1].startswith("error: library LCL7: ") and "truncated" in stopped.stderr
    noted = subprocess.run([*command, "--skip-bad-libraries"], capture_output=True, text=True)
    assert noted.returncode == 0, noted.stderr
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["LCL7.excluded.tsv"]
    header_line, row = (tmp_path / "o" / "LCL7.excluded.tsv").read_text().splitlines()
    assert header_line == "library\treason" and row.startswith("LCL7\t") and "truncated" in row
