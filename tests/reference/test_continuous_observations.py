"""What continuous batching tells equals the document's formulas: observations bit for bit."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from gymnasium.utils import seeding

from llmroute_env import profiles
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.features import FEATURE_NAMES
from llmroute_env.dynamics.state import OUTCOMES
from llmroute_env.env import LLMRouteEnv
from llmroute_env.signal_specs import Signals
from llmroute_env.specs import Deadline, Pool
from traces.lengths import Lengths, LognormalLengths
from traces.workloads import PoissonArrivals, TaskReplay

from .continuous_adapter import fate_of
from .continuous_case import PoolCase
from .continuous_late_signals import LateWatched
from .continuous_load import Due, mean_of_lognormal, mixed, sustained_per_s
from .continuous_observation_reference import Watched
from .continuous_watching import Teller, Told, cut, number_of
from .observation_reference import Window, draw_window
from .test_observations import lateness

REJECTED = OUTCOMES.index("rejected")


def with_load(told: Told, seed: int) -> Told:
    """Now and then windows of the trace, at loads of their own."""
    rng = np.random.default_rng((seed, 42))
    if rng.random() < 0.7:
        return told
    low = tape_of(told)[1] * float(rng.choice([0.5, 1.0, 3.0]))
    # At the lowest load the trace lasts longest, and no window may be longer than that.
    longest_s = len(told.classes) / told.config.load_1_per_s / low
    window_s = longest_s * float(rng.choice([0.2, 0.7, 0.999]))
    load = low if rng.random() < 0.5 else (low, 5 * low)
    return replace(told, config=replace(told.config, load=load, window_s=window_s))


def with_signals(told: Told, seed: int) -> Told:
    """Signals that are late, of whole ticks, from many scrapes between arrivals to hardly any."""
    rng = np.random.default_rng((seed, 43))
    requests = told.watching.case.requests
    gap = max(requests[-1].arrival // len(requests), 1)
    ticks = max(round(gap * float(rng.choice([0.1, 0.5, 2.0, 10.0]))), 1)
    delay = int(rng.choice([0, 0, ticks // 2, ticks - 1, ticks]))
    signals = Signals(
        ticks * 2.0**-30,
        delay * 2.0**-30,
        noise=float(rng.choice([0.0, 0.0, 0.1, 1.0])),
        lost=float(rng.choice([0.0, 0.0, 0.2, 0.9])),
        dead_reckoning=bool(rng.random() < 0.5),
        circuit_breaker=bool(rng.random() < 0.5),
    )
    return replace(told, config=replace(told.config, signals=signals))


def tape_of(told: Told) -> tuple[float, float]:
    """The seconds of the tape and its load."""
    span_s = told.watching.case.requests[-1].arrival * 2.0**-30 + 1.0
    return span_s, len(told.classes) / span_s / told.config.load_1_per_s


def window_of(told: Told, state: int) -> tuple[int, Window]:
    span_s, tape_load = tape_of(told)
    given = told.config.load
    loads = given if isinstance(given, tuple) else (given or tape_load, given or tape_load)
    tape_s = [request.arrival * 2.0**-30 for request in told.watching.case.requests]
    return draw_window(tape_s, span_s, tape_load, loads, told.config.window_s, state)


def check_load(told: Told) -> None:
    config, watching = told.config, told.watching
    np.testing.assert_allclose(config.mean_tokens, watching.mean_tokens, rtol=1e-12)
    assert config.load_1_per_s == pytest.approx(watching.load_1_per_s, rel=1e-12)


def check(seed: int, seen: Counter[str], is_late: bool = False) -> None:
    told = with_load(Teller(seed).told(), seed)
    if is_late:
        told = with_signals(told, seed)
    check_load(told)
    env = told.environment()
    generator, _ = seeding.np_random(seed)
    state = int(generator.integers(2**64, dtype=np.uint64))
    for episode in range(2):
        late = lateness(told.config.signals, state)
        state, window = window_of(told, state)
        what = cut(told, window.first, window.arrivals_s), told.config.load_1_per_s
        watched = LateWatched(*what, late=late) if is_late else Watched(*what)
        watched.play()
        play_one(f"case {seed}", env, seed if episode == 0 else None, watched, seen)
        assert env.summary() == watched.summary(window.load), f"case {seed}"


def play_one(
    name: str, env: LLMRouteEnv, seed: int | None, watched: Watched, seen: Counter[str]
) -> None:
    observation, _ = env.reset(seed=seed)
    rows, over = [observation], False
    for number, request in enumerate(watched.case.requests):
        where, step = f"{name}, step {number}", watched.steps[number]
        observation, reward, over, _, info = env.step(number_of(request.action, watched.watching))
        rows.append(observation)
        simulation = env.simulation
        ended = zip(simulation.completions, simulation.completion_tokens, strict=True)
        assert [fate_of(*one) for one in ended] == watched.fates[number], where
        assert (info["utility_in_time"], info["utility_late"]) == (step.in_time, step.late), where
        assert (reward, info["elapsed_s"]) == (step.in_time + step.late, step.elapsed_s), where
    assert over
    check_rows(name, env.config, np.array(rows), watched.rows())
    seen.update(episodes=1, requests=len(watched.steps))
    seen.update(fate.outcome for fates in watched.fates for fate in fates)
    for feature in FEATURE_NAMES:
        seen[feature] += len(np.unique(columns(env.config, feature, watched.rows())))


def columns(config: EnvConfig, feature: str, rows: np.ndarray) -> np.ndarray:
    first = config.layout.first(feature)
    return rows[:, first : first + config.layout.columns(feature)]


def check_rows(name: str, config: EnvConfig, found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    for feature in FEATURE_NAMES:
        one, other = (columns(config, feature, rows) for rows in (found, expected))
        np.testing.assert_array_equal(one, other, f"{name}, {feature}")


def run(seeds: range, is_late: bool = False) -> Counter[str]:
    seen: Counter[str] = Counter()
    for seed in seeds:
        check(seed, seen, is_late)
    return seen


def test_the_document_suffices():
    seen = run(range(32))
    assert min(seen[name] for name in FEATURE_NAMES) > 60, seen
    assert min(seen[name] for name in ("aborted", "late", "rejected", "in time")) > 20, seen


@pytest.mark.verify
def test_the_document_suffices_on_many_cases(record_property):
    first = int(np.random.default_rng().integers(10**6, 10**9))
    seen = run(range(first, first + 800))
    told = f"{seen['episodes']:,} episodes, {seen['requests']:,} requests"
    record_property("figure", f"what continuous batching tells, bit for bit: {told}")


def test_the_document_suffices_for_signals_that_are_late():
    seen = run(range(30), is_late=True)
    assert min(seen[name] for name in ("age", "sent", "gpu_age", "gpu_sent")) > 200, seen


@pytest.mark.verify
def test_the_document_suffices_for_late_signals_on_many_cases(record_property):
    first = int(np.random.default_rng().integers(10**6, 10**9))
    seen = run(range(first, first + 800), is_late=True)
    told = f"{seen['episodes']:,} episodes, {seen['requests']:,} requests"
    record_property("figure", f"late signals of continuous batching, bit for bit: {told}")


def rows_of(told: Told, longer: int) -> tuple[np.ndarray, int]:
    """What is seen when answers are so many times as long, and until when nobody has left."""
    env = told.environment()
    env.simulation.tape.output_tokens[:] *= longer
    rows = [env.reset(seed=0)[0]]
    first = math.inf
    for number, request in enumerate(told.watching.case.requests):
        rows.append(env.step(number_of(request.action, told.watching))[0])
        if (env.simulation.completions["outcome"] != REJECTED).any():
            first = min(first, number)
    return np.array(rows), int(min(first, len(rows) - 2))


def test_nothing_that_is_seen_depends_on_how_long_answers_will_be():
    """Until somebody has left, which is seen."""
    compared = 0
    for seed in range(24):
        told = Teller(seed).told()
        (own, one), (longer, other) = rows_of(told, 1), rows_of(told, 3)
        alike = min(one, other) + 1
        check_rows(f"case {seed}", told.config, longer[:alike], own[:alike])
        compared += alike - 1
    assert compared > 100


PROFILES = {"qwen2.5": ("qwen2.5-7b", "qwen2.5-14b"), "llama3": ("llama3.2-3b", "llama3.1-8b")}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("replays", [False, True])
def test_load_1_of_shipped_profiles(profile: str, replays: bool):
    due = Due(30.0, 1.0, 0.05)
    kinds = "h100-sxm", "l40s"
    pools = tuple(
        Pool(n + 1, (m,), k) for n, (m, k) in enumerate(product(PROFILES[profile], kinds))
    )
    lengths: dict[str, Lengths] = {
        task: LognormalLengths(5.0 + n / 9, 1.2, 4.5, 0.8)
        for n, task in enumerate(profiles.load(profile).tasks)
    }
    tasks = tuple(lengths)[:2]
    config = EnvConfig(
        profile=profile,
        pools=pools,
        service="continuous",
        lengths=lengths,
        deadline=Deadline(due.deadline_s, ttft_s=due.ttft_s, tpot_s=due.tpot_s),
        workload=TaskReplay(tasks=tasks, shares=(3.0, 1.0)) if replays else PoissonArrivals(),
    )
    means = [mean_of_lognormal(recipe) for recipe in lengths.values()]
    weights = [3.0, 1.0, *[0.0] * (len(means) - 2)] if replays else [1.0] * len(means)
    hosts = [case_of(config, pool) for pool in pools[2:] for _ in range(pool.gpus)]
    expected = sustained_per_s(hosts, mixed(means, weights), due)
    np.testing.assert_allclose(config.mean_tokens, means, rtol=1e-12)
    assert config.load_1_per_s == pytest.approx(expected, rel=1e-12)


def case_of(config: EnvConfig, pool: Pool) -> PoolCase:
    """A pool with the blocks that fit: the share that may be used, less weights and reserve."""
    model, gpu = config.resolved_profile.model(pool.models[0]), config.gpu_of(pool)
    free = 0.9 * gpu.memory_bytes - model.weights_bytes - gpu.reserved_bytes
    limits = gpu.max_num_seqs, gpu.max_num_batched_tokens
    blocks = math.floor(free / (16 * model.kv_bytes_per_token))
    times = model.step_times[gpu.name]
    return PoolCase(pool.gpus, 0, *limits, blocks, model.context_tokens, times)
