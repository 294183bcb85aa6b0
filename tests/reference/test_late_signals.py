"""The random cases tell the rules of late signals from their nearest neighbours.

Each mutant is the reference with one rule slightly wrong.
"""

from random import Random

import pytest

from .case_strategies import random_case
from .late_signals import Lateness, LateWatched, SeenGpu, Shown
from .observation_reference import load_1_per_s
from .service_case import Case
from .service_reference import Gpu
from .test_observations import lateness, some_signals


class SeesTheMoment(Lateness):
    """A scrape that arrives at the very moment of a decision helps it."""

    def seen(self, gpu: int, now: int) -> int:
        return super().seen(gpu, now + 1)


class NoDelay(Lateness):
    def seen(self, gpu: int, now: int) -> int:
        return Lateness.seen(Lateness(**vars(self) | {"delay": 0}), gpu, now)


class AllInStep(Lateness):
    def phase(self, gpu: int) -> int:
        return 0


class LosesNothing(Lateness):
    def is_lost(self, gpu: int, k: int) -> bool:
        return False


class OneNoiseForAll(Lateness):
    def factor(self, gpu: int, k: int, what: int) -> float:
        return super().factor(gpu, k, 0)


class BeforeItsMoment(LateWatched):
    """What happens on a GPU at the moment of its scrape is not in it."""

    def found(self, gpu: Gpu, at: int) -> Shown:
        return super().found(gpu, at - 1)


class ForgetsOrder(LateWatched):
    """What was sent takes no time before the next is sent."""

    def add_sent(self, seen: SeenGpu, at: int, model: int) -> None:
        super().add_sent(seen, 0, model)


class CountsTheTie(LateWatched):
    """What was sent at the moment of the scrape counts as sent since."""

    def see(self, gpu: Gpu) -> SeenGpu:
        seen = super().see(gpu)
        for at, to, model in self.sent:
            if to == gpu.number and at == seen.scraped:
                seen.sent[model] = seen.sent.get(model, 0) + 1
        return seen


LATENESSES = (SeesTheMoment, NoDelay, AllInStep, LosesNothing, OneNoiseForAll)
WATCHERS = (BeforeItsMoment, ForgetsOrder, CountsTheTie)


def case_of(seed: int) -> tuple[Case, Lateness]:
    rng = Random(f"late {seed}")
    rules = rng.choice(("least-work", "shortest-queue")), "hard", True, False, False
    case = random_case(rules, 2, 2, 60, seed)
    return case, lateness(some_signals(case, rng), rng.getrandbits(64))


def watched(kind: type[LateWatched], case: Case, late: Lateness) -> list[list[float]]:
    found = kind(case, load_1_per_s(case, case.deadlines_s[0]), late=late)
    found.play()
    return found.observations


CASES = [case_of(seed) for seed in range(60)]


@pytest.mark.parametrize("mutant", [*LATENESSES, *WATCHERS], ids=lambda kind: kind.__name__)
def test_some_case_shows_a_wrong_rule(mutant: type):
    for case, late in CASES:
        right = watched(LateWatched, case, late)
        if issubclass(mutant, Lateness):
            wrong = watched(LateWatched, case, mutant(**vars(late)))
        else:
            wrong = watched(mutant, case, late)
        if wrong != right:
            return
    pytest.fail("no case tells")
