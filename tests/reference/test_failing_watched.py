"""What routers see where machines fail equals the document's formulas, with late signals too."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import strategies as st

from llmroute_env.dynamics.features import FEATURE_NAMES

from .case_strategies import RULES, random_case
from .failing_cases import env_number
from .failing_watched import FailingWatched, LateFailing
from .failing_watched_cases import Episode, Told, told
from .late_signals import Lateness
from .observation_reference import summary
from .service_case import Case, Fate
from .service_reference import Gpu, Request
from .simulator_adapter import fate_of
from .test_differential import difference, on_random_cases

HAPPENS = (
    *("retried", "lost", "deferred", "told to leave", "nobody up", "gone by", "closed"),
    *("least-work", "shortest-queue", "round-robin"),
)
OF_BELIEF = "wrongly up", "wrongly down", "learned"


class Noting(LateFailing):
    """Counts what is believed."""

    def begin(self) -> None:
        super().begin()
        self.noted: Counter[str] = Counter()

    def observe(self, request: Request | None) -> None:
        super().observe(request)
        for gpu in self.view:
            is_up = gpu.number not in self.down
            self.noted["wrongly up"] += self.seems_up(gpu) and not is_up
            self.noted["wrongly down"] += is_up and not self.seems_up(gpu)
            self.noted["learned"] += gpu.health[0] and not self.seems_up(gpu)


def check(told: Told, is_late: bool, counts: Counter[str]) -> None:
    state = told.state
    for first in (True, False):
        episode = told.episode(state)
        watched = episode.watched(Noting if is_late else FailingWatched)
        fates = watched.play()
        play_one(told, episode, watched, fates, first)
        count(told, watched, fates, counts)
        state = episode.following


def play_one(
    told: Told, episode: Episode, watched: FailingWatched, fates: list[Fate], first: bool
) -> None:
    env, over, ended = told.env, False, []
    seed = told.seed if first else None
    rows, masks = [env.reset(seed=seed)[0]], [env.simulation.action_masks()[0]]
    while not over:
        number = len(rows) - 1
        action = episode.cut.actions[number % len(episode.cut.actions)]
        row, reward, over, _, info = env.step(env_number(action, told.case))
        rows.append(row)
        masks.append(env.simulation.action_masks()[0])
        ended.append(env.simulation.completions.copy())
        step = watched.steps[number]
        assert (info["utility_in_time"], info["utility_late"]) == (step.in_time, step.late)
        assert (reward, info["elapsed_s"]) == (
            step.in_time + step.late + step.rejected,
            step.elapsed_s,
        )
    records = np.concatenate(ended)
    records = records[np.argsort(records["decision"])]
    assert difference(fates, [fate_of(record) for record in records]) == 0.0
    layout, expected = env.config.layout, watched.rows()
    for name in FEATURE_NAMES:
        columns = slice(layout.first(name), layout.first(name) + layout.columns(name))
        np.testing.assert_array_equal(np.array(rows)[:, columns], expected[:, columns], name)
    assert np.array(masks).tolist() == watched.masks
    assert info["summary"] == whole_summary(told, episode, watched, fates)


def whole_summary(
    told: Told, episode: Episode, watched: FailingWatched, fates: list[Fate]
) -> dict[str, object]:
    found = summary(watched, fates, episode.load)
    outcomes = Counter(fate.outcome for fate in fates)
    if told.env.config.defer:
        found["deferred"] = outcomes["deferred"]
    if told.env.config.failures:
        found |= {name: outcomes[name] for name in ("lost", "retried")}
        found["failures"] = watched.failures
    return found


def count(told: Told, watched: FailingWatched, fates: list[Fate], counts: Counter[str]) -> None:
    counts.update(episodes=1, decisions=len(fates), requests=watched.all.routed)
    counts.update(fate.outcome for fate in fates)
    counts[watched.case.dispatcher] += 1
    layout, rows = told.env.config.layout, watched.rows()

    def columns(name: str) -> np.ndarray:
        return rows[:, layout.first(name) : layout.first(name) + layout.columns(name)]

    counts["told to leave"] += int((columns("gpu_leaving") < 16).sum())
    counts["nobody up"] += int((columns("gpu_up") == 0).all(axis=1).sum())
    counts["gone by"] += int((columns("waited") > 0).sum())
    counts["closed"] += sum(not all(mask) for mask in watched.masks)
    counts.update(getattr(watched, "noted", {}))


def run(examples: int, same: bool, is_late: bool) -> Counter[str]:
    counts: Counter[str] = Counter()

    def one(case: Case, data: st.DataObject) -> None:
        check(told(case, data.draw(st.integers(0, 2**32 - 1)), is_late), is_late, counts)

    on_random_cases(one, examples, same)
    return counts


def test_the_document_suffices_where_machines_fail():
    counts = run(30, same=True, is_late=False)
    assert [what for what in HAPPENS if counts[what] == 0] == []


def test_the_document_suffices_where_machines_fail_and_signals_are_late():
    counts = run(40, same=True, is_late=True)
    assert [what for what in (*HAPPENS, *OF_BELIEF) if counts[what] == 0] == []


@pytest.mark.verify
@pytest.mark.parametrize("is_late", [False, True])
def test_the_document_suffices_for_thousands_of_new_cases(is_late, record_property):
    counts = run(2000, same=False, is_late=is_late)
    told = "episodes", "requests", "decisions", "retried", "lost", "deferred"
    figures = ", ".join(f"{counts[what]:,} {what}" for what in told)
    kind = "late" if is_late else "exact"
    record_property("figure", f"{kind} signals of failing machines, bit for bit: {figures}")


class BelievesForEver(LateFailing):
    """No later scrape tells that it is up again."""

    def seems_up(self, gpu: Gpu) -> bool:
        return super().seems_up(gpu) and gpu.number not in self.failed


class LearnsNothing(LateFailing):
    """What fails tells nothing of the machine."""

    def learn(self, gpu: Gpu) -> None:
        pass


class BreaksEveryCircuit(LateFailing):
    """Whether that was asked for or not."""

    def learn(self, gpu: Gpu) -> None:
        self.failed[gpu.number] = self.now


class KnowsAtOnce(LateFailing):
    def seems_up(self, gpu: Gpu) -> bool:
        return gpu.number not in self.down


class LearnsOutOfTurn(LateFailing):
    """All that has failed at a moment is known before any of it comes back."""

    def has_failed(self, request: Request, gpu: Gpu, model: int) -> None:
        self.learn(gpu)
        super().has_failed(request, gpu, model)


class CountsWhatWasSentInVain(LateFailing):
    """As sent since, and so with dead reckoning as waiting."""

    def send(self, request: Request, gpu: Gpu, model: int) -> None:
        super().send(request, gpu, model)
        if self.hosts(gpu, model) and gpu.number in self.down:
            self.sent.append((self.now, gpu.number, model))


class KeepsInFlight(LateFailing):
    """What has failed is on its way for ever."""

    def fail(self, gpu: Gpu) -> None:
        self.kept = getattr(self, "kept", Counter())
        for model, queue in gpu.queues.items():
            self.kept[gpu.number, model] += len(queue)
        super().fail(gpu)

    def on_its_way(self, gpu: Gpu, model: int) -> float:
        more = getattr(self, "kept", Counter())[gpu.number, model]
        return super().on_its_way(gpu, model) + more


class CountsAgain(LateFailing):
    """Who comes back counts towards the rates once more."""

    def before_decision(self, request: Request) -> None:
        again = self.tries[request.number] + self.defers[request.number] > 0
        if again:
            self.rates = [rate + 1.0 for rate in self.rates]
        super().before_decision(request)


class TheWholeDeadline(LateFailing):
    """What is left of it is not what counts."""

    @property
    def left_s(self) -> float:
        return self.deadline_s


class TooEarly(Lateness):
    """A scrape that arrives at the very moment of a decision helps it."""

    def seen(self, gpu: int, now: int) -> int:
        return super().seen(gpu, now + 1)


WATCHERS = (
    *(BelievesForEver, LearnsNothing, KnowsAtOnce, LearnsOutOfTurn),
    *(CountsWhatWasSentInVain, KeepsInFlight, CountsAgain, TheWholeDeadline, BreaksEveryCircuit),
)


Seen = tuple[object, ...]


@pytest.fixture(scope="module")
def examples() -> list[tuple[Episode, Seen]]:
    """With what is seen by the rules; in few cases what fails at one moment comes back in turn."""
    return [(episode, seen(LateFailing, episode)) for episode in map(example, range(126, 156))]


def example(seed: int) -> Episode:
    rng = Random(seed)
    case = random_case(rng.choice(RULES), rng.choice((2, 3)), rng.choice((1, 2)), 60, seed)
    chosen = told(case, seed, is_late=True)
    return chosen.episode(chosen.state)


def seen(kind: type[LateFailing], episode: Episode) -> Seen:
    watched = episode.watched(kind)
    fates = watched.play()
    return fates, watched.observations, watched.masks


@pytest.mark.parametrize("mutant", WATCHERS, ids=lambda kind: kind.__name__)
def test_some_case_shows_a_wrong_rule(mutant, examples):
    assert any(seen(mutant, episode) != rightly for episode, rightly in examples)


def test_some_case_shows_a_scrape_that_counts_too_early(examples):
    changed = [(replace(one, late=TooEarly(**vars(one.late))), right) for one, right in examples]
    assert any(seen(LateFailing, one) != rightly for one, rightly in changed)
