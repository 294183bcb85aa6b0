"""Continuous batching as a service model: its tables, its arrays, its answers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.returns import left_of
from llmroute_env.dynamics.service.border import Due, Outlook
from llmroute_env.dynamics.service.continuous import predictions, requests, shown
from llmroute_env.dynamics.service.continuous.arrays import (
    BLOCK,
    ENTRY,
    FINE_PER_S,
    INSTANCE,
    NONE,
    SLOT,
    EngineArrays,
    EngineTables,
)
from llmroute_env.dynamics.service.continuous.sizing import limits_of, sustained
from llmroute_env.dynamics.service.continuous.tables import engine_tables
from llmroute_env.dynamics.state import Records, State, rows_of
from llmroute_env.dynamics.world import World
from llmroute_env.specs import ModelSpec, Pool, require


@compiled
def added_work_s(world: World, e: int, gpu: int, model: int) -> float:
    """The share of an instance's time that the pending request is likely to take."""
    return float(predictions.work_of_pending(world, e, gpu)) * predictions.PER_FINE_S


@compiled
def remaining_s(world: World, e: int, gpu: int) -> float:
    """Seconds until the step ends that an instance runs."""
    done = predictions.steps_done(world, e, gpu)
    return predictions.left_of_step_s(world, e, gpu, done)


@compiled
def tightest(world: World, e: int, gpu: int, model: int) -> tuple[float, float]:
    """Of TTFT, TPOT and E2E what is predicted to take most of what is allowed."""
    done = predictions.steps_done(world, e, gpu)
    tpot_s = predictions.predicted_tpot_s(world, e, gpu, done)
    ttft_s = predictions.predicted_ttft_s(world, e, gpu, done, tpot_s)
    return tightest_of(world, e, ttft_s, tpot_s)


@compiled
def tightest_of(world: World, e: int, ttft_s: float, tpot_s: float) -> tuple[float, float]:
    """`tightest`, from what is predicted."""
    env = world.state.envs[e]
    # After the last request those of the last one.
    at = env.first + env.request
    terms = world.cluster.terms[world.tape.user_class[at], world.tape.task[at]]
    rest = max(predictions.answer_of_pending(world, e) - 1.0, 0.0)
    worst_s, due_s = ttft_s + rest * tpot_s, left_of(world, e, terms.deadline_s)
    first_due_s = left_of(world, e, terms.ttft_s)
    if ttft_s * due_s > worst_s * first_due_s or due_s == np.inf:
        worst_s, due_s = ttft_s, first_due_s
    if tpot_s * due_s > worst_s * terms.tpot_s or due_s == np.inf:
        worst_s, due_s = tpot_s, terms.tpot_s
    return worst_s, due_s


@compiled
def prospect(world: World, e: int, gpu: int, model: int) -> tuple[Due, Outlook]:
    """The tightest deadline; TTFT, TPOT, the KV cache in use and prompts to be computed."""
    done = predictions.steps_done(world, e, gpu)
    blocks = world.cluster.service.engines[world.cluster.pool_of[gpu]].blocks
    tpot_s = predictions.predicted_tpot_s(world, e, gpu, done)
    ttft_s = predictions.predicted_ttft_s(world, e, gpu, done, tpot_s)
    in_use = 1.0 - float(predictions.free_blocks(world, e, gpu, done)) / float(blocks)
    tokens = float(predictions.prefill_tokens(world, e, gpu))
    return tightest_of(world, e, ttft_s, tpot_s), (ttft_s, tpot_s, in_use, tokens)


class ContinuousBatching(EngineTables):
    """An instance runs steps of all it has admitted, as vLLM's V1 scheduler does."""

    empty = staticmethod(requests.empty)
    admit = staticmethod(requests.admit)
    handle_event = staticmethod(requests.handle_event)
    evict = staticmethod(requests.evict)
    copy_requests = staticmethod(requests.copy_requests)
    added_work_s = staticmethod(added_work_s)
    remaining_s = staticmethod(remaining_s)
    tightest = staticmethod(tightest)
    prospect = staticmethod(prospect)
    show = staticmethod(shown.show)
    reckon = staticmethod(shown.reckon)
    reads_lengths = True

    @staticmethod
    def check(config: Any) -> None:
        """Raise a ConfigError unless every pool hosts one model that was measured there."""
        for pool in config.pools:
            accepted = "exactly one with service 'continuous'"
            require(len(pool.models) == 1, "pool models", pool.models, accepted)
            model, gpu = config.resolved_profile.model(pool.models[0]), config.gpu_of(pool)
            measured = ", ".join(model.step_times) or "none: the profile has no step_times"
            where = f"pool gpu of model {model.name!r}"
            require(gpu.name in model.step_times, where, gpu.name, measured)
            limits_of(config, pool)

    @staticmethod
    def batch_limit(config: Any, model: ModelSpec, pool: Pool) -> int:
        """The most that an instance of the pool runs at once."""
        return limits_of(config, pool).most_running

    @staticmethod
    def sustained_per_s(config: Any, model: ModelSpec) -> float:
        """Requests per second that the instances of a model serve in time."""
        pools = [pool for pool in config.pools if model.name in pool.models]
        rates = [pool.gpus * sustained(config, pool).requests_per_s for pool in pools]
        return float(sum(rates))

    @classmethod
    def tables(cls, config: Any) -> ContinuousBatching:
        """Limits and step times of every pool."""
        held = [limits_of(config, pool) for pool in config.pools]
        slots = max(own.most_running for own in held) + config.queue_capacity
        best = [sustained(config, pool) for pool in config.pools]
        sizes = [
            {
                **own._asdict(),
                "slots": slots,
                "prefix_caching": config.engine.prefix_caching,
                "share": found.step_s / found.running * FINE_PER_S,
            }
            for own, found in zip(held, best, strict=True)
        ]
        return cls(**engine_tables(config, sizes))

    @staticmethod
    def allocate(config: Any, envs: int) -> EngineArrays:
        """Slots for all that can run and wait; memory is committed where somebody has been."""
        gpus = config.gpus
        most = max(limits_of(config, pool).most_running for pool in config.pools)
        slots = gpus * (most + config.queue_capacity)
        rows = rows_of(envs, config.signals.are_late)
        return EngineArrays(
            instances=np.zeros((rows, gpus), INSTANCE),
            residues=np.zeros((envs, gpus, BLOCK), np.int32),
            slots=np.zeros((envs, slots), SLOT),
            heaps=np.zeros((envs, 2 * slots), ENTRY),
            places=np.zeros((envs, 2 * slots), np.int32),
            sizes=np.zeros((envs, gpus, 2), np.int32),
        )

    @staticmethod
    def in_use(state: State) -> EngineArrays:
        """Of the slots of every instance as many as the fullest has had: shape (E, rows, used)."""
        own = state.service
        envs, gpus, _ = own.sizes.shape
        used = int(own.instances[:envs]["used_slots"].max())

        def cut(array: NDArray[Any], rows: int) -> NDArray[Any]:
            return array.reshape(envs, rows, -1)[:, :, :used]

        return EngineArrays(
            own.instances,
            own.residues,
            cut(own.slots, gpus),
            cut(own.heaps, 2 * gpus),
            cut(own.places, 2 * gpus),
            own.sizes,
        )

    @staticmethod
    def waiting(state: State, e: int, gpu: int, model: int, most: int) -> Records:
        """The first requests that wait there, at most so many."""
        own = state.service
        found: list[int] = []
        width = own.slots.shape[1] // own.instances.shape[1]
        slot = int(own.instances[e, gpu]["first_waiting"])
        while slot != NONE and len(found) < most and state.gpus[e, gpu]["waiting"] > 0:
            found.append(gpu * width + slot)
            slot = int(own.slots[e, gpu * width + slot]["next"])
        waiting: Records = own.slots[e, found]
        return waiting
