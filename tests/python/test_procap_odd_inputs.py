"""Every reader of signal, alignments and regions × every oddity: the right value, or one line that names the file."""

import gzip
import logging
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from allelegro.errors import DataError
from allelegro.intervals import Regions
from allelegro.io.bigwig import write_bigwig
from allelegro.io.signal import Counts, Signal, StrandedSignal
from allelegro.io.windows import read_windows, write_windows
from allelegro.procap.bam import ReadRules, open_runs
from allelegro.procap.counts import CountsStore, Library, count_windows
from allelegro.procap.coverage import coverage_of_reads, coverage_of_signal
from allelegro.procap.peaks import call_peaks
from allelegro.procap.regions import ContigFilter, blacklist_keys, read_tss
from helpers import raw_bam
from helpers.raw_bam import record

# ------------------------------------------------------------------------------------------------------------- signal

BASE = ["chr1\t10\t11\t5", "chr1\t20\t22\t3", "chr2\t7\t8\t10"]
TRUTH = {"chr1": {10: 5, 20: 3, 21: 3}, "chr2": {7: 10}}

SAME = {
    "track lines anywhere": "\n".join(["track type=bedGraph name=a", BASE[0], "track type=bedGraph", *BASE[1:]]),
    "browser lines": "\n".join(["browser position chr1:1-100", *BASE]),
    "comments anywhere": "\n".join(["# a", BASE[0], "#chr1\t5\t6\t7", *BASE[1:], "# b"]),
    "a header row": "\n".join(["chrom\tstart\tend\tvalue", *BASE]),
    "a commented header row": "\n".join(["#chrom\tstart\tend\tvalue", *BASE]),
    "NaN rows": "\n".join([BASE[0], "chr1\t12\t13\tNaN", "chr1\t13\t14\tnan", *BASE[1:], "chr2\t1\t2\tNA"]),
    "unsorted": "\n".join(reversed(BASE)),
    "negative": "\n".join("\t-".join(line.rsplit("\t", 1)) for line in BASE),
    "decimals": "\n".join(line + ".0" for line in BASE),
    "scientific notation": "\n".join(["chr1\t10\t11\t5e0", BASE[1], "chr2\t7\t8\t1.0e+01"]),
    "positions in scientific notation": "\n".join(["chr1\t1e1\t1.1e1\t5", *BASE[1:]]),
    "positions with decimals": "\n".join(["chr1\t10.0\t11.0\t5", *BASE[1:]]),
    "zeros": "\n".join(["chr1\t0\t10\t0", *BASE]),
    "blanks": "\n".join(line.replace("\t", "  ") for line in BASE),
    "CRLF": "\r\n".join(BASE) + "\r\n",
    "blank lines": "\n\n".join(BASE) + "\n\n",
    "no line end": "\n".join(BASE),
    "byte order mark": "\ufeff" + "\n".join(BASE),
}
BAD = {
    "a fraction": ("chr1\t10\t11\t0.5", r"chr1:11: the value 0.5 is not a whole number"),
    "infinity": ("chr1\t10\t11\tinf", r"is not a whole number"),
    "text": ("chr1\t10\t11\tmany", r"line 2: the value 'many' is not a number"),
    "a decimal comma": ("chr1\t10\t11\t1,5", r"line 2: the value '1,5' is not a number"),
    "both signs": ("chr1\t30\t31\t-2", r"positive and negative values"),
    "an overlap": ("chr1\t21\t23\t4", r"chr1:22: two intervals cover this base"),
    "a repeated row": (BASE[0], r"chr1:11: two intervals cover this base"),
    "an empty interval": ("chr1\t30\t30\t4", r"line 2: the interval is empty"),
    "a backward interval": ("chr1\t31\t30\t4", r"line 2: 31 to 30 is no interval"),
    "a negative start": ("chr1\t-1\t3\t4", r"line 2: -1 to 3 is no interval"),
    "a start that is no number": ("chr1\t1_0\t1001\t4", r"line 2: not a BED line"),
    "a start that is not whole": ("chr1\t30.5\t1001\t4", r"line 2: not a BED line"),
    "an underscore": ("chr1\t30\t31\t1_0", r"line 2: the value '1_0' is not a number"),
    "three columns": ("chr1\t30\t31", r"line 2: has 3 columns"),
    "five columns": ("chr1\t30\t31\t4\t5", r"line 2: has 5 columns"),
    "six columns": ("chr1\t30\t31\ta\t5\t+", r"line 2: has 6 columns"),
    "a position of 2 Gb": ("chr1\t2147483647\t2147483648\t1", r"line 2: 2147483647 to 2147483648 is no interval"),
    "a count beyond 32 bits": ("chr1\t30\t31\t4294967296", r"4294967296 reads at one base, more than can be counted"),
    "a count of 1e300": ("chr1\t30\t31\t1e300", r"reads at one base"),
    "a NUL": ("chr1\t30\t31\t\0", r"not a text file"),
}
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "a.bedGraph": lambda text: text,
    "a.bedGraph.gz": gzip.compress,
    "gzip.bedgraph": gzip.compress,
    "text.gz": lambda text: text,
    "text.bw": lambda text: text,
}  # fmt: skip


def found(path: Path) -> dict[str, dict[int, int]]:
    signal = Signal(path)
    return {contig: {int(p): int(n) for p, n in zip(*signal.counts(contig), strict=True)} for contig in signal.contigs}


@pytest.fixture
def minus(tmp_path: Path) -> Path:
    path = tmp_path / "minus.bedgraph"
    path.write_text("chr1\t40\t41\t2\nchr2\t3\t4\t2\n")
    return path


def all_signal_readers(plus: Path, minus: Path, folder: Path) -> list[dict[str, dict[int, int]]]:
    """The plus strand as each reader of signal files has it."""
    coverage_of_signal(
        [(plus, minus)], folder / "o", library="L", library_type="procap", flip=False, contigs=ContigFilter()
    )
    rows = [("chr1", 0, 50, "w1"), ("chr2", 0, 50, "w2")]
    windows = pd.DataFrame(rows, columns=["chrom", "start", "end", "name"]).assign(score=0, strand=".", fold=0)
    write_windows(windows, folder / "windows.bed")
    count_windows(folder / "windows.bed", [Library("L", "D", [(plus, minus)])], folder / "counts")
    profile = CountsStore.open(folder / "counts").profiles([0, 1])[:, 0, 0]
    counted = {f"chr{n + 1}": {int(p): int(row[p]) for p in np.flatnonzero(row)} for n, row in enumerate(profile)}
    call_peaks(plus, minus, fdr=0.1, min_reads=3)
    return [found(plus), {contig: at for contig, at in found(folder / "o.plus.bw").items() if at}, counted]


@pytest.mark.parametrize("kind", SAME)
def test_signal_as_it_comes_is_read_alike_by_all(tmp_path: Path, minus: Path, kind: str) -> None:
    for name, pack in PACKED.items():
        (tmp_path / name).write_bytes(pack(SAME[kind].encode()))
        assert found(tmp_path / name) == TRUTH
    assert all_signal_readers(tmp_path / "gzip.bedgraph", minus, tmp_path / "out") == [TRUTH] * 3


@pytest.mark.parametrize("kind", BAD)
def test_signal_that_is_wrong_is_one_line(tmp_path: Path, minus: Path, kind: str) -> None:
    row, message = BAD[kind]
    path = tmp_path / "a.bedgraph"
    path.write_text("\n".join([BASE[0], row, *BASE[1:]]) + "\n")
    readers: list[Callable[[], object]] = [
        lambda: found(path),
        lambda: all_signal_readers(path, minus, tmp_path / "out"),
        lambda: count_windows(tmp_path / "w.bed", [Library("L", "D", [(path, minus)])], tmp_path / "counts"),
        lambda: call_peaks(path, minus, fdr=0.1, min_reads=3),
    ]
    (tmp_path / "w.bed").write_text("chr1\t0\t50\n")
    for read in readers:
        with pytest.raises(DataError, match=message) as error:
            read()
        assert "a.bedgraph" in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out" / "o.plus.bw").exists() and not (tmp_path / "counts").exists()


def test_nan_in_a_bigwig_is_no_data_and_an_empty_strand_is_no_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    py_big_wig = pytest.importorskip("pyBigWig")
    file = py_big_wig.open(str(tmp_path / "nan.bw"), "w")
    file.addHeader([("chr1", 100)])
    file.addEntries(["chr1"] * 2, [7, 9], ends=[8, 10], values=[3.0, float("nan")])
    file.close()
    (tmp_path / "empty.bedgraph").write_text("track type=bedGraph\n")
    signal = StrandedSignal((tmp_path / "nan.bw", tmp_path / "empty.bedgraph"))
    assert [dict(zip(*counts, strict=True)) for counts in signal.counts("chr1")] == [{7: 3}, {}]
    (tmp_path / "nothing.bedgraph").touch()
    with pytest.raises(DataError, match=r"nothing.bedgraph: the file is empty"):
        Signal(tmp_path / "nothing.bedgraph")
    (tmp_path / "nan.bedgraph").write_text("chr1\t3\t4\tNaN\nchr1\t5\t6\t2\n")
    with caplog.at_level(logging.WARNING):
        assert found(tmp_path / "nan.bedgraph") == {"chr1": {5: 2}}
    assert "1 rows have the value NaN and are no data" in caplog.text


def test_counts_beyond_what_a_file_can_hold(tmp_path: Path, minus: Path) -> None:
    big = tmp_path / "big.bedgraph"
    big.write_text("".join(f"chr1\t{n}\t{n + 1}\t4294967295\n" for n in range(3)))
    (tmp_path / "w.bed").write_text("chr1\t0\t50\n")
    count_windows(tmp_path / "w.bed", [Library("L", "D", [(big, minus)])], tmp_path / "counts")
    store = CountsStore.open(tmp_path / "counts")
    assert store.counts()[0, 0].tolist() == [3 * 4294967295, 2]
    assert store.counts(48)[0, 0].tolist() == [2 * 4294967295, 2]
    with pytest.raises(
        DataError, match=r"chr1:1: 4,294,967,295 reads at one base; a bigWig holds whole numbers exactly up"
    ):
        coverage_of_signal(
            [(big, minus)], tmp_path / "o", library="L", library_type="procap", flip=False, contigs=ContigFilter()
        )
    other = tmp_path / "other.bedgraph"
    other.write_text("chr1\t0\t1\t2\n")
    runs = [(big, minus), (other, tmp_path / "none.bedgraph")]
    (tmp_path / "none.bedgraph").write_text("#\n")
    with pytest.raises(DataError, match=r"4,294,967,297 reads at one base, more than can be counted"):
        count_windows(tmp_path / "w.bed", [Library("L", "D", runs)], tmp_path / "more")


@pytest.mark.parametrize("seed", range(4))
def test_damaged_bigwigs_are_named(tmp_path: Path, seed: int) -> None:
    """Cut anywhere, or with some bytes exchanged: a value or one line; never another exception."""
    rng = random.Random(seed)
    sizes = {f"chr{n}": 9_000 for n in range(3)}
    counts = {name: Counts(np.arange(0, 9_000, 7), np.arange(1, 1_287)) for name in sizes}
    write_bigwig(tmp_path / "a.bw", sizes, counts)
    whole, refused = (tmp_path / "a.bw").read_bytes(), 0
    for number in range(150):
        data = bytearray(whole)
        if number % 3 == 0:
            data = data[: rng.randrange(1, len(data))]
        else:
            for _ in range(rng.choice([1, 1, 4])):
                data[rng.randrange(rng.choice([64, 600, len(data)]))] = rng.choice([0, 255, rng.randrange(256)])
        (tmp_path / "b.bw").write_bytes(data)
        try:
            found(tmp_path / "b.bw")
        except DataError as error:
            refused += 1
            assert "b.bw" in str(error) and "\n" not in str(error)
    assert refused > 50


# --------------------------------------------------------------------------------------------------------- alignments

CRAFTED: dict[str, tuple[bytes, str | dict[tuple[str, int], int]]] = {
    "plain": (record(), {("+", 10): 1}),
    "minus": (record(flag=16), {("-", 19): 1}),
    "no bases": (record(bases=0, cigar=[(10, "M")]), {("+", 10): 1}),
    "no bases, clipped": (record(bases=0, cigar=[(1, "S"), (9, "M")], flag=16), {("-", 18): 1}),
    "unmapped with a place": (record(flag=4) + record(position=11), {("+", 11): 1}),
    "unmapped at no position": (record(flag=4, position=-1) + record(), {("+", 10): 1}),
    "no place, not flagged": (record() + record(contig=-1, position=-1), {("+", 10): 1}),
    "read groups": (record(tags=b"RGZa\0") + record(tags=b"RGZb\0"), {("+", 10): 2}),
    "at the end": (record(position=990), {("+", 990): 1}),
    "beyond the end": (record(position=991), r"read read \(record 1\) reaches beyond the end of chr1 \(1,000 bp\)"),
    "gap beyond the end": (record(cigar=[(5, "M"), (2_000, "N"), (5, "M")]), "beyond the end of chr1"),
    "CIGAR too long": (record(cigar=[(11, "M")]), r"read read \(record 1\) has a CIGAR that does not fit its bases"),
    "CIGAR too short": (record(cigar=[(9, "M")]), "CIGAR that does not fit its bases"),
    "no CIGAR": (record(cigar=[], bases=0), r"read read \(record 1\) is mapped but its CIGAR covers no base"),
    "only insertion": (record(cigar=[(10, "I")]), "its CIGAR covers no base"),
    "huge operations": (record(cigar=[((1 << 28) - 1, "N")] * 2_000, bases=0), "beyond the end"),
    "negative position": (record(position=-1), "beyond the end"),
    "contig not in the header": (record(contig=2), "record 1 is damaged"),
    "contig -2": (record(contig=-2), "record 1 is damaged"),
    "no name": (record(name=b"")[:12] + b"\0" + record(name=b"")[13:], "record 1 is damaged"),
    "size 0": (b"\0\0\0\0" + record(), "record 1 is damaged"),
    "size 2 Gb": (b"\xff\xff\xff\x7f" + record(), "record 1 is damaged"),
    "size too small for its fields": (b"\x22\0\0\0" + record()[4:], "record 1 is damaged"),
    "cut within a record": (record() + record()[:-5], "ends within a record"),
    "unsorted": (record(position=20) + record(position=10), "not sorted by coordinate"),
    "no reads": (b"", "the input has no alignments"),
    "array tag that claims 4 billion": (record(tags=b"ZBBi\xff\xff\xff\xffRXZACGT\0"), {("+", 10): 1}),
}
HEADERS: dict[str, tuple[bytes, str]] = {
    "contig of 2 Gb": (raw_bam.header([("chr1", -(2**31))]), "the BAM header is damaged"),
    "contig of 3 Gb in the text": (
        raw_bam.header(text=b"@SQ\tSN:chr1\tLN:3000000000\n"),
        "a contig of 3,000,000,000 bp",
    ),
    "a contig twice": (raw_bam.header([("chr1", 9), ("chr1", 9)]), "contig chr1 occurs twice in the header"),
    "no contigs": (raw_bam.header([]), "leaves none of its 0 contigs"),
    "negative text": (b"BAM\1" + b"\xff" * 8, "the BAM header is damaged"),
    "many contigs": (b"BAM\1\0\0\0\0\xff\xff\xff\x00", "the BAM header is incomplete"),
    "cut": (raw_bam.header()[:20], "the BAM header is incomplete"),
    "a VCF": (b"##fileformat=VCFv4.2\n", "gzipped, but not a BAM file"),
}


def tracks_of(prefix: Path) -> dict[tuple[str, int], int]:
    signal = StrandedSignal((Path(f"{prefix}.plus.bw"), Path(f"{prefix}.minus.bw")))
    return {
        (strand, int(p)): int(n)
        for strand, counts in zip("+-", signal.counts("chr1"), strict=True)
        for p, n in zip(*counts, strict=True)
    }


def cover(runs: list[Path], prefix: Path, rules: ReadRules | None = None) -> dict[tuple[str, int], int]:
    coverage_of_reads(
        runs, prefix, library="L", library_type="procap", rules=rules or ReadRules(), contigs=ContigFilter()
    )
    return tracks_of(prefix)


def count_alleles(path: Path) -> None:
    sites = np.arange(0, 2_000, 2, dtype=np.uint64)
    for stream in open_runs([path], None, ContigFilter().mask):
        stream.count_alleles(sites, np.full((len(sites), 2), 1, np.uint8), 0)


@pytest.mark.parametrize("kind", CRAFTED)
def test_crafted_records_count_or_are_named(tmp_path: Path, kind: str) -> None:
    records, expected = CRAFTED[kind]
    bam = raw_bam.write(tmp_path / "a.bam", raw_bam.header() + records)
    if isinstance(expected, str):
        with pytest.raises(DataError, match=expected) as error:
            cover([bam], tmp_path / "o")
        assert "a.bam" in str(error.value) and not list(tmp_path.glob("o*"))
    else:
        assert cover([bam], tmp_path / "o") == expected
    for rules in (ReadRules(umi="RX"), ReadRules(move_cap_g=True, end=3, max_clip=0)):
        try:
            cover([bam], tmp_path / "p", rules)
        except DataError as refused:
            assert "a.bam" in str(refused)
    try:
        count_alleles(bam)
    except DataError as refused:
        assert "a.bam" in str(refused)


@pytest.mark.parametrize("kind", HEADERS)
def test_crafted_headers_are_named(tmp_path: Path, kind: str) -> None:
    payload, message = HEADERS[kind]
    with pytest.raises(DataError, match=message):
        cover([raw_bam.write(tmp_path / "a.bam", payload)], tmp_path / "o")


@pytest.mark.parametrize("seed", range(4))
def test_damaged_records_never_crash(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    tags = b"MDZ0A9\0RXZACGT\0ZBBs\x02\0\0\0\1\0\2\0"
    records = b"".join(record(position=n, flag=16 * (n % 2), cigar=[(1, "S"), (9, "M")], tags=tags) for n in range(40))
    for _ in range(100):
        data = bytearray(records)
        for _ in range(rng.choice([1, 2, 8])):
            data[rng.randrange(len(data))] = rng.choice([0, 255, rng.randrange(256)])
        bam = raw_bam.write(tmp_path / "a.bam", raw_bam.header() + bytes(data))
        for read in (
            lambda: cover([bam], tmp_path / "o", ReadRules(umi="RX", move_cap_g=True)),  # noqa: B023
            lambda: count_alleles(bam),  # noqa: B023
        ):
            try:
                read()
            except DataError as error:
                assert "a.bam" in str(error)


def test_runs_with_other_headers(tmp_path: Path) -> None:
    first = raw_bam.write(
        tmp_path / "a.bam", raw_bam.header({"chr1": 1_000, "chr2": 500, "chrM": 16_571, "MT": 16_569}) + record()
    )
    swapped = raw_bam.header({"MT": 16_571, "chr2": 500, "chr1": 1_000})
    second = raw_bam.write(tmp_path / "b.bam", swapped + record(contig=1, position=5) + record(contig=2, position=10))
    assert cover([first, second], tmp_path / "o") == {("+", 10): 2}
    assert found(tmp_path / "o.plus.bw") == {"chr1": {10: 2}, "chr2": {5: 1}}
    longer = raw_bam.write(tmp_path / "c.bam", raw_bam.header({"chr1": 1_001, "chr2": 500}) + record())
    with pytest.raises(
        DataError, match=r"c.bam: its contigs differ from those of .*a.bam \(chr1: 1,001 bp against 1,000 bp\)"
    ):
        cover([first, longer], tmp_path / "x")
    fewer = raw_bam.write(tmp_path / "d.bam", raw_bam.header({"chr1": 1_000}) + record())
    with pytest.raises(DataError, match=r"d.bam: its contigs differ .*\(chr2: absent against 500 bp\)"):
        cover([first, fewer], tmp_path / "x")


def test_the_same_data_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bam = raw_bam.write(tmp_path / "a.bam", raw_bam.header() + record())
    (tmp_path / "link.bam").symlink_to(bam)
    shutil.copy(bam, tmp_path / "copy.bam")
    (tmp_path / "sub").mkdir()
    for other in ("a.bam", "link.bam", "copy.bam", "sub/../a.bam"):
        with pytest.raises(DataError, match="give each run of a library once"):
            cover([bam, tmp_path / other], tmp_path / "o")
    for name in ("p", "q"):
        (tmp_path / f"{name}.bedgraph").write_text("chr1\t10\t11\t5\n")
    (tmp_path / "m.bedgraph").write_text("chr1\t10\t11\t4\n")
    (tmp_path / "n.bedgraph").write_text("chr1\t10\t11\t4\n")
    plus, other, minus, last = (tmp_path / f"{name}.bedgraph" for name in "pqmn")
    (tmp_path / "w.bed").write_text("chr1\t0\t50\n")
    for libraries in (
        [Library("L", "D", [(plus, minus), (other, last)])],
        [Library("L", "D", [(plus, minus)]), Library("M", "E", [(other, last)])],
        [Library("L", "D", [(plus, plus)])],
    ):
        with pytest.raises(DataError, match=r"library [LM]: .*(given for both strands|the same data as)"):
            count_windows(tmp_path / "w.bed", libraries, tmp_path / "counts")


# ------------------------------------------------------------------------------------------------------------ regions

ROWS = ["chr1\t10\t20\ta\t0\t+", "chr1\t15\t25\tb\t0\t-", "chr2\t5\t15\tc\t0\t+"]
REGIONS = {
    "plain": ROWS,
    "three columns": ["\t".join(row.split("\t")[:3]) for row in ROWS],
    "blanks": [row.replace("\t", "   ") for row in ROWS],
    "unsorted": ROWS[::-1],
    "header row": ["chrom\tstart\tend\tname\tscore\tstrand", *ROWS],
    "commented header row": ["#chrom\tstart\tend\tname\tscore\tstrand", *ROWS],
    "comments and track lines": ["browser hide all", "track name=x", ROWS[0], "# c", *ROWS[1:], "track name=y"],
    "blank lines": [ROWS[0], "", *ROWS[1:], ""],
    "other naming": [row.removeprefix("chr") for row in ROWS],
    "CRLF": [row + "\r" for row in ROWS],
}
WRONG_ROWS = {
    "backward": "chr1\t30\t20",
    "negative": "chr1\t-3\t20",
    "two columns": "chr1\t30",
    "a decimal": "chr1\t1.5\t20",
    "thousands": "chr1\t1,000\t2,000",
    "beyond 2 Gb": "chr1\t1\t3000000000",
}


def blacklist(path: Path) -> list[list[int]]:
    return [part.tolist() for part in blacklist_keys(path, raw_bam.CONTIGS)]


def start_sites(path: Path) -> Regions:
    return read_tss(path, 3, raw_bam.CONTIGS)


def windows(path: Path) -> pd.DataFrame:
    return read_windows(path, folds=False)


@pytest.mark.parametrize("kind", REGIONS)
@pytest.mark.parametrize("pack", [lambda text: text, gzip.compress], ids=["text", "gzip"])
def test_regions_as_they_come(tmp_path: Path, kind: str, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "a.bed"
    path.write_bytes(pack("\n".join(REGIONS[kind]).encode()))
    chr2 = 1 << 33
    assert blacklist(path) == [[20, chr2 + 10], [50, chr2 + 30]]
    strand = "+" if kind == "three columns" else "-"
    second = 15 if strand == "+" else 24
    sites = {contig: [part.tolist() for part in parts] for contig, parts in start_sites(path).by_contig.items()}
    separate = second > 20
    assert sites["chr2"] == [[2], [9]]
    assert sites["chr1"] == ([[7, 21], [14, 28]] if separate else [[7], [19]])
    table = windows(path)
    assert sorted(table["start"]) == [5, 10, 15] and (table["end"] - table["start"] == 10).all()
    assert table["name"].is_unique and (table["fold"] == -1).all()
    with pytest.raises(DataError, match=r"fold|header row"):
        read_windows(path)


@pytest.mark.parametrize("kind", WRONG_ROWS)
@pytest.mark.parametrize("read", [blacklist, start_sites, windows])
def test_wrong_regions_are_one_line(tmp_path: Path, kind: str, read: Callable[[Path], object]) -> None:
    path = tmp_path / "a.bed"
    path.write_text(f"{ROWS[0]}\n{WRONG_ROWS[kind]}\n")
    with pytest.raises(DataError, match=r"a.bed line 2: ") as error:
        read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", [blacklist, start_sites, windows])
@pytest.mark.parametrize(
    "data", [b"", b"# only\n", b"\x00\x01\x02\xff", b"\xff\xfeqq\xd8", gzip.compress(b"chr1\t1\t2\n", mtime=0)[:-9]]
)
def test_files_that_are_no_regions(tmp_path: Path, read: Callable[[Path], object], data: bytes) -> None:
    (tmp_path / "a.bed").write_bytes(data)
    with pytest.raises(DataError, match=r"a.bed"):
        read(tmp_path / "a.bed")
    with pytest.raises(DataError, match=r"none.bed: no such file"):
        read(tmp_path / "none.bed")


def test_windows_that_cannot_be_counted(tmp_path: Path, minus: Path) -> None:
    write_bigwig(tmp_path / "p.bw", {"chr1": 60}, {"chr1": Counts(np.array([5]), np.array([1]))})
    (tmp_path / "m.bedgraph").write_text("chr1\t7\t8\t1\n")
    library = Library("L", "D", [(tmp_path / "p.bw", tmp_path / "m.bedgraph")])
    for text, message in (
        ("chr1\t20\t70\n", r"library L: window chr1:21-70 reaches beyond the end of chr1 \(60 bp\)"),
        ("chr1\t0\t50\nchr1\t0\t50\n", "window chr1:1-50 occurs twice"),
        ("chr1\t0\t50\tw\nchr1\t1\t51\tw\n", "window w occurs twice"),
        ("chr1\t0\t50\nchr1\t0\t51\n", "row 2: window is 51 bp wide, the first is 50"),
        ("chr1\t5\t5\n", "row 1: window is 0 bp wide"),
        ("chrX\t0\t50\n", "no contig in common with the windows"),
    ):
        (tmp_path / "w.bed").write_text(text)
        with pytest.raises(DataError, match=message):
            count_windows(tmp_path / "w.bed", [library], tmp_path / "counts")
