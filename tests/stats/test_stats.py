"""Every statistic against a case worked out by hand, the bootstrap against a known distribution."""

import numpy as np
import pytest

from benchmarks.evaluation import stats
from llmroute_env.specs import ConfigError


def rng(seed=0):
    return np.random.default_rng(seed)


def arrays(*rows):
    return [np.array(row, float) for row in rows]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([4.0, 100.0, 2.0, -50.0], 3.0),  # the middle two
        ([7.0], 7.0),
        ([1.0, 2.0, 6.0], (0.25 * 1 + 1.0 * 2 + 0.25 * 6) / 1.5),  # quarters of the outer ones
        ([0.0, 1.0, 3.0, 5.0, 90.0], (0.75 * 1 + 1.0 * 3 + 0.75 * 5) / 2.5),
        ([[8.0, 1.0], [2.0, 4.0], [3.0, 9.0], [7.0, 6.0]], 5.0),  # any shape: 3, 4, 6 and 7
    ],
)
def test_interquartile_mean_is_the_mean_of_the_middle_half(values, expected):
    assert stats.interquartile_mean(np.array(values)) == pytest.approx(expected)


def test_interquartile_mean_ignores_outliers():
    values = rng().normal(size=40)
    worse = np.where(values == values.max(), 1e9, values)
    assert stats.interquartile_mean(worse) == pytest.approx(stats.interquartile_mean(values))


def test_strata_keep_their_shares_when_resampled():
    # Within a scenario all runs agree: nothing can vary. Resampled across scenarios, it would.
    interval = stats.stratified_bootstrap(arrays([1, 1, 1], [9, 9, 9]), rng(), stats.mean)
    assert interval == pytest.approx((5.0, 5.0, 5.0))


def test_stratified_interval_of_two_runs_reaches_from_worst_to_best():
    interval = stats.stratified_bootstrap(arrays([0, 2]), rng(), stats.mean)
    assert interval == pytest.approx((1.0, 0.0, 2.0))  # each extreme has probability 1/4


def test_paired_difference_removes_what_the_pairs_share():
    shared = rng().normal(scale=1000.0, size=50)
    difference = stats.paired_difference(shared + 3.0, shared, rng(1))
    assert difference == pytest.approx((3.0, 3.0, 3.0))


def test_paired_difference_wants_pairs():
    with pytest.raises(ConfigError, match=r"theirs: got \(2,\); accepted: shape \(3,\)"):
        stats.paired_difference(np.zeros(3), np.zeros(2), rng())


def test_better_probability_counts_wins_and_half_of_ties():
    # 3 > {1, 2} and 1 = 1 is half a win, 1 < 2: 2.5 of 4 pairs.
    assert stats.better_probability(arrays([3, 1]), arrays([1, 2])) == 2.5 / 4


def test_better_probability_averages_over_scenarios_not_pairs():
    ours, theirs = arrays([5, 5, 5], [0]), arrays([1, 1, 1], [1])
    assert stats.better_probability(ours, theirs) == 0.5
    assert stats.better_probability(theirs, ours) == 0.5


def test_equal_scores_are_no_improvement():
    scores = arrays([1, 2, 3], [4, 5])
    assert stats.better_probability(scores, scores) == 0.5


def test_probability_of_improvement_interval_holds_the_estimate():
    interval = stats.probability_of_improvement(arrays([3, 1]), arrays([1, 2]), rng())
    assert interval == pytest.approx((0.625, 0.0, 1.0))
    sure = stats.probability_of_improvement(arrays([3, 4]), arrays([1, 2]), rng())
    assert sure == (1.0, 1.0, 1.0)


def test_profile_is_the_share_of_runs_above_each_threshold():
    scores, thresholds = arrays([0.2, 0.4, 0.6, 0.8], [0.5, 0.5]), np.array([0.1, 0.5, 0.6, 0.9])
    expected = [(1.0 + 1.0) / 2, (0.5 + 0.0) / 2, (0.25 + 0.0) / 2, 0.0]
    np.testing.assert_allclose(stats.performance_profile(scores, thresholds), expected)


@pytest.mark.parametrize("scores", [[], [np.array([])], [np.array([1.0, np.nan])]])
def test_scores_without_a_number_are_refused(scores):
    with pytest.raises(ConfigError, match="scores: got"):
        stats.stratified_bootstrap(scores, rng())


def test_one_seed_repeats_and_two_differ():
    values = rng().normal(size=20)
    assert stats.bootstrap_mean(values, rng(3)) == stats.bootstrap_mean(values, rng(3))
    assert stats.bootstrap_mean(values, rng(3)) != stats.bootstrap_mean(values, rng(4))


def test_bootstrap_mean_covers_the_true_mean():
    # 30 exponential values: a percentile bootstrap covers in about 92 of 100 samples.
    draw = rng(7)
    inside = 0
    for _ in range(200):
        _, low, high = stats.bootstrap_mean(draw.exponential(2.0, 30), draw)
        inside += low <= 2.0 <= high
    assert 170 <= inside <= 197


def test_seeds_and_episodes_are_resampled_as_wholes():
    # Only the episode matters: as many seeds as one likes are no more evidence than one.
    episodes = rng(1).normal(size=12)
    one = stats.crossed_bootstrap([episodes[None, :]], rng(2), stats.mean)
    many = stats.crossed_bootstrap([np.tile(episodes, (6, 1))], rng(2), stats.mean)
    assert many.mean == pytest.approx(one.mean)
    assert many.ci_high - many.ci_low == pytest.approx(one.ci_high - one.ci_low, rel=0.1)
    # Only the seed matters: the interval of one is a point, that of two reaches across.
    seeds = np.repeat([[1.0], [3.0]], 8, axis=1)
    assert stats.crossed_bootstrap([seeds[:1]], rng(), stats.mean) == pytest.approx((1, 1, 1))
    assert stats.crossed_bootstrap([seeds], rng(), stats.mean) == pytest.approx((2, 1, 3))


@pytest.mark.parametrize("scores", [[], [np.ones(3)], [np.ones((2, 0))], [np.full((1, 2), np.nan)]])
def test_crossed_scores_are_checked(scores):
    with pytest.raises(ConfigError, match=r"scores: got .*; accepted: at least one scenario"):
        stats.crossed_bootstrap(scores, rng())
