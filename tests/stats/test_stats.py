"""Every statistic against a case worked out by hand."""

import numpy as np
import pytest

from benchmarks.evaluation import intervals, stats
from llmroute_env.specs import ConfigError


def rng(seed=0):
    return np.random.default_rng(seed)


def episodes(*rows):
    """Scenarios of one training seed each."""
    return [np.array([row], float) for row in rows]


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
    interval = stats.crossed_bootstrap(episodes([1, 1, 1], [9, 9, 9]), rng(), stats.MEAN)
    assert interval == pytest.approx((5.0, 5.0, 5.0))


@pytest.mark.parametrize("statistic", [stats.MEAN, stats.IQM])
def test_influence_is_what_a_score_adds(statistic):
    # One score more, at any place, moves the statistic by its influence / N, to first order.
    values = rng(1).normal(size=4001)
    influence = statistic.influence(values)
    assert influence.mean() == pytest.approx(0.0, abs=1e-12)
    for place in (17, 18, 19, 20):
        more = statistic.value(np.append(values, values[place])) - statistic.value(values)
        assert more * len(values) == pytest.approx(influence[place], abs=0.01)


def test_paired_difference_removes_what_the_pairs_share():
    shared = rng().normal(scale=1000.0, size=50)
    difference = stats.paired_difference(shared + 3.0, shared, rng(1))
    assert difference == pytest.approx((3.0, 3.0, 3.0))


def test_paired_difference_wants_pairs():
    with pytest.raises(ConfigError, match=r"theirs: got \(2,\); accepted: shape \(3,\)"):
        stats.paired_difference(np.zeros(3), np.zeros(2), rng())


def test_better_probability_counts_wins_and_half_of_ties():
    # 3 > {1, 2} and 1 = 1 is half a win, 1 < 2: 2.5 of 4 pairs.
    assert stats.better_probability(episodes([3, 1]), episodes([1, 2])) == 2.5 / 4
    np.testing.assert_allclose(stats.beats(np.array([3.0, 1.0]), np.array([1.0, 2.0])), [1, 0.25])


def test_better_probability_averages_over_scenarios_not_pairs():
    ours, theirs = episodes([5, 5, 5], [0]), episodes([1, 1, 1], [1])
    assert stats.better_probability(ours, theirs) == 0.5
    assert stats.better_probability(theirs, ours) == 0.5


def test_equal_scores_are_no_improvement():
    scores = episodes([1, 2, 3], [4, 5])
    assert stats.better_probability(scores, scores) == 0.5


def test_probability_of_improvement_interval_holds_the_estimate():
    interval = stats.probability_of_improvement(episodes([3, 1]), episodes([1, 2]), rng())
    assert interval == pytest.approx((0.625, 0.0, 1.0))
    sure = stats.probability_of_improvement(episodes([3, 4]), episodes([1, 2]), rng())
    assert sure == (1.0, 1.0, 1.0)


def test_probability_of_improvement_knows_who_met_the_same_episodes():
    hard = rng(2).normal(scale=3.0, size=40)
    ours, theirs = [hard[None, :] + 0.5], [hard[None, :]]
    apart = stats.probability_of_improvement(ours, theirs, rng())
    same = [intervals.Origin("the same")]
    paired = stats.probability_of_improvement(ours, theirs, rng(), (same, same))
    assert paired.mean == apart.mean
    assert paired.ci_high - paired.ci_low < 0.3 * (apart.ci_high - apart.ci_low)


def test_profile_is_the_share_of_runs_above_each_threshold():
    scores, thresholds = episodes([0.2, 0.4, 0.6, 0.8], [0.5, 0.5]), np.array([0.1, 0.5, 0.6, 0.9])
    expected = [(1.0 + 1.0) / 2, (0.5 + 0.0) / 2, (0.25 + 0.0) / 2, 0.0]
    np.testing.assert_allclose(stats.performance_profile(scores, thresholds), expected)


def test_one_seed_repeats_and_two_differ():
    values = rng().normal(size=20)
    assert stats.bootstrap_mean(values, rng(3)) == stats.bootstrap_mean(values, rng(3))
    assert stats.bootstrap_mean(values, rng(3)) != stats.bootstrap_mean(values, rng(4))


def test_seeds_and_episodes_are_resampled_as_wholes():
    # Only the episode matters: as many seeds as one likes are no more evidence than one.
    scores = rng(1).normal(size=12)
    one = stats.crossed_bootstrap([scores[None, :]], rng(2), stats.MEAN)
    many = stats.crossed_bootstrap([np.tile(scores, (6, 1))], rng(2), stats.MEAN)
    assert many == pytest.approx(one)
    # Only the seed matters: as many episodes as one likes are no more evidence than few.
    luck = np.array([[1.0], [2.0], [4.0], [4.5], [6.0], [9.0]])
    few, long = (
        stats.crossed_bootstrap([np.repeat(luck, n, axis=1)], rng(), stats.MEAN) for n in (2, 90)
    )
    assert few.ci_high - few.ci_low == pytest.approx(long.ci_high - long.ci_low, rel=0.15)
    # Student's t with five degrees of freedom at 98.5 %.
    half = 3.00 * luck.std(ddof=1) / 6**0.5
    assert (few.ci_high - few.ci_low) / 2 == pytest.approx(half, rel=0.15)


@pytest.mark.parametrize("scores", [[], [np.ones(3)], [np.ones((2, 0))], [np.full((1, 2), np.nan)]])
def test_crossed_scores_are_checked(scores):
    with pytest.raises(ConfigError, match=r"scores: got .*; accepted: at least one scenario"):
        stats.crossed_bootstrap(scores, rng())
