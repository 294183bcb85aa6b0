"""Observations, rewards and summaries equal those of the document's formulas, bit for bit."""

import math
from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from gymnasium.utils import seeding
from hypothesis import strategies as st

from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.features import FEATURE_NAMES
from llmroute_env.env import LLMRouteEnv
from llmroute_env.signal_specs import Signals
from llmroute_env.specs import Deadline, RequestClass

from .late_signals import Lateness, LateWatched
from .observation_reference import (
    RATE_WINDOWS_S,
    Watched,
    Window,
    draw_window,
    load_1_per_s,
    summary,
)
from .service_case import Case
from .service_reference import TICKS_PER_S
from .simulator_adapter import Episode, fates_of, fields_of, number_of
from .test_differential import difference, on_random_cases

FEATURES = FEATURE_NAMES

assert EnvConfig().rate_windows_s == RATE_WINDOWS_S


def with_own_deadlines(case: Case, rng: Random) -> tuple[Case, list[float]]:
    """The case with one deadline per class instead of per request, the environment's first."""
    choices = [*dict.fromkeys(case.deadlines_s), 0.0, math.inf]
    classes = max(len(case.classes), 1)
    due = [choices[0], *(rng.choice(choices) for _ in range(classes - 1))]
    users = case.users or (0,) * len(case.tasks)
    return replace(case, deadlines_s=tuple(due[user] for user in users)), due


def at_an_edge(case: Case, edge: str) -> Case:
    """The case with a single class of users, if it has any, or a largest model never right."""
    if edge == "one class" and case.classes:
        return replace(case, classes=case.classes[:1], users=(0,) * len(case.users))
    if edge == "no peak":
        return replace(case, accuracy=tuple((*row[:-1], 0.0) for row in case.accuracy))
    return case


def some_signals(case: Case, rng: Random) -> Signals:
    """Signals that are late: from many scrapes in a batch to one in many batches."""
    batch_s = rng.choice([t for pool in case.pools for t in pool.latency_s.values()])[0]
    # Whole ticks, in which scrapes meet what happens and arrive together.
    ticks = max(round(rng.choice((0.1, 0.5, 1.0, 3.0, 20.0)) * batch_s * TICKS_PER_S), 1)
    delay = rng.choice((0, 0, ticks // 2, ticks - 1, ticks))
    return Signals(
        scrape_interval_s=ticks / TICKS_PER_S,
        delay_s=delay / TICKS_PER_S,
        noise=rng.choice((0.0, 0.0, 0.1, 1.0)),
        lost=rng.choice((0.0, 0.0, 0.2, 0.9)),
        dead_reckoning=rng.choice((False, True)),
        circuit_breaker=rng.choice((False, True)),
    )


def lateness(signals: Signals, state: int) -> Lateness:
    """What `signals` are in an episode that begins with the env's stream in `state`."""
    interval, delay = signals.scrape_interval_s * TICKS_PER_S, signals.delay_s * TICKS_PER_S
    chances, own = (signals.noise, signals.lost), (signals.dead_reckoning, signals.circuit_breaker)
    return Lateness(round(interval), round(delay), *chances, *own, state)


def environment(case: Case, due: list[float], rng: Random, signals: Signals) -> LLMRouteEnv:
    return LLMRouteEnv(
        "stable", completions=True, signals=signals, **windowed_fields(case, due, rng)
    )


def windowed_fields(case: Case, due: list[float], rng: Random) -> dict[str, Any]:
    """The case as an environment that draws windows of it, at loads of its own."""
    fields = fields_of(case)
    fields |= {
        "observation": FEATURES,
        "classes": tuple(
            RequestClass(users.name, users.weight, replace_deadline(users.deadline, deadline_s))
            for users, deadline_s in zip(fields["classes"], due, strict=False)
        ),
        "deadline": replace_deadline(fields["deadline"], due[0]),
    }
    if rng.random() < 0.7:
        load = rng.choice((0.3, 1.0, 7.0))
        fields["load"] = rng.choice((load, (load, 5.0 * load)))
        # At the lowest load the trace lasts longest, and no window may be longer than that.
        longest_s = len(case.arrivals_s) / load_1_per_s(case, due[0]) / load
        fields["window_s"] = rng.choice((0.1, 0.7, 1.0)) * longest_s
    return fields


def replace_deadline(deadline: Deadline | None, deadline_s: float) -> Deadline:
    assert deadline
    return replace(deadline, deadline_s=deadline_s)


def check(case: Case, data: st.DataObject, seen: Counter[str], late: type[Watched]) -> None:
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = Random(seed)
    case = at_an_edge(case, data.draw(st.sampled_from(("none", "one class", "no peak"))))
    case, due = with_own_deadlines(case, rng)
    signals = Signals()
    if late is not Watched:
        signals = some_signals(case, Random(f"{seed} signals"))
    env = environment(case, due, rng, signals)
    if case.classes:
        env.simulation.tape.user_class[:] = case.users
    generator, _ = seeding.np_random(seed)
    state = int(generator.integers(2**64, dtype=np.uint64))
    for episode in range(2):
        given = seed if episode == 0 else None
        state = play_one(env, case, due, given, state, seen, late)


def window_of(case: Case, due: list[float], config: EnvConfig, state: int) -> tuple[int, Window]:
    """The window of an episode that begins with the env's stream in `state`, and the next state."""
    span_s = case.arrivals_s[-1] + 1.0
    tape_load = len(case.arrivals_s) / span_s / load_1_per_s(case, due[0])
    given = config.load
    loads = given if isinstance(given, tuple) else (given or tape_load, given or tape_load)
    return draw_window(list(case.arrivals_s), span_s, tape_load, loads, config.window_s, state)


def cut_to(case: Case, window: Window) -> Case:
    """The requests of a window, with the actions of the case in their order."""
    count = len(window.arrivals_s)
    kept = slice(window.first, window.first + count)
    return replace(
        case,
        arrivals_s=window.arrivals_s,
        tasks=case.tasks[kept],
        actions=case.actions[:count],
        deadlines_s=case.deadlines_s[kept],
        users=case.users[kept],
    )


def play_one(
    env: LLMRouteEnv, case: Case, due: list[float], seed: int | None, state: int,
    seen: Counter[str], kind: type[Watched],
) -> int:  # fmt: skip
    one = load_1_per_s(case, due[0])
    late = lateness(env.config.signals, state)
    state, window = window_of(case, due, env.config, state)
    cut, count = cut_to(case, window), len(window.arrivals_s)
    watched = kind(cut, one, late=late) if issubclass(kind, LateWatched) else kind(cut, one)
    fates = watched.play()
    observation, _ = env.reset(seed=seed)
    rows, played = [observation], Episode([], [], [], True, False)
    for action, step in zip(cut.actions, watched.steps, strict=True):
        observation, reward, over, _, info = env.step(number_of(action, case))
        rows.append(observation)
        played.completions.append(env.simulation.completions.copy())
        assert (info["utility_in_time"], info["utility_late"]) == (step.in_time, step.late)
        assert (reward, info["elapsed_s"]) == (step.in_time + step.late, step.elapsed_s)
    assert over
    assert difference(fates, fates_of(played, count)) == 0.0
    columns = env.config.layout
    for name, (a, b) in {n: (columns.first(n), columns.columns(n)) for n in FEATURES}.items():
        found, expected = np.array(rows)[:, a : a + b], watched.rows()[:, a : a + b]
        np.testing.assert_array_equal(found, expected, name)
        seen[name] += len(np.unique(expected))
    assert info["summary"] == summary(watched, fates, window.load)
    seen.update(episodes=1, requests=count, silent=count == 1)
    seen["one class"] += len(case.classes) == 1
    seen["no peak"] += info["summary"]["utility"] > info["summary"]["peak_utility"] == 0.0
    return state


def run(examples: int, same_every_time: bool, kind: type[Watched] = Watched) -> Counter[str]:
    seen: Counter[str] = Counter()
    on_random_cases(lambda case, data: check(case, data, seen, kind), examples, same_every_time)
    return seen


def test_the_document_suffices():
    seen = run(40, same_every_time=True)
    assert min(seen[name] for name in FEATURES) > 60, seen
    assert min(seen[name] for name in ("silent", "one class", "no peak")) > 0, seen


@pytest.mark.verify
def test_the_document_suffices_on_many_cases(record_property):
    seen = run(2000, same_every_time=False)
    told = f"{seen['episodes']:,} episodes, {seen['requests']:,} requests"
    record_property("figure", f"observations, rewards and summaries, bit for bit: {told}")


def test_the_document_suffices_for_signals_that_are_late():
    seen = run(40, same_every_time=True, kind=LateWatched)
    assert min(seen[name] for name in FEATURES) > 60, seen
    assert min(seen[name] for name in ("age", "sent", "gpu_age", "gpu_sent")) > 300, seen


@pytest.mark.verify
def test_the_document_suffices_for_late_signals_on_many_cases(record_property):
    seen = run(2000, same_every_time=False, kind=LateWatched)
    told = f"{seen['episodes']:,} episodes, {seen['requests']:,} requests"
    record_property("figure", f"late, noisy and lost signals, bit for bit: {told}")
