"""Moments of the arrival processes against what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from traces.errors import TraceError
from traces.processes import arrivals, modulated
from traces.statistics import gap_cv, index_of_dispersion

CVS = (0.5, 1.0, 4.0, 8.0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def close_to(found: np.ndarray, expected: float, sigmas: float = 4.0) -> None:
    """Fail unless the mean of independent figures is within its own standard error."""
    error = found.std(ddof=1) / np.sqrt(len(found))
    assert abs(found.mean() - expected) < sigmas * error, (found.mean(), expected, error)


@pytest.mark.parametrize("cv", CVS)
@pytest.mark.parametrize("process", [arrivals.gamma, arrivals.weibull])
def test_renewals_have_the_rate_from_the_first_second_and_the_cv(process, cv):
    runs = [process(2.0, cv, 50.0, rng(seed)) for seed in range(600)]
    close_to(np.array([len(times) for times in runs], float), 100.0)
    close_to(np.array([(times < 1).sum() for times in runs], float), 2.0)
    long = process(5.0, cv, 200_000.0, rng())
    # A cv of n gaps has a relative standard error of a few cv / sqrt(n).
    assert gap_cv(long) == pytest.approx(cv, rel=0.01 + 8 * cv / np.sqrt(len(long)))


@pytest.mark.parametrize("cv", CVS)
@pytest.mark.parametrize("bin_s", [1.0, 60.0, 5400.0])
def test_counts_keep_their_number_at_any_cv_and_bin_length(cv, bin_s):
    counts = np.array([3, 0, 10, 1, 0, 0, 25, 3])
    runs = [arrivals.counts_to_arrivals(counts, bin_s, cv, rng(seed)) for seed in range(1500)]
    found = np.array([np.histogram(t, np.arange(9) * bin_s)[0] for t in runs], float)
    close_to(found.sum(axis=1), counts.sum())
    for i in np.flatnonzero(counts):
        close_to(found[:, i], counts[i], sigmas=4.5)
    assert not found[:, counts == 0].any()


def test_gaps_in_operational_time_have_the_declared_cv():
    for cv in CVS:
        times = arrivals.counts_to_arrivals(np.full(4000, 50), 60.0, cv, rng())
        assert gap_cv(times) == pytest.approx(cv, rel=0.05)


def test_poisson_exact_and_random_counts():
    assert len(arrivals.poisson_exact(17, 5.0, rng())) == 17
    counts = np.array([len(arrivals.poisson(3.0, 20.0, rng(seed))) for seed in range(2000)], float)
    close_to(counts, 60.0)
    assert counts.var() == pytest.approx(60.0, rel=0.12)


def test_mmpp_has_the_stationary_mean_and_is_overdispersed():
    runs = [modulated.mmpp((1.0, 9.0), (30.0, 10.0), 40.0, rng(seed)) for seed in range(1500)]
    close_to(np.array([len(times) for times in runs], float), 40.0 * 3.0)
    long = modulated.mmpp((1.0, 9.0), (30.0, 10.0), 50_000.0, rng())
    short, wide = index_of_dispersion(long, 50_000.0, (0.01, 60.0))
    assert short == pytest.approx(1.0, abs=0.1)
    assert wide > 10


def test_diurnal_swings_around_its_mean():
    times = modulated.diurnal(10.0, 0.8, 1000.0, 100_000.0, rng())
    assert len(times) == pytest.approx(1e6, rel=0.01)
    phase = times % 1000.0
    night, noon = ((phase < 50).sum(), ((phase > 475) & (phase < 525)).sum())
    # Means of 1 - 0.8 cos over those 50 s.
    assert noon / night == pytest.approx(1.7967 / 0.2131, rel=0.03)


def test_schedules_and_crowds_put_the_load_where_it_belongs():
    times = modulated.spike((5.0, 50.0), (200.0, 260.0), 1000.0, rng())
    inside = ((times >= 200) & (times < 260)).sum()
    assert inside == pytest.approx(3000, rel=0.1)
    assert len(times) - inside == pytest.approx(4700, rel=0.1)
    crowd = modulated.flash_crowd((5.0, 100.0), (300.0, 320.0), 1000.0, rng(), decay_s=50.0)
    assert ((crowd >= 320) & (crowd < 330)).sum() > 5 * ((crowd >= 420) & (crowd < 430)).sum()
    assert np.all(np.diff(crowd) >= 0)
    assert crowd[-1] < 1000.0


def test_one_seed_repeats_and_two_differ():
    first, again, other = (arrivals.gamma(5.0, 4.0, 100.0, rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: arrivals.poisson(-1.0, 5.0, rng()), "rate_per_s: got -1.0"),
        (lambda: arrivals.gamma(1.0, 0.0, 5.0, rng()), "cv: got 0.0"),
        (lambda: arrivals.weibull(1.0, 1e9, 5.0, rng()), "cv of a Weibull"),
        (lambda: arrivals.poisson(1.0, np.inf, rng()), "span_s: got inf"),
        (lambda: arrivals.counts_to_arrivals(np.array([-1.0]), 1.0, 1.0, rng()), "counts"),
        (lambda: modulated.mmpp((1.0,), (1.0,), 5.0, rng()), "sojourn_s"),
        (lambda: modulated.diurnal(1.0, 2.0, 5.0, 5.0, rng()), "swing: got 2.0"),
        (lambda: modulated.steps([1.0], [1.0], 5.0, rng()), "starts_s"),
        (lambda: modulated.spike((1.0, 2.0), (4.0, 9.0), 5.0, rng()), "window_s"),
    ],
)
def test_bad_settings_are_named(call, field):
    with pytest.raises(TraceError, match=field):
        call()
