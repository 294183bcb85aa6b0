"""What the recipes of workloads promise."""

from __future__ import annotations

import numpy as np
import pytest

from traces.errors import TraceError
from traces.processes.regimes import fit
from traces.workloads import RegimeSwitching, TraceReplay


def test_a_fit_finds_the_regimes_that_made_the_counts():
    rng = np.random.default_rng(3)
    burst = np.tile(np.repeat([False, True], [30, 10]), 40)
    regimes = fit(rng.poisson(np.where(burst, 40.0, 4.0)), 2)
    np.testing.assert_allclose(regimes.rates, [4.0, 40.0], rtol=0.05)
    np.testing.assert_allclose(regimes.sojourn_bins, [30.0, 10.0], rtol=0.05)
    assert regimes.mean == pytest.approx(13.0, rel=0.05)


def test_unpredictable_2_is_fitted_and_keeps_the_mean_rate():
    recipe = RegimeSwitching()
    calm, burst = recipe.fitted().rates
    assert burst > 5 * calm
    means = [
        len(recipe.arrival_s(50.0, np.random.default_rng(seed))[0]) / recipe.span_s
        for seed in range(5)
    ]
    assert np.mean(means) == pytest.approx(50.0, rel=0.1)


def test_trace_replay_keeps_profile_and_rate():
    times, span_s = TraceReplay("azure-code", second_s=0.25).arrival_s(
        40.0, np.random.default_rng(0)
    )
    assert len(times) / span_s == pytest.approx(40.0, rel=0.02)
    per_minute, _ = np.histogram(times, np.arange(0, span_s, 15.0))
    # Minutes 17 and 44 of the trace are nearly silent, minute 32 is its busiest.
    assert per_minute[[16, 46]].max() < 0.2 * per_minute.mean()
    assert per_minute.max() > 3 * per_minute.mean()


@pytest.mark.parametrize(("counts", "number"), [([1, 2, 3, 9], 1), ([5, 5, 5, 6, 7], 2)])
def test_regimes_that_cannot_be_told_apart_are_refused(counts: list[int], number: int):
    with pytest.raises(TraceError, match=r"regimes: got 1|different counts: got \[5, 6, 7\]"):
        fit(np.array(counts), number)
