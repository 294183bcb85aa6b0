"""Queues with known mean waiting times, in the simulator."""

from collections.abc import Callable

import pytest

from .closed_forms import wait_bulk_s, wait_md1_s, wait_mdc_s, wait_mg1_s
from .queue_runs import Effort, Queue, mean_wait

QUICK = Effort(replications=128, requests=8000, uncounted=2000)
THOROUGH = Effort(replications=64, requests=120_000, uncounted=10_000)
# For dozens of comparisons together, and because means of skewed waiting times are less regular
# than Student's t assumes: intervals of 99.9 % were seen to miss about one time in two hundred.
CONFIDENCE = 0.9999

UTILISATIONS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
FEW = (0.3, 0.7, 0.9)
SERVICE_S = 0.25
MIX_S, MIX = (0.125, 0.25, 1.0), (0.5, 0.3, 0.2)
BULK_S = (0.5, 0.5625, 0.65625, 0.8125)


def md1(utilisation: float) -> tuple[Queue, float]:
    queue = Queue(utilisation / SERVICE_S, ((SERVICE_S,),))
    return queue, wait_md1_s(queue.rate_per_s, SERVICE_S)


def mg1(utilisation: float) -> tuple[Queue, float]:
    rate_per_s = utilisation / sum(p * s for p, s in zip(MIX, MIX_S, strict=True))
    queue = Queue(rate_per_s, tuple((s,) for s in MIX_S), MIX)
    return queue, wait_mg1_s(rate_per_s, MIX_S, MIX)


def mdc(servers: int, utilisation: float) -> tuple[Queue, float]:
    queue = Queue(servers * utilisation / SERVICE_S, ((SERVICE_S,),), gpus=servers)
    return queue, wait_mdc_s(queue.rate_per_s, SERVICE_S, servers)


def bulk(utilisation: float) -> tuple[Queue, float]:
    queue = Queue(utilisation * len(BULK_S) / BULK_S[-1], (BULK_S,))
    return queue, wait_bulk_s(queue.rate_per_s, BULK_S)


QUEUES: dict[str, Callable[[float], tuple[Queue, float]]] = {
    "M/D/1": md1,
    "M/G/1": mg1,
    # With one service time, the GPU with the least work is the one that a common queue would use.
    "M/D/2": lambda utilisation: mdc(2, utilisation),
    "M/D/4": lambda utilisation: mdc(4, utilisation),
    "bulk": bulk,
}


def check(name: str, utilisation: float, effort: Effort, precision: float) -> str:
    """Returns what was compared, in words."""
    queue, theory = QUEUES[name](utilisation)
    # A stream of its own for each comparison, or all queues of one utilisation would err alike.
    seed = [list(QUEUES).index(name), round(1000 * utilisation), effort.requests]
    found = mean_wait(queue, effort, seed, CONFIDENCE)
    words = (
        f"{name:6} {utilisation:.2f}  theory {theory:.5f} s  simulation {found.mean:.5f} s"
        f" +- {found.half_width:.5f}  ({(found.mean / theory - 1):+.2%})"
    )
    assert theory in found, words
    assert found.half_width < precision * theory, "an interval this wide would prove nothing"
    return words


@pytest.mark.parametrize("utilisation", FEW)
@pytest.mark.parametrize("name", QUEUES)
def test_mean_wait(name: str, utilisation: float):
    check(name, utilisation, QUICK, precision=0.08 if utilisation < 0.9 else 0.25)


@pytest.mark.verify
@pytest.mark.parametrize("utilisation", UTILISATIONS)
@pytest.mark.parametrize("name", QUEUES)
def test_mean_wait_thoroughly(name: str, utilisation: float, record_property):
    precision = 0.02 if utilisation < 0.9 else 0.08
    record_property("figure", check(name, utilisation, THOROUGH, precision))


def test_a_queue_slightly_slower_is_told_apart():
    _, theory = md1(0.5)
    slower = Queue(2.0, ((1.03 * SERVICE_S,),))
    assert theory not in mean_wait(slower, QUICK, [1], CONFIDENCE)
