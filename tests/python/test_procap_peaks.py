"""The peak caller: its null model against slow independent computations, and what it finds in known data."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from allelegro.errors import DataError
from allelegro.intervals import union
from allelegro.io.bigwig import write_bigwig
from allelegro.io.signal import Counts
from allelegro.procap import background as null
from allelegro.procap.elements import pair_elements
from allelegro.procap.peaks import (
    PEAK_COLUMNS,
    GenomeAxis,
    call_peaks,
    flat,
    levels,
    summits,
    thinning,
    write_bed,
)

SHARED = Path(__file__).parents[3] / "shared" / "data" / "chr22_hg19"
LENGTH = 2_000_000


# ------------------------------------------------------------------------------------------------------- null model


@pytest.mark.parametrize(("phi", "mean"), [(0.3, 0.5), (2.0, 0.05), (5.0, 3.0)])
@pytest.mark.parametrize("observed", [1, 2, 7, 30])
def test_tail_is_the_palm_law_of_gamma_mixed_noise(phi: float, mean: float, observed: int) -> None:
    """Companions of a random site: the mixing rate is weighted by itself, so integrate rate x Poisson tail."""
    rate = stats.gamma(1 / phi, scale=phi)
    slow, _ = integrate.quad(
        lambda x: x * rate.pdf(x) * stats.poisson.sf(observed - 1, x * mean), 0, rate.isf(1e-14), limit=500, epsabs=0
    )
    fast = null.tail(np.array([observed]), np.array([mean]), np.array([phi]))[0]
    assert fast == pytest.approx(slow, rel=1e-4)


def test_tail_without_clumping_is_poisson_and_keeps_tiny_values() -> None:
    observed = np.array([1, 3, 40])
    fast = null.tail(observed, np.full(3, 0.2), np.zeros(3))
    assert fast == pytest.approx(stats.poisson.sf(observed - 1, 0.2), rel=1e-5)
    assert 0 < fast[2] < 1e-70


@pytest.mark.parametrize("phi", [0.5, 4.0])
def test_clumping_is_recovered_although_a_tenth_of_the_sites_are_signal(phi: float) -> None:
    rng = np.random.default_rng(1)
    mean = 1.0
    noise = rng.negative_binomial(1 / phi + 1, 1 / (1 + phi * mean), 20_000)
    signal = rng.poisson(25, 2_000)
    fitted = null.fit_excess(np.concatenate([noise, signal]), mean, leading=False)
    assert phi / 2 < fitted < phi * 2


def test_unclumped_noise_has_no_excess() -> None:
    rng = np.random.default_rng(2)
    assert null.fit_excess(rng.poisson(0.5, 50_000), 0.5, leading=False) < 0.1


@pytest.mark.parametrize(("phi", "rate"), [(2.0, 0.004), (2.0, 0.02), (0.0, 0.004)])
def test_clumping_of_a_cox_process_is_recovered_with_unfound_peaks_in_it(phi: float, rate: float) -> None:
    """Noise whose rate differs by gamma factors between kilobases, and peaks that hold a third of all sites."""
    rng = np.random.default_rng(3)
    factor = rng.gamma(1 / phi, phi, 4_000) if phi else np.ones(4_000)
    noise = rng.integers(0, 1000, (n := rng.poisson(rate * 1000 * factor)).sum()) + 1000 * np.repeat(
        np.arange(4_000), n
    )
    peaks = rng.integers(0, 4_000_000, len(noise) // 40)
    signal = np.repeat(peaks, 20) + rng.integers(0, 40, 20 * len(peaks))
    position = np.unique(np.concatenate([noise, signal]))
    level = null.Level.of(position, np.ones_like(position), 1)
    clumping = null.Clumping.measure(np.full(len(position), rate), level.companions, np.diff(position, prepend=-10_000))
    for column in range(3):
        fitted = clumping.at(np.array([rate]), column)[0]
        assert phi / 2 - 0.01 <= fitted <= 2 * phi + 0.5


intervals = st.lists(st.tuples(st.integers(0, 180), st.integers(1, 30)), max_size=12)


@given(intervals, st.lists(st.integers(0, 220), min_size=1, max_size=20))
def test_mask_equals_a_boolean_array(spans: list[tuple[int, int]], queries: list[int]) -> None:
    start = np.array([a for a, _ in spans], np.int64)
    end = start + np.array([n for _, n in spans], np.int64)
    mask, slow, x = null.Mask(*union(start, end)), np.zeros(400, bool), np.array(queries)
    for a, b in zip(start, end, strict=True):
        slow[a:b] = True
    assert mask.length_before(x).tolist() == [int(slow[:q].sum()) for q in queries]
    assert mask.covers(x).tolist() == slow[x].tolist()
    assert np.all(mask.start[1:] > mask.end[:-1])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_rates_and_companions_equal_a_slow_count(seed: int) -> None:
    rng = np.random.default_rng(seed)
    position = np.sort(rng.choice(30_000, 120, replace=False)).astype(np.int64)
    count = rng.integers(1, 6, 120)
    reads = int(rng.integers(1, 4))
    start = np.sort(rng.choice(28_000, 4, replace=False)).astype(np.int64)
    mask = null.Mask(*union(start, start + rng.integers(1, 1500, 4)))
    level = null.Level.of(position, count, reads)
    kept = position[count >= reads]
    assert level.position.tolist() == kept.tolist()
    for scale, fast in zip(null.SCALES, level.companions, strict=True):
        assert fast.tolist() == [int(((kept > x) & (kept <= x + scale)).sum()) for x in kept]
    covered = np.zeros(60_000, bool)
    for a, b in zip(mask.start, mask.end, strict=True):
        covered[a + 20_000 : b + 20_000] = True
    free = ~mask.covers(position)
    exposure = null.exposures(position, mask)
    rate = level.rate(free[level.among], [bp[level.among] for bp in exposure], 25_000)
    background = position[free & (count >= reads)]
    for site, fast in zip(kept, rate, strict=True):
        slow = [(len(background) + 1) / 25_000]
        for window in null.RATE_WINDOWS:
            near = np.arange(site - window // 2, site + window // 2)
            near = near[(near < site - null.CORE) | (near >= site + null.CORE)]
            unmasked = int((~covered[near + 20_000]).sum())
            if unmasked >= null.MIN_EXPOSURE * window:
                slow.append(np.isin(background, near).sum() / unmasked)
        assert fast == pytest.approx(max(slow))


def test_leaks_of_a_tower_are_stutter_and_neighbours_of_a_gentle_peak_are_not() -> None:
    tower = null.stutters(np.array([10, 11, 12, 40]), np.array([100, 20, 3, 3]))
    assert tower.tolist() == [False, True, True, False]
    assert not null.stutters(np.array([10, 11, 12, 13]), np.array([4, 9, 6, 3])).any()
    assert null.stutters(np.array([5]), np.array([9])).tolist() == [False]


def test_levels_end_where_three_sites_remain() -> None:
    assert levels(np.array([1, 1])) == []
    assert levels(np.array([1, 1, 1, 500])) == [1]
    assert levels(np.array([9, 8, 8, 1])) == [1, 2, 4, 8]


def test_summit_is_the_densest_occupied_position() -> None:
    sites = Counts(np.array([10, 20, 21, 22, 23, 50]), np.array([5, 2, 3, 4, 2, 6]))
    assert summits(sites, np.array([10, 50]), np.array([24, 51])).tolist() == [22, 50]


def test_a_peak_that_is_a_dense_stretch_of_its_surroundings_or_a_stack_is_flat() -> None:
    rng = np.random.default_rng(1)

    def is_flat(counts: np.ndarray, around: np.ndarray, width: int) -> bool:
        """Of a peak at 5000 with these counts a base, among sites ``around``."""
        sites = np.zeros(10_000, np.int64)
        sites[around] = 1
        sites[5000 : 5000 + width] = counts
        position = np.flatnonzero(sites)
        start, end = np.array([5000]), np.array([5000 + width])
        return bool(flat(Counts(position, sites[position]), start, end, null.Mask(start - 50, end + 50))[0])

    stretch = (rng.random(100) < 0.5).astype(np.int64)
    cluster = np.bincount(np.clip(np.rint(50 + rng.laplace(0, 12, 100)), 0, 99).astype(np.int64), minlength=100)
    body, empty = np.arange(3000, 7000, 9), np.array([100])
    assert is_flat(stretch, body, 100)
    assert not is_flat(cluster, body, 100)
    assert not is_flat(stretch, empty, 100)  # nothing around that it could be a stretch of
    assert is_flat(np.rint(rng.lognormal(1, 1.2, 2000)).astype(np.int64), empty, 2000)
    assert not is_flat(200 - np.abs(np.arange(400) - 200), empty, 400)


def test_thinning_is_spearmans_rank_correlation() -> None:
    counts = np.random.default_rng(2).poisson(3, 60)
    position = np.flatnonzero(counts)
    middle = np.repeat(np.arange(60), counts)[(counts.sum() + 1) // 2 - 1]
    expected = -stats.spearmanr(counts, np.abs(np.arange(60) - middle)).statistic
    assert thinning(Counts(position + 7, counts[position]), 7, 67) == pytest.approx(expected)


def test_axis_returns_positions_to_their_contigs() -> None:
    axis = GenomeAxis({"a": 100, "b": 5, "c": 1000})
    counts = {name: Counts(np.array([0, 4]), np.array([1, 2])) for name in axis.contigs}
    placed = axis.place(counts)
    names, offsets = axis.contig_of(placed.positions)
    assert names.tolist() == ["a", "a", "b", "b", "c", "c"]
    assert (placed.positions - offsets).tolist() == [0, 4] * 3
    assert not axis.gaps().covers(placed.positions).any()
    assert axis.gaps().end[-1] == axis.length


# ------------------------------------------------------------------------------------------------------- known data


def _write(folder: Path, plus: np.ndarray, minus: np.ndarray, sign: int = -1) -> tuple[Path, Path]:
    """A bigWig pair from 5'-end positions (repeats are reads); the minus strand is written negative."""
    paths = (folder / "plus.bw", folder / "minus.bw")
    for path, reads, factor in zip(paths, (plus, minus), (1, sign), strict=True):
        position, count = np.unique(reads, return_counts=True)
        write_bigwig(path, {"chr1": LENGTH, "chrEmpty": 5000}, {"chr1": Counts(position, factor * count)})
    return paths


def _elements(rng: np.random.Generator, centres: np.ndarray, reads: int) -> tuple[np.ndarray, np.ndarray]:
    return tuple(  # type: ignore[return-value]
        np.rint(np.repeat(centres + shift, reads) + rng.laplace(0, 4, reads * len(centres))).astype(np.int64)
        for shift in (55, -55)
    )


def _noise(rng: np.random.Generator, reads: int) -> np.ndarray:
    return rng.integers(1000, LENGTH - 1000, reads)


def test_planted_elements_are_found_sharp_and_paired(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    centres = np.arange(20_000, 1_900_000, 20_000)
    plus, minus = _elements(rng, centres, 20)
    paths = _write(tmp_path, np.append(plus, _noise(rng, 4000)), np.append(minus, _noise(rng, 4000)))
    peaks = call_peaks(*paths, fdr=0.1, min_reads=3)
    elements = pair_elements(peaks, 300, 0.01)
    assert peaks.columns.tolist() == PEAK_COLUMNS
    distance = np.abs(elements["plus_summit"].to_numpy()[:, None] - (centres + 55)).min(1)
    assert len(elements) >= 0.95 * len(centres)
    assert np.median(distance) <= 1
    true = np.abs(peaks["summit"].to_numpy()[:, None] - centres).min(1) < 100
    assert true.mean() >= 0.95
    assert (peaks["qvalue"] <= 0.1).all()
    assert ((peaks["start"] <= peaks["summit"]) & (peaks["summit"] < peaks["end"])).all()


def test_noise_alone_gives_next_to_nothing(tmp_path: Path) -> None:
    found = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        found += len(call_peaks(*_write(tmp_path, _noise(rng, 8000), _noise(rng, 8000)), fdr=0.1, min_reads=3))
    assert found <= 2


def test_towers_stacks_and_gene_bodies_are_not_elements(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    centres = np.arange(50_000, 1_900_000, 40_000)
    plus, minus = _elements(rng, centres, 25)
    towers = np.repeat(_noise(rng, 150), rng.integers(10, 800, 150))
    stutter = towers + np.where(rng.random(len(towers)) < 0.1, rng.integers(1, 3, len(towers)), 0)
    stack = rng.integers(1_000_000, 1_002_000, 4000)
    body = 1_500_500 + np.repeat(np.arange(300) * 100, rng.negative_binomial(2, 0.25, 300))
    body += rng.integers(0, 100, len(body))
    paths = _write(tmp_path, np.concatenate([plus, _noise(rng, 4000), stutter, stack, body]), minus)
    peaks = call_peaks(*paths, fdr=0.1, min_reads=3)
    true = np.abs(peaks["summit"].to_numpy()[:, None] - centres).min(1) < 150
    assert true.sum() >= 0.9 * 2 * len(centres)
    assert (~true).mean() <= 0.12


def test_a_negative_minus_strand_and_a_bedgraph_give_the_same_peaks(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    plus, minus = _elements(rng, np.arange(20_000, 400_000, 20_000), 30)
    negative = call_peaks(*_write(tmp_path, plus, minus), fdr=0.1, min_reads=3)
    positive = call_peaks(*_write(tmp_path, plus, minus, sign=1), fdr=0.1, min_reads=3)
    pd.testing.assert_frame_equal(negative, positive)
    graphs = []
    for name, reads in (("plus.bedgraph", plus), ("minus.bedgraph", minus)):
        position, count = np.unique(reads, return_counts=True)
        graphs.append(tmp_path / name)
        rows = [f"chr1\t{x}\t{x + 1}\t{n}\n" for x, n in zip(position, count, strict=True)]
        graphs[-1].write_text("".join(rows) + f"chr1\t{LENGTH - 1}\t{LENGTH}\t1\n")
    from_text = call_peaks(*graphs, fdr=0.1, min_reads=3)
    assert from_text["summit"].tolist() == negative["summit"].tolist()


def test_no_reads_and_empty_contigs_give_empty_tables(tmp_path: Path) -> None:
    none = np.empty(0, np.int64)
    peaks = call_peaks(*_write(tmp_path, none, none), fdr=0.1, min_reads=3)
    assert len(peaks) == len(pair_elements(peaks, 300, 0.01)) == 0
    write_bed(peaks, tmp_path / "peaks.bed")
    assert (
        (tmp_path / "peaks.bed")
        .read_text()
        .startswith("#chrom\tstart\tend\tname\tscore\tstrand\tqvalue\treads\tsummit")
    )


def test_normalised_counts_are_refused(tmp_path: Path) -> None:
    plus, minus = tmp_path / "a.bedgraph", tmp_path / "b.bedgraph"
    plus.write_text("chr1\t10\t11\t0.25\n")
    minus.write_text("chr1\t10\t11\t2\n")
    with pytest.raises(DataError, match=r"a\.bedgraph chr1:11.*0\.25.*raw"):
        call_peaks(plus, minus, fdr=0.1, min_reads=3)


def test_a_contig_of_one_strand_has_peaks_and_no_common_one_is_an_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    positions, counts = np.unique(np.concatenate([rng.integers(0, 200_000, 300), rng.normal(9e4, 10, 400).astype(int)]), return_counts=True)  # fmt: skip
    site = Counts(np.array([5]), np.array([1]))
    write_bigwig(tmp_path / "p.bw", {"chr1": 100, "chr2": 200_000}, {"chr1": site, "chr2": Counts(positions, counts)})
    write_bigwig(tmp_path / "m.bw", {"chr1": 100}, {"chr1": site})
    write_bigwig(tmp_path / "other.bw", {"1": 100}, {"1": site})
    peaks = call_peaks(tmp_path / "p.bw", tmp_path / "m.bw", fdr=0.1, min_reads=3)
    assert peaks["chrom"].tolist() == ["chr2"] and abs(peaks["summit"][0] - 90_000) < 20
    with pytest.raises(
        DataError,
        match=r"other.bw: no contig in common with .*p.bw \(1 against chr1, chr2\); names differ by the prefix",
    ):
        call_peaks(tmp_path / "p.bw", tmp_path / "other.bw", fdr=0.1, min_reads=3)


# ---------------------------------------------------------------------------------------------------------- pairing


def _peaks(*rows: tuple[str, int, str, int]) -> pd.DataFrame:
    """Peaks from (chrom, summit, strand, reads), 11 bp wide."""
    return pd.DataFrame(
        [(c, s - 5, s + 6, f"p{i}", 50, strand, 1e-5, reads, s) for i, (c, s, strand, reads) in enumerate(rows)],
        columns=PEAK_COLUMNS,
    )


def test_only_divergent_close_and_balanced_peaks_pair() -> None:
    peaks = _peaks(
        ("chr1", 1000, "-", 50), ("chr1", 1100, "+", 50),  # divergent
        ("chr1", 3000, "+", 50), ("chr1", 3100, "-", 50),  # convergent
        ("chr1", 5000, "-", 50), ("chr1", 5400, "+", 50),  # too far
        ("chr1", 7000, "-", 1), ("chr1", 7100, "+", 999),  # unbalanced
        ("chr2", 1000, "-", 50), ("chr1", 9000, "+", 50),  # different contigs
    )  # fmt: skip
    elements = pair_elements(peaks, 300, 0.01)
    assert elements[["plus_summit", "minus_summit", "summit", "reads"]].to_numpy().tolist() == [[1100, 1000, 1050, 100]]
    assert elements.loc[0, ["start", "end", "strand"]].tolist() == [995, 1106, "."]


def test_each_peak_pairs_once_and_the_stronger_pair_wins() -> None:
    peaks = _peaks(("chr1", 1000, "-", 40), ("chr1", 1050, "+", 10), ("chr1", 1120, "+", 90), ("chr1", 900, "-", 12))
    elements = pair_elements(peaks, 300, 0.01)
    assert elements[["minus_summit", "plus_summit"]].to_numpy().tolist() == [[900, 1050], [1000, 1120]]


# -------------------------------------------------------------------------------------------------------- real data


@pytest.mark.skipif(not SHARED.exists(), reason="no shared data")
def test_real_grocap_counts_give_sharp_divergent_peaks() -> None:
    peaks = call_peaks(
        SHARED / "k562_grocap_5prime_plus.bw", SHARED / "k562_grocap_5prime_minus.bw", fdr=0.1, min_reads=3
    )
    elements = pair_elements(peaks, 300, 0.01)
    assert 60 <= len(peaks) <= 300
    assert len(elements) >= 15
    assert peaks["reads"].sum() > 0.7 * (19_392 + 19_093)
    assert (peaks["end"] - peaks["start"]).median() < 150
