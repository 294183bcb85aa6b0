"""Mean waiting times that are known without simulation.

A waiting time runs from the arrival to the start of the service. Rates are per second, service
times in seconds; every function needs a stable queue and says so otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc
from scipy.stats import poisson


def wait_mg1_s(
    rate_per_s: float, service_s: Sequence[float], probability: Sequence[float]
) -> float:
    """M/G/1 where a service takes `service_s[i]` with `probability[i]`.

    Pollaczek 1930, Khinchine 1932: rate E[S^2] / (2 (1 - rate E[S])).
    """
    first = float(np.dot(probability, service_s))
    second = float(np.dot(probability, np.square(service_s)))
    _require_stable(rate_per_s * first)
    return rate_per_s * second / (2 * (1 - rate_per_s * first))


def wait_md1_s(rate_per_s: float, service_s: float) -> float:
    """M/D/1, the case of a single service time."""
    return wait_mg1_s(rate_per_s, (service_s,), (1.0,))


def wait_mdc_s(rate_per_s: float, service_s: float, servers: int) -> float:
    """M/D/c with one queue in order of arrival.

    Services do not overtake, so each server sees every c-th customer, an E_c/D/1 queue. Spitzer's
    identity turns its mean wait into a sum over k of E[(k D - sum of k c gaps)+] / k, which is
    Crommelin's series (Post Office Electrical Engineers' Journal 26, 1934; Franx, Operations
    Research Letters 29, 2001, has the distribution).
    """
    offered = rate_per_s * service_s
    _require_stable(offered / servers)
    total, k, term = 0.0, 0, 1.0
    while term > 1e-15 * max(total, 1e-300) or k < 10:
        k += 1
        # P(Poisson(m) >= n) is the regularised lower incomplete gamma function P(n, m).
        reached = float(gammainc(k * servers, k * offered))
        passed = float(gammainc(k * servers + 1, k * offered))
        term = reached - servers / offered * passed
        total += term
    return service_s * total


def wait_bulk_s(rate_per_s: float, latency_s: Sequence[float]) -> float:
    """M/D^[1,b]/1: the free server takes min(waiting, b) at once and needs `latency_s[size - 1]`.

    An idle server starts a single arrival immediately. The number left waiting when a service ends
    is a Markov chain (Bailey, JRSS B 16, 1954; Neuts, Annals of Mathematical Statistics 38, 1967).
    From state x a cycle lasts until the next end of service. With q left behind at its start, the
    queue holds q + rate t on average after t seconds, and Little's law gives the wait.
    """
    limit = len(latency_s)
    _require_stable(rate_per_s * latency_s[-1] / limit)
    stationary = _stationary_bulk(rate_per_s, np.asarray(latency_s))
    left = np.arange(len(stationary))
    size = np.clip(left, 1, limit)
    service = np.asarray(latency_s)[size - 1]
    behind = np.maximum(left - size, 0)
    queue_seconds = behind * service + rate_per_s * service**2 / 2
    seconds = service + np.where(left == 0, 1 / rate_per_s, 0.0)
    return float(stationary @ queue_seconds / (stationary @ seconds)) / rate_per_s


def _stationary_bulk(rate_per_s: float, latency_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """The chain's stationary law, cut off where its tail no longer matters."""
    states = 64
    while True:
        law = stationary_law(_bulk_transitions(rate_per_s, latency_s, states))
        if law[-states // 4 :].sum() < 1e-12:
            return law
        states *= 2


def _bulk_transitions(
    rate_per_s: float, latency_s: NDArray[np.float64], states: int
) -> NDArray[np.float64]:
    counts = np.arange(states)
    arrivals = [poisson.pmf(counts, rate_per_s * seconds) for seconds in latency_s]
    matrix = np.zeros((states, states))
    for left in range(states):
        size = min(max(left, 1), len(latency_s))
        behind = max(left - size, 0)
        matrix[left, behind:] = arrivals[size - 1][: states - behind]
    # What would leave the table stays in its last state.
    matrix[:, -1] += 1 - matrix.sum(axis=1)
    return matrix


def stationary_law(transitions: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probability vector that a stochastic matrix leaves unchanged."""
    equations = np.vstack([transitions.T - np.eye(len(transitions)), np.ones(len(transitions))])
    right = np.append(np.zeros(len(transitions)), 1.0)
    # One balance equation follows from the others and makes room for the normalisation.
    return np.linalg.solve(equations[1:], right[1:])


def _require_stable(utilisation: float) -> None:
    if not 0 < utilisation < 1:
        raise ValueError(f"utilisation: got {utilisation:.3f}, needs to lie between 0 and 1")
