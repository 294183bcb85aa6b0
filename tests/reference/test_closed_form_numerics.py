"""The closed forms against each other, published figures and brute force."""

import numpy as np
import pytest
from scipy.stats import poisson

from .closed_forms import stationary_law, wait_bulk_s, wait_md1_s, wait_mdc_s, wait_mg1_s

UTILISATIONS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)


def test_md1_is_half_of_mm1():
    # M/M/1 at utilisation 0.5 waits one service time.
    assert wait_md1_s(0.5, 1.0) == pytest.approx(0.5)
    assert wait_md1_s(1.8, 0.5) == pytest.approx(0.5 * 0.9 / (2 * 0.1))


def test_mg1_weighs_by_the_square_of_the_service_time():
    assert wait_mg1_s(0.25, (1.0, 3.0), (0.5, 0.5)) == pytest.approx(0.25 * 5 / (2 * 0.5))


@pytest.mark.parametrize("utilisation", UTILISATIONS)
def test_mdc_with_one_server_is_md1(utilisation: float):
    assert wait_mdc_s(utilisation / 0.2, 0.2, 1) == pytest.approx(
        wait_md1_s(utilisation / 0.2, 0.2)
    )


@pytest.mark.parametrize("utilisation", UTILISATIONS)
@pytest.mark.parametrize("servers", [2, 4])
def test_mdc_series_agrees_with_the_chain_seen_every_service_time(servers: int, utilisation: float):
    # Whoever is in service now has left one service time later: N' = (N - c)+ + Poisson(rate D).
    states = np.arange(60 + int(20 * servers / (1 - utilisation)))
    matrix = np.zeros((len(states), len(states)))
    for number in states:
        stay = max(number - servers, 0)
        matrix[number, stay:] = poisson.pmf(states[: len(states) - stay], utilisation * servers)
    matrix[:, -1] += 1 - matrix.sum(axis=1)
    waiting = stationary_law(matrix) @ np.maximum(states - servers, 0)
    rate_per_s = utilisation * servers / 3.0
    assert wait_mdc_s(rate_per_s, 3.0, servers) == pytest.approx(waiting / rate_per_s, rel=1e-9)


@pytest.mark.parametrize("utilisation", UTILISATIONS)
def test_bulk_service_of_one_is_md1(utilisation: float):
    assert wait_bulk_s(utilisation / 2.0, (2.0,)) == pytest.approx(wait_md1_s(utilisation / 2, 2.0))


@pytest.mark.parametrize("rate_per_s", [0.5, 1.5, 1.8])
def test_bulk_service_agrees_with_brute_force(rate_per_s: float):
    latency_s, n = (1.0, 1.1, 1.3), 400_000
    arrivals = np.random.default_rng(1).exponential(1 / rate_per_s, n).cumsum().tolist()
    free, head, waited = 0.0, 0, 0.0
    while head < n:
        start = max(free, arrivals[head])
        together = [arrival for arrival in arrivals[head : head + 3] if arrival <= start]
        waited += len(together) * start - sum(together)
        free, head = start + latency_s[len(together) - 1], head + len(together)
    assert wait_bulk_s(rate_per_s, latency_s) == pytest.approx(waited / n, rel=0.03)


def test_an_overloaded_queue_has_no_mean_wait():
    for wait in (lambda: wait_md1_s(1.0, 1.0), lambda: wait_bulk_s(3.1, (1.0, 1.0, 1.0))):
        with pytest.raises(ValueError, match="utilisation"):
            wait()
