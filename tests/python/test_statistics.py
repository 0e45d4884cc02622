"""Correlations and bootstraps against numpy, scipy and plain loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from allelegro.statistics import (
    benjamini_hochberg,
    fisher_exact,
    mean_ci,
    median_ci,
    paired_bootstrap,
    pearson,
    pearson_ci,
    ranks,
    slope_ci,
    spearman_ci,
    wilson_ci,
)


@pytest.fixture
def pairs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.normal(1e4, 3, 400)
    return x, 0.6 * (x - 1e4) + rng.normal(0, 2.4, 400)


def test_values_equal_scipy(pairs):
    x, y = pairs
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
    assert pearson_ci(x, y).value == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
    coarse = np.round(y)
    assert spearman_ci(x, coarse).value == pytest.approx(stats.spearmanr(x, coarse).statistic, abs=1e-12)
    assert median_ci(y[:7]).value == np.median(y[:7])
    assert median_ci(y[:8]).value == np.median(y[:8])
    assert mean_ci(y).value == pytest.approx(y.mean())


def test_interval_agrees_with_a_plain_bootstrap_and_with_fisher(pairs):
    x, y = pairs
    estimate = pearson_ci(x, y, n_boot=2000, seed=3)
    rng = np.random.default_rng(4)
    draws = [rng.integers(0, 400, 400) for _ in range(1000)]
    plain = np.quantile([stats.pearsonr(x[d], y[d]).statistic for d in draws], [0.025, 0.975])
    np.testing.assert_allclose([estimate.ci_low, estimate.ci_high], plain, atol=0.02)
    fisher = stats.pearsonr(x, y).confidence_interval(0.95)
    np.testing.assert_allclose([estimate.ci_low, estimate.ci_high], [fisher.low, fisher.high], atol=0.03)
    assert estimate.n == 400


def test_median_interval_agrees_with_a_plain_bootstrap(pairs):
    _, y = pairs
    estimate = median_ci(y, n_boot=2000)
    rng = np.random.default_rng(4)
    plain = np.quantile([np.median(y[rng.integers(0, 400, 400)]) for _ in range(2000)], [0.025, 0.975])
    np.testing.assert_allclose([estimate.ci_low, estimate.ci_high], plain, atol=0.05)


def test_clusters_widen_the_interval_of_repeated_rows(pairs):
    x, y = pairs
    x, y = np.tile(x[:100], 20), np.tile(y[:100], 20)
    clusters = np.tile([f"locus{i}" for i in range(100)], 20)
    clustered, naive, single = pearson_ci(x, y, clusters), pearson_ci(x, y), pearson_ci(x[:100], y[:100])
    assert clustered.value == pytest.approx(single.value)
    assert clustered.ci_high - clustered.ci_low > 3 * (naive.ci_high - naive.ci_low)
    assert clustered.ci_high - clustered.ci_low == pytest.approx(single.ci_high - single.ci_low, rel=0.1)


def test_crossed_factors_agree_with_a_plain_bootstrap_of_both():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(40, 15)) + rng.normal(size=15)
    y = rng.normal(size=(40, 15)) + rng.normal(size=15) + 0.5 * x
    estimate = pearson_ci(x, y, np.indices(x.shape), n_boot=2000)
    plain = []
    for _ in range(2000):
        drawn = np.ix_(rng.integers(0, 40, 40), rng.integers(0, 15, 15))
        plain.append(pearson(x[drawn], y[drawn]))
    low, high = np.quantile(plain, [0.025, 0.975])
    np.testing.assert_allclose([estimate.ci_low, estimate.ci_high], [low, high], atol=0.03)
    assert (estimate.value, estimate.n) == (pytest.approx(pearson(x, y)), 600)
    missing = x.copy()
    missing[3, 4] = np.nan
    assert pearson_ci(missing, y, np.indices(x.shape)).n == 599


def test_chance_that_follows_a_donor_through_all_loci_is_within_the_interval_of_both():
    rng = np.random.default_rng(3)
    outside = np.zeros(2)
    for repeat in range(100):
        x, y = (rng.normal(size=(60, 14)) + rng.normal(size=14) for _ in range(2))  # nothing in common
        locus_and_donor = np.indices(x.shape)
        for way, clusters in enumerate((locus_and_donor[0], locus_and_donor)):
            estimate = pearson_ci(x, y, clusters, n_boot=200, seed=repeat)
            outside[way] += not estimate.ci_low < 0 < estimate.ci_high
    assert outside[0] > 40  # loci alone
    assert outside[1] < 15


def test_few_units_of_one_factor_give_no_interval():
    x = np.random.default_rng(0).normal(size=(50, 9))
    estimate = pearson_ci(x, x + 1, np.indices(x.shape))
    assert estimate.value == pytest.approx(1) and np.isnan(estimate.ci_low)


def test_paired_difference_is_tighter_than_two_intervals_and_signed(pairs):
    x, y = pairs
    worse = x + np.random.default_rng(5).normal(0, 2, 400)
    difference = paired_bootstrap(x, worse, y)
    assert difference.value == pytest.approx(pearson(x, y) - pearson(worse, y))
    assert difference.ci_low > 0
    assert paired_bootstrap(x, x, y)[:3] == (0, 0, 0)
    assert paired_bootstrap(x, worse, y, statistic="spearman").ci_low > 0
    assert paired_bootstrap(y + 1, y, statistic="median")[:3] == pytest.approx((1, 1, 1))


def test_coverage_of_the_interval_is_near_nominal():
    rng = np.random.default_rng(6)
    covered = 0
    for seed in range(200):
        x = rng.normal(size=80)
        y = 0.5 * x + rng.normal(0, np.sqrt(0.75), 80)
        estimate = pearson_ci(x, y, n_boot=300, seed=seed)
        covered += estimate.ci_low <= 0.5 <= estimate.ci_high
    assert 0.88 <= covered / 200 <= 0.99


def test_nan_rows_constants_and_empty_inputs(pairs):
    x, y = pairs
    holed = np.where(np.arange(400) < 10, np.nan, x)
    assert pearson_ci(holed, y).n == 390
    assert pearson_ci(holed, y).value == pytest.approx(stats.pearsonr(x[10:], y[10:]).statistic)
    assert np.isnan(pearson_ci(np.ones(5), y[:5])).tolist() == [True, True, True, False]
    assert median_ci([]).n == 0
    assert pearson_ci(x[:9], y[:9]).value == pytest.approx(stats.pearsonr(x[:9], y[:9]).statistic)
    assert np.isnan(pearson_ci(x[:9], y[:9]).ci_low)  # too few for an interval
    assert np.isnan(pearson_ci(x, y, clusters=np.arange(400) % 9).ci_low)
    assert np.isnan(mean_ci([]).value)
    assert pearson_ci(x, y, seed=9) == pearson_ci(x, y, seed=9)
    with pytest.raises(ValueError, match="needs what was measured"):
        paired_bootstrap(x, y)
    with pytest.raises(ValueError, match="unknown statistic"):
        paired_bootstrap(x, y, y, statistic="kendall")


def test_fisher_equals_the_published_table():
    # ADASTRA K562 at FDR < 0.05 is quoted with an odds ratio of 1.60; any table with that ratio must give it back.
    table = [[800, 500], [500, 500]]
    result = fisher_exact(table)
    assert result.value == pytest.approx(1.6)
    assert result.ci_low < 1.6 < result.ci_high
    assert result.p == pytest.approx(stats.fisher_exact(table).pvalue)
    assert result.n == 2300


def test_weights_count_rows_as_often_and_a_slope_is_that_of_least_squares():
    rng = np.random.default_rng(4)
    x = rng.normal(size=60)
    y, times = 0.4 * x + rng.normal(size=60), rng.integers(1, 5, 60)
    repeated = pearson(np.repeat(x, times), np.repeat(y, times))
    assert pearson_ci(x, y, weights=times).value == pytest.approx(repeated)
    assert pearson_ci(x, y, weights=times).n == 60
    line = np.polyfit(x, y, 1, w=np.sqrt(times))
    found = slope_ci(x, y, weights=times)
    assert found.value == pytest.approx(line[0]) and found.ci_low < 0.4 < found.ci_high
    assert slope_ci(2 * x, y).value == pytest.approx(np.polyfit(2 * x, y, 1)[0])
    gap = paired_bootstrap(x, -x, y, statistic="slope", weights=times)
    assert gap.value == pytest.approx(2 * line[0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(0, 30))
def test_q_values_equal_scipys_with_the_unlisted_tests_at_one(p: list[float], more: int) -> None:
    slow = stats.false_discovery_control([*p, *[1.0] * more])[: len(p)]
    assert benjamini_hochberg(p, len(p) + more) == pytest.approx(slow)
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p))


@given(st.lists(st.integers(-3, 3), max_size=30))
def test_ranks_equal_scipys(values: list[int]) -> None:
    assert ranks(values).tolist() == stats.rankdata(values).tolist()


@pytest.mark.parametrize(("hits", "n"), [(0, 7), (7, 7), (3, 11), (1, 1000)])
def test_the_interval_of_a_share_equals_scipys(hits: int, n: int) -> None:
    assert wilson_ci(hits, n) == pytest.approx(stats.binomtest(hits, n).proportion_ci(method="wilson"), abs=1e-12)
