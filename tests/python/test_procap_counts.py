"""The counts store against slow, independent counting."""

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from allelegro.errors import DataError
from allelegro.io.bigwig import write_bigwig
from allelegro.io.signal import Counts
from allelegro.io.windows import write_windows
from allelegro.procap.counts import CountsStore, Library, count_windows, read_signal_sheet, size_factors

SIZES = {"chr1": 20_000, "chr2": 9_000}
Tracks = dict[tuple[str, str], NDArray[np.int64]]


def make_library(folder: Path, name: str, seed: int, depth: float = 0.05) -> tuple[Library, Tracks]:
    """A library of random dense tracks, written as a bigWig pair; tracks by (contig, strand)."""
    rng = np.random.default_rng(seed)
    tracks = {
        (c, s): rng.poisson(depth, length) * rng.integers(1, 400, length) for c, length in SIZES.items() for s in "+-"
    }
    paths = []
    for strand, label in (("+", "plus"), ("-", "minus")):
        path = folder / f"{name}.{label}.bw"
        write_bigwig(path, SIZES, {c: Counts(np.flatnonzero(tracks[c, strand]), tracks[c, strand][tracks[c, strand] > 0])
                                   for c in SIZES})  # fmt: skip
        paths.append(path)
    return Library(name, f"D{seed}", [(paths[0], paths[1])]), tracks


def make_windows(path: Path, width: int = 300) -> pd.DataFrame:
    """Overlapping windows, contigs interleaved, one at each end of a contig."""
    rows = [
        ("chr2", 8_700),
        ("chr1", 0),
        ("chr1", 150),
        ("chr2", 0),
        ("chr1", 19_700),
        ("chr1", 5_000),
        ("chr2", 4_001),
    ]
    windows = pd.DataFrame(rows, columns=["chrom", "start"])
    windows["end"] = windows["start"] + width
    windows["name"] = [f"w{i}" for i in range(len(rows))]
    windows["score"], windows["strand"], windows["fold"] = 0, ".", 0
    write_windows(windows, path)
    return windows


@pytest.mark.parametrize("threads", [1, 2])
def test_counts_and_profiles_equal_slow_counting(tmp_path: Path, threads: int) -> None:
    windows = make_windows(tmp_path / "windows.bed")
    made = [make_library(tmp_path, f"L{i}", i) for i in range(3)]
    count_windows(tmp_path / "windows.bed", [library for library, _ in made], tmp_path / "counts", threads=threads)
    store = CountsStore.open(tmp_path / "counts")
    assert store.width == 300
    assert sorted(p.name for p in store.path.iterdir()) == [
        "counts.npy", "libraries.tsv", "metadata.json", "profile_offsets.npy", "profile_positions.npy",
        "profile_values.npy", "windows.bed",
    ]  # fmt: skip
    profiles, counts, central = store.profiles(np.arange(len(windows))), store.counts(), store.counts(101)
    for w, window in windows.iterrows():
        for number, (_, tracks) in enumerate(made):
            for strand, sign in enumerate("+-"):
                truth = tracks[window["chrom"], sign][window["start"] : window["end"]]
                np.testing.assert_array_equal(profiles[w, number, strand], truth)
                assert counts[w, number, strand] == truth.sum()
                assert central[w, number, strand] == truth[99:200].sum()
    assert store.libraries["donor"].tolist() == ["D0", "D1", "D2"]
    assert store.libraries["total_reads"].tolist() == [sum(int(t.sum()) for t in tracks.values()) for _, tracks in made]
    np.testing.assert_array_equal(store.profiles([5, 2]), profiles[[5, 2]])


def test_runs_of_one_library_are_summed(tmp_path: Path) -> None:
    make_windows(tmp_path / "windows.bed")
    made = [make_library(tmp_path, f"run{i}", i) for i in range(2)]
    (tmp_path / "signals.tsv").write_text(
        "library\tdonor\tplus\tminus\n" + "".join(f"L\tD\trun{i}.plus.bw\trun{i}.minus.bw\n" for i in range(2))
    )
    libraries = read_signal_sheet(tmp_path / "signals.tsv")
    count_windows(tmp_path / "windows.bed", libraries, tmp_path / "merged")
    count_windows(tmp_path / "windows.bed", [library for library, _ in made], tmp_path / "apart")
    merged, apart = CountsStore.open(tmp_path / "merged"), CountsStore.open(tmp_path / "apart")
    np.testing.assert_array_equal(merged.counts()[:, 0], apart.counts().sum(axis=1))
    np.testing.assert_array_equal(merged.profiles([1, 4])[:, 0], apart.profiles([1, 4]).sum(axis=1))


def test_a_bad_library_names_itself_and_can_be_excluded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_windows(tmp_path / "windows.bed")
    good, _ = make_library(tmp_path, "good", 1)
    bad, _ = make_library(tmp_path, "bad", 2)
    bad.pairs[0][1].write_bytes(bad.pairs[0][1].read_bytes()[:900])
    with pytest.raises(DataError, match=r"^library bad: .*bad.minus.bw: not a complete bigWig.*--skip-bad-libraries"):
        count_windows(tmp_path / "windows.bed", [good, bad], tmp_path / "counts")
    assert not (tmp_path / "counts").exists()
    assert not list(tmp_path.glob(".partial*"))
    with caplog.at_level(logging.WARNING):
        count_windows(tmp_path / "windows.bed", [good, bad], tmp_path / "counts", skip_bad_libraries=True)
    assert "bad excluded" in caplog.text
    store = CountsStore.open(tmp_path / "counts")
    assert store.libraries["library"].tolist() == ["good"]
    assert list(json.loads((store.path / "metadata.json").read_text())["excluded"]) == ["bad"]


def test_contig_names_that_do_not_meet_are_refused(tmp_path: Path) -> None:
    make_windows(tmp_path / "windows.bed")
    text = (tmp_path / "windows.bed").read_text().replace("chr1\t", "1\t").replace("chr2\t", "2\t")
    (tmp_path / "windows.bed").write_text(text)
    library, _ = make_library(tmp_path, "L", 1)
    with pytest.raises(
        DataError,
        match=r"library L: .*no contig in common with the windows \(chr1, chr2 against 2, 1\); names differ by the prefix chr",
    ):
        count_windows(tmp_path / "windows.bed", [library], tmp_path / "counts")


def test_a_changed_store_is_refused(tmp_path: Path) -> None:
    make_windows(tmp_path / "windows.bed")
    library, _ = make_library(tmp_path, "L", 1)
    count_windows(tmp_path / "windows.bed", [library], tmp_path / "counts")
    bed = tmp_path / "counts" / "windows.bed"
    bed.write_text(bed.read_text().replace("w3", "w33"))
    with pytest.raises(DataError, match="was changed after counting"):
        CountsStore.open(tmp_path / "counts")


def test_size_factors_recover_depth_despite_changed_windows() -> None:
    rng = np.random.default_rng(3)
    means, depth = rng.lognormal(5, 1, 2000), np.array([0.5, 1.0, 2.0, 1.0])
    counts = rng.poisson(means[:, None] * depth)
    counts[:200, 3] *= 20  # a tenth of the windows explodes in one library: totals mislead, medians do not
    factors, method = size_factors(counts, counts.sum(axis=0))
    assert method == "median_of_ratios"
    np.testing.assert_allclose(factors / factors[1], depth, rtol=0.03)
    assert np.exp(np.log(factors).mean()) == pytest.approx(1)


def test_size_factors_say_when_no_window_is_common() -> None:
    factors, method = size_factors(np.array([[5, 0], [0, 7]]), np.array([100, 400]))
    assert method == "library_total"
    np.testing.assert_allclose(factors, [0.5, 2])


def test_size_factors_do_not_rest_on_a_few_windows() -> None:
    counts = np.array([[10, 1000]] * 9 + [[0, 3]] * 50)  # nine busy windows whose genes differ between the libraries
    factors, method = size_factors(counts, np.array([100, 400]))
    assert method == "library_total"
    np.testing.assert_allclose(factors, [0.5, 2])
    assert size_factors(np.array([[10, 1000]] * 10), np.array([100, 400]))[1] == "median_of_ratios"
