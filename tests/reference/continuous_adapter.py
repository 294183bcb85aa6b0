"""Plays a case of continuous batching in the environment, through what every user has."""

from __future__ import annotations

import math

import numpy as np

from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.state import OUTCOMES, Records
from llmroute_env.engine_specs import BLOCK_TOKENS, Engine
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import Deadline, GpuSpec, ModelSpec, Pool, Profile, RequestClass
from traces.trace import Provenance, Trace

from .continuous_case import TICK_S, Case, Fate, Step, UserCase

BYTES_PER_TOKEN, WEIGHTS_BYTES, RESERVED_BYTES = 1024, 10**6, 10**5


def config_of(case: Case) -> EnvConfig:
    """The case as a configuration; the episode is the whole trace at its own rate."""
    blocks = {f"model-{pool.model}": pool.blocks for pool in case.pools}
    return EnvConfig(
        profile=profile_of(case),
        pools=tuple(
            Pool(pool.instances, (f"model-{pool.model}",), f"gpu-{number}")
            for number, pool in enumerate(case.pools)
        ),
        deadline=Deadline(math.inf),
        action="gpu-model",
        queue_capacity=case.queue_capacity,
        observation=("task",),
        workload=trace_of(case),
        load=None,
        split="all",
        window_s=math.inf,
        classes=tuple(class_of(number, user) for number, user in enumerate(case.users)),
        service="continuous",
        reject=True,
        engine=Engine(
            gpu_memory_utilization=1.0,
            kv_blocks=blocks if case.kv_blocks_are_set else {},
            prefix_caching=case.prefix_caching,
        ),
    )


def profile_of(case: Case) -> Profile:
    models = {
        pool.model: ModelSpec(
            name=f"model-{pool.model}",
            parameters=pool.model + 1,
            weights_bytes=WEIGHTS_BYTES,
            kv_bytes_per_token=BYTES_PER_TOKEN,
            batch_latency_s=(),
            accuracy=(1.0,),
            step_times={
                f"gpu-{number}": other.times
                for number, other in enumerate(case.pools)
                if other.model == pool.model
            },
            context_tokens=pool.context_tokens,
        )
        for pool in case.pools
    }
    gpus = tuple(
        GpuSpec(
            name=f"gpu-{number}",
            # A little more than the blocks need, but too little for one more.
            memory_bytes=WEIGHTS_BYTES
            + RESERVED_BYTES
            + BLOCK_TOKENS * BYTES_PER_TOKEN * pool.blocks
            + 77 * number,
            reserved_bytes=RESERVED_BYTES,
            max_num_seqs=pool.max_num_seqs,
            max_num_batched_tokens=pool.max_num_batched_tokens,
        )
        for number, pool in enumerate(case.pools)
    )
    return Profile("case", ("task",), tuple(models[m] for m in sorted(models)), gpus)


def class_of(number: int, user: UserCase) -> RequestClass:
    deadline = Deadline(
        deadline_s=user.deadline * TICK_S,
        kind="linear" if user.grace > 0 else "hard",
        grace_s=user.grace * TICK_S,
        ttft_s=user.ttft * TICK_S,
        tpot_s=user.tpot * TICK_S,
        patience_s=user.patience * TICK_S,
    )
    return RequestClass(f"class-{number}", user.weight, deadline)


def trace_of(case: Case) -> Trace:
    arrivals_s = np.array([request.arrival * TICK_S for request in case.requests])
    return Trace(
        arrival_s=arrivals_s,
        task=np.zeros(len(arrivals_s), np.int16),
        prompt_tokens=np.array([r.prompt_tokens for r in case.requests], np.int32),
        output_tokens=np.array([r.output_tokens for r in case.requests], np.int32),
        span_s=float(arrivals_s[-1]) + 1.0,
        provenance=Provenance("random case"),
        tasks=("task",),
    )


def play(case: Case, envs: int = 1) -> list[Step]:
    """What the environment reports of the case, step by step; requests must be conserved.

    The case is that of the last env; in those before, all goes to the first instance.
    """
    simulation = Simulation(config_of(case), envs)
    simulation.tape.user_class[:] = [request.user for request in case.requests]
    simulation.begin(np.zeros(envs, np.uint64))
    steps = []
    for request in case.requests:
        actions = np.zeros(envs, np.int64)
        actions[-1] = number_of(request.action, case)
        simulation.step(actions)
        check_lengths(simulation, case)
        steps.append(step_of(simulation, envs - 1))
    return steps


def number_of(action: tuple[int, int] | None, case: Case) -> int:
    models = len({pool.model for pool in case.pools})
    return len(case.instances) * models if action is None else action[0] * models + action[1]


def step_of(simulation: Simulation, env: int) -> Step:
    check_conserved(simulation.state.envs[env])
    ended = zip(simulation.completions, simulation.completion_tokens, strict=True)
    gpus = simulation.state.gpus[env]
    return Step(
        tuple(fate_of(*one) for one in ended if one[0]["env"] == env),
        tuple(gpus["waiting"].tolist()),
        tuple(gpus["running"].tolist()),
    )


def check_lengths(simulation: Simulation, case: Case) -> None:
    prompts = [case.requests[n].prompt_tokens for n in simulation.completions["decision"]]
    assert simulation.completion_tokens["prompt_tokens"].tolist() == prompts


def check_conserved(env: np.void) -> None:
    states = "in_time", "late", "rejected", "aborted", "waiting", "running"
    assert env["shed"] == 0
    assert env["routed"] == sum(env[state] for state in states)


def fate_of(record: Records, tokens: Records) -> Fate:
    return Fate(
        number=int(record["decision"]),
        outcome=OUTCOMES[record["outcome"]].replace("_", " "),
        instance=int(record["gpu"]),
        start=in_ticks(record["start_s"]),
        first_token=in_ticks(tokens["first_token_s"]),
        finish=in_ticks(record["finish_s"]),
        answered=int(tokens["output_tokens"]),
        preemptions=int(tokens["preemptions"]),
        utility=float(record["utility"]),
    )


def in_ticks(seconds: float) -> int:
    found = float(seconds) / TICK_S
    assert found.is_integer(), f"{seconds} is no whole number of ticks"
    return int(found)
