"""What continuous batching looks up or guesses instead of computing it is the same to the bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from llmroute_env import EnvConfig, configure
from llmroute_env.dynamics.service.continuous.model import ContinuousBatching
from llmroute_env.dynamics.service.continuous.step_times import (
    cell_of,
    piece_of,
    prefill,
    prefill_between,
)
from llmroute_env.dynamics.service.continuous.steps import length_of_leap, steps_within
from llmroute_env.signal_specs import Signals
from llmroute_env.simulation.simulation import Simulation
from tests.env.small_engines import small_engines

SIGNALS = (Signals(), Signals(1.0, delay_s=0.5, noise=0.3, dead_reckoning=True))
CONFIGS = (small_engines(), configure("chat-and-code"))
BOTH = ("slack", "ttft", "tpot", "kv", "prefill", "gpu_slack", "gpu_ttft", "gpu_tpot", "gpu_kv")


@pytest.mark.parametrize("config", CONFIGS)
def test_prompts_that_begin_are_looked_up(config: EnvConfig) -> None:
    tables = ContinuousBatching.tables(config)
    for pool, engine in enumerate(tables.engines):
        chunks = range(1, int(engine["most_tokens"]) + 1)
        expected = [prefill_between(tables, pool, chunk, 0) for chunk in chunks]
        assert [prefill(tables, pool, chunk, 0) for chunk in chunks] == expected


@pytest.mark.parametrize("config", CONFIGS)
def test_a_line_is_found_from_wherever_the_search_begins(config: EnvConfig) -> None:
    tables, rng = ContinuousBatching.tables(config), np.random.default_rng(0)
    used = int(tables.engines[0]["decode_knots"])
    knots = tables.decode_knots[0]
    for _ in range(300):
        decoding = int(rng.integers(1, 60))
        near_a_knot = decoding * int(rng.choice(knots)) + int(rng.integers(-2, 3))
        for context in (near_a_knot, int(rng.integers(1, decoding * 20_000))):
            below = context < decoding * knots[0]
            expected = -1 if below else cell_of(knots, used, context // decoding)
            found = [piece_of(tables, 0, decoding, context, k) for k in range(-1, used - 1)]
            assert set(found) == {expected}


def test_steps_of_a_leap_are_counted_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        most = int(rng.integers(0, 40))
        growth = int(rng.integers(-3, 4)) * int(10.0 ** rng.integers(0, 7))
        first = max(1, -growth * most) + int(10.0 ** rng.uniform(0, 12))
        ends = [length_of_leap(first, growth, steps) for steps in range(most + 1)]
        # At, before and after every end, before the first and after the last of them.
        for left in {end + d for end in (*ends, 2 * ends[-1]) for d in (-1, 0, 1)}:
            expected = max(np.searchsorted(ends, left, side="right") - 1, 0)
            assert steps_within(first, growth, left, most) == expected


@pytest.mark.parametrize("signals", SIGNALS)
@pytest.mark.parametrize("names", [BOTH[:5], BOTH[5:], BOTH])
def test_slack_is_the_same_alone_and_beside_predictions(
    names: tuple[str, ...], signals: Signals
) -> None:
    alone = tuple(name for name in names if name.endswith("slack"))
    config = small_engines(load=4.0, window_s=4.0, signals=signals)
    many, few = (Simulation(replace(config, observation=o), 2) for o in (names, alone))
    rng = np.random.default_rng(0)
    for each in (many, few):
        each.begin(np.arange(2, dtype=np.uint64))
    starts = [many.config.layout.first(name) for name in alone]
    width = [many.config.layout.columns(name) for name in alone]
    columns = np.concatenate([np.arange(a, a + n) for a, n in zip(starts, width, strict=True)])
    while not many.state.envs["over"].all():
        actions = rng.integers(len(config.models), size=2)
        for each in (many, few):
            each.step(actions)
        found = many.outputs.observations[:, columns]
        np.testing.assert_array_equal(found, few.outputs.observations)


@pytest.mark.parametrize("signals", SIGNALS)
def test_a_snapshot_has_the_slots_that_were_in_use(signals: Signals) -> None:
    simulation = Simulation(small_engines(load=4.0, signals=signals), 2)
    simulation.begin(np.arange(2, dtype=np.uint64))
    for _ in range(100):
        simulation.step(np.array([2, 2]))
    own = simulation.snapshot().service
    used = simulation.state.service.instances[:2]["used_slots"]
    assert own.slots.shape == (2, 4, used.max())
    assert own.heaps.shape == own.places.shape == (2, 8, used.max())
    assert 0 < simulation.snapshot().nbytes < simulation.state.nbytes / 10
