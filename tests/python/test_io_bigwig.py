"""bigWig written and read here against two independent libraries, and refusals."""

import gzip
from pathlib import Path

import numpy as np
import pybigtools
import pyBigWig
import pytest

from allelegro.errors import DataError
from allelegro.io.bigwig import PIECE, BigWigWriter, write_bigwig
from allelegro.io.signal import Counts, Signal, StrandedSignal, add_counts

SHARED = Path(__file__).parents[3] / "shared" / "data" / "chr22_hg19"
SIZES = {"chr2": 2 * PIECE + 123, "chr10": 5_000, "chr1": 70_000}


def random_counts(seed: int, density: float = 0.002) -> dict[str, Counts]:
    """Random sparse counts, with the first and the last base of a contig."""
    rng = np.random.default_rng(seed)
    counts = {}
    for contig, length in SIZES.items():
        positions = np.unique(np.concatenate([[0, length - 1], rng.integers(0, length, int(length * density) + 3)]))
        counts[contig] = Counts(positions, rng.integers(1, 70_000, len(positions)))
    return counts


def same(left: Counts, right: Counts) -> bool:
    return np.array_equal(left.positions, right.positions) and np.array_equal(left.counts, right.counts)


def test_round_trip_in_pieces(tmp_path: Path) -> None:
    counts = random_counts(1)
    with BigWigWriter.create(tmp_path / "a.bw", SIZES) as writer:
        for contig in ("chr2", "chr1"):
            positions, values = counts[contig]
            for start in range(0, SIZES[contig], PIECE):
                piece = slice(*np.searchsorted(positions, [start, start + PIECE]))
                writer.add(contig, positions[piece], values[piece])
    signal = Signal(tmp_path / "a.bw")
    assert list(signal.contigs.items()) == list(SIZES.items())
    assert same(signal.counts("chr2"), counts["chr2"])
    assert same(signal.counts("chr1"), counts["chr1"])
    assert len(signal.counts("chr10").positions) == len(signal.counts("absent").positions) == 0
    write_bigwig(tmp_path / "b.bw", SIZES, {contig: counts[contig] for contig in ("chr2", "chr1")})
    assert same(Signal(tmp_path / "b.bw").counts("chr2"), counts["chr2"])


def test_an_independent_library_reads_the_same_and_its_files_are_read(tmp_path: Path) -> None:
    counts = random_counts(2)
    write_bigwig(tmp_path / "ours.bw", SIZES, counts)
    file = pyBigWig.open(str(tmp_path / "ours.bw"))
    assert file.chroms() == SIZES
    assert file.header()["sumData"] == sum(int(c.counts.sum()) for c in counts.values())
    for contig, length in SIZES.items():
        dense = np.zeros(length)
        dense[counts[contig].positions] = counts[contig].counts
        np.testing.assert_array_equal(np.nan_to_num(file.values(contig, 0, length, numpy=True)), dense)
        assert file.stats(contig, 0, length, "max", nBins=1) == [dense.max()]
        middle = file.intervals(contig, length // 3, length // 2)
        assert [start for start, _, _ in middle or ()] == np.flatnonzero(dense[length // 3 : length // 2]).__add__(
            length // 3
        ).tolist()
    for kind in ("step", "fixed", "intervals"):
        theirs = pyBigWig.open(str(tmp_path / f"{kind}.bw"), "w")
        theirs.addHeader([("chr1", 70_000)])
        if kind == "step":
            theirs.addEntries("chr1", [5, 90, 1000], values=[1.0, 2.0, 3.0], span=2)
            truth = {5: 1, 6: 1, 90: 2, 91: 2, 1000: 3, 1001: 3}
        elif kind == "fixed":
            theirs.addEntries("chr1", 10, values=[4.0, 0.0, 6.0], span=1, step=5)
            truth = {10: 4, 20: 6}
        else:
            theirs.addEntries(["chr1"] * 2, [7, 9], ends=[9, 10], values=[-3.0, -1.0])
            truth = {7: 3, 8: 3, 9: 1}
        theirs.close()
        positions, values = Signal(tmp_path / f"{kind}.bw").counts("chr1")
        assert dict(zip(positions.tolist(), values.tolist(), strict=True)) == truth


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_second_library_reads_the_same_zooms(tmp_path: Path) -> None:
    counts = random_counts(3)
    write_bigwig(tmp_path / "ours.bw", SIZES, counts)
    file = pybigtools.open(str(tmp_path / "ours.bw"))
    assert dict(file.chroms()) == SIZES
    summary = file.info()["summary"]
    assert summary["basesCovered"] == sum(len(c.positions) for c in counts.values())
    for contig, (positions, values) in counts.items():
        assert [(s, int(v)) for s, _, v in file.records(contig)] == list(
            zip(positions.tolist(), values.tolist(), strict=True)
        )
        for reduction in (256, 16384, PIECE):
            records = list(file.zoom_records(reduction, contig))
            bins, heads = np.unique(positions // reduction, return_index=True)
            assert [start for start, *_ in records] == (bins * reduction).tolist()
            sums = np.add.reduceat(values, heads)
            np.testing.assert_allclose([record[2]["sum"] for record in records], sums, rtol=1e-6)


def test_thousands_of_contigs_need_deeper_trees(tmp_path: Path) -> None:
    sizes = {f"scaffold_{n}": 1000 + n for n in range(70_000)}
    counts = {name: Counts(np.array([n % 1000]), np.array([n + 1])) for n, name in enumerate(sizes) if n % 70 == 0}
    write_bigwig(tmp_path / "a.bw", sizes, counts)
    signal = Signal(tmp_path / "a.bw")
    assert signal.contigs == sizes
    for n in (0, 70, 35_070, 69_930):
        assert same(signal.counts(f"scaffold_{n}"), counts[f"scaffold_{n}"])
    assert len(signal.counts("scaffold_8").positions) == 0


def test_an_empty_bigwig_is_legitimate(tmp_path: Path) -> None:
    write_bigwig(tmp_path / "a.bw", SIZES, {})
    signal = Signal(tmp_path / "a.bw")
    assert signal.contigs == SIZES
    assert len(signal.counts("chr1").positions) == 0


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="outside of chr10"):
        write_bigwig(tmp_path / "a.bw", SIZES, {"chr10": Counts(np.array([5_000]), np.array([1]))})
    assert not list(tmp_path.iterdir())


def test_bedgraph_in_any_order_and_gzipped(tmp_path: Path) -> None:
    rows = "track type=bedGraph\nchr2\t10\t12\t-3\nchr1\t5\t6\t-1\nchr2\t2\t3\t-7\nchr2\t20\t21\t0\n"
    (tmp_path / "a.bedGraph").write_text(rows)
    with gzip.open(tmp_path / "a.bedGraph.gz", "wt") as file:
        file.write(rows)
    for name in ("a.bedGraph", "a.bedGraph.gz"):
        signal = Signal(tmp_path / name)
        assert same(signal.counts("chr2"), Counts(np.array([2, 10, 11]), np.array([7, 3, 3])))
        assert same(signal.counts("chr1"), Counts(np.array([5]), np.array([1])))
    assert signal.contigs == {"chr2": 21, "chr1": 6}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("chr1\t5\n", r"line 1: not a BED line of contig, start and end \('chr1 5'\)"),
        ("chr1\t5\t6\tx\n", "line 1: the value 'x' is not a number"),
        ("chr1\t5\t6\t1\nchr1\t9\t9\t1\n", "line 2: the interval is empty"),
        ("chr1\t5\t6\t0.37\n", r"chr1:6: the value 0.37 is not a whole number; give raw 5'-end counts"),
        ("chr1\t5\t6\t3\nchr1\t7\t8\t-3\n", "positive and negative values in one file"),
        ("chr1\t5\t9\t3\nchr1\t7\t8\t3\n", "chr1:8: two intervals cover this base"),
    ],
)
def test_bad_bedgraph_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.bg").write_text(text)
    with pytest.raises(DataError, match=message) as error:
        Signal(tmp_path / "a.bg").counts("chr1")
    assert "\n" not in str(error.value)
    assert "a.bg" in str(error.value)


def test_truncated_files_are_named(tmp_path: Path) -> None:
    write_bigwig(tmp_path / "whole.bw", SIZES, random_counts(4))
    whole = (tmp_path / "whole.bw").read_bytes()
    for size in (10, 200, 1500, len(whole) // 2):
        (tmp_path / "cut.bw").write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"cut.bw: not a complete bigWig \(damaged or truncated\)"):
            Signal(tmp_path / "cut.bw").counts("chr2")
    with gzip.open(tmp_path / "a.bg.gz", "wb") as file:
        file.write(b"chr1\t5\t6\t1\n" * 5000)
    (tmp_path / "b.bg.gz").write_bytes((tmp_path / "a.bg.gz").read_bytes()[:-20])
    with pytest.raises(DataError, match=r"b.bg.gz: the gzip stream ends early"):
        Signal(tmp_path / "b.bg.gz")
    with pytest.raises(DataError, match=r"no.bw: no such file"):
        Signal(tmp_path / "no.bw")


def test_strand_pairs(tmp_path: Path) -> None:
    one = Counts(np.array([3]), np.array([2]))
    write_bigwig(tmp_path / "p.bw", {"chr1": 100, "chr2": 50}, {"chr1": one})
    write_bigwig(tmp_path / "m.bw", {"chr2": 50, "chr3": 70}, {"chr3": one})
    pair = StrandedSignal((tmp_path / "p.bw", tmp_path / "m.bw"))
    assert pair.contigs == {"chr1": 100, "chr2": 50, "chr3": 70}
    assert [int(c.counts.sum()) for c in pair.counts("chr1")] == [2, 0]
    assert [int(c.counts.sum()) for c in pair.counts("chr3")] == [0, 2]
    write_bigwig(tmp_path / "x.bw", {"1": 100}, {"1": one})
    with pytest.raises(
        DataError,
        match=r"x.bw: no contig in common with .*p.bw \(1 against chr1, chr2\); names differ by the prefix chr",
    ):
        StrandedSignal((tmp_path / "p.bw", tmp_path / "x.bw"))
    write_bigwig(tmp_path / "y.bw", {"chr1": 101}, {"chr1": one})
    with pytest.raises(DataError, match=r"y.bw: chr1 is 101 bp long, in .*p.bw 100 bp"):
        StrandedSignal((tmp_path / "p.bw", tmp_path / "y.bw"))


def test_runs_add_up() -> None:
    left, right = Counts(np.array([1, 5]), np.array([2, 3])), Counts(np.array([5, 9]), np.array([10, 1]))
    assert same(add_counts([left, right]), Counts(np.array([1, 5, 9]), np.array([2, 13, 1])))
    assert add_counts([left]) is left


@pytest.mark.skipif(not SHARED.exists(), reason="shared data are not beside the repository")
def test_public_files_with_a_negative_strand() -> None:
    pair = StrandedSignal((SHARED / "k562_grocap_5prime_plus.bw", SHARED / "k562_grocap_5prime_minus.bw"))
    assert [int(counts.counts.sum()) for counts in pair.counts("chr22")] == [19_392, 19_093]
