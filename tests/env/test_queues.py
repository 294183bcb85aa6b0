"""The rings that hold requests, against a list."""

import numpy as np

from llmroute_env.dynamics.service.queues import (
    BLOCK,
    append_slot,
    drop,
    drop_first,
    ring_slots,
    waiting_slots,
)
from llmroute_env.scenarios import configure
from llmroute_env.simulation.simulation import Simulation

GPU, MODEL = 3, 1


def held(simulation: Simulation) -> list[int]:
    state = simulation.state
    slots = waiting_slots(state, 0, GPU, MODEL, len(state.service.requests[0]))
    return state.service.requests[0]["number"][slots].tolist()


def test_a_ring_keeps_the_order_of_a_list_while_it_wraps_and_grows():
    simulation = Simulation(configure("stable", queue_capacity=60))
    world, state = simulation.world, simulation.state
    queue = state.queues[0, GPU, MODEL]
    capacity = 60 + int(world.cluster.batch_limit.max())
    rng = np.random.default_rng(0)
    expected: list[int] = []
    for decision in range(3000):
        # Long queues and short ones by turns.
        grows = rng.random() < (0.9 if decision // 300 % 2 == 0 else 0.4)
        if grows and len(expected) < capacity:
            slot = append_slot(world, 0, GPU, MODEL)
            state.service.requests[0, slot]["number"] = decision
            expected.append(decision)
        elif expected and rng.random() < 0.5:
            k = int(rng.integers(len(expected)))
            drop(world, 0, GPU, MODEL, k)
            del expected[k]
        elif expected:
            count = int(rng.integers(1, min(len(expected), 4) + 1))
            drop_first(world, 0, GPU, MODEL, count)
            del expected[:count]
        queue["waiting"] = len(expected)
        assert held(simulation) == expected if expected else queue["waiting"] == 0
    assert queue["room"] == ring_slots(60, capacity - 60)


def test_memory_in_use_follows_the_longest_queue():
    simulation = Simulation(configure("stable", load=3.0))
    simulation.reset(np.ones(1, np.bool_))
    state, longest = simulation.state, 0
    for _ in range(2000):
        simulation.step(np.full(1, 2))
        longest = max(longest, (state.queues["waiting"] + state.queues["running"]).max())
    rooms = state.queues["room"].max()
    assert BLOCK < longest <= rooms < 2 * longest
    used = np.flatnonzero(state.service.requests[0]["arrival_s"])
    assert used[-1] < rooms * state.queues[0].size < len(state.service.requests[0])


def test_a_snapshot_takes_only_the_slots_that_queues_have_reached():
    short, long = (
        Simulation(configure("stable", queue_capacity=capacity), 2) for capacity in (64, 100_000)
    )
    for simulation in (short, long):
        simulation.begin(np.array([1, 2], np.uint64))
        for step in range(400):
            simulation.step(np.full(2, step % 3))
    kept = long.snapshot()
    assert kept.nbytes < 200_000 < long.state.nbytes
    # Room that nothing has reached makes no difference, so either continues the other.
    short.restore(kept)
    for step in range(200):
        for simulation in (short, long):
            simulation.step(np.full(2, step % 3))
        np.testing.assert_array_equal(short.completions, long.completions)
        np.testing.assert_array_equal(short.outputs.observations, long.outputs.observations)
