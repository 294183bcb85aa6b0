"""Runs a case in the environments, through what every user has: configuration, actions, infos."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmroute_env.dynamics.state import OUTCOMES, Records
from llmroute_env.env import LLMRouteEnv
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import (
    Deadline,
    GpuSpec,
    ModelSpec,
    Pool,
    Profile,
    RequestClass,
    to_ticks_s,
)
from llmroute_env.vector_env import LLMRouteVectorEnv
from traces.trace import Provenance, Trace

from .service_case import REJECT, Action, Case, Fate


@dataclass(frozen=True)
class Episode:
    """What the environment reported, step by step."""

    completions: list[Records]
    rewards: list[float]
    elapsed_s: list[float]
    terminated: bool
    truncated: bool


def fields_of(case: Case) -> dict[str, Any]:
    """The environment's settings; the episode is the whole trace at its own rate."""
    soft = case.deadline_kind != "hard"
    return {
        "profile": profile_of(case),
        "pools": tuple(
            Pool(pool.gpus, tuple(f"model-{m}" for m in pool.latency_s), f"gpu-{p}")
            for p, pool in enumerate(case.pools)
        ),
        "deadline": Deadline(
            case.deadlines_s[0], case.deadline_kind, case.grace_s if soft else 0.0
        ),
        "dispatcher": case.dispatcher,
        "action": "gpu-model" if takes_pairs(case) else "model",
        "reject": REJECT in case.actions,
        "queue_capacity": case.queue_capacity,
        "max_batch": {
            f"model-{m}": limit for pool in case.pools for m, limit in pool.batch_limit.items()
        },
        "shed_expired": case.shed_expired,
        "deadline_aware_batching": case.deadline_aware_batching,
        "workload": trace_of(case),
        "load": None,
        "split": "all",
        "window_s": math.inf,
        "classes": tuple(
            RequestClass(
                f"class-{number}",
                users.weight,
                Deadline(
                    case.deadlines_s[0],
                    users.deadline_kind,
                    0.0 if users.deadline_kind == "hard" else users.grace_s,
                ),
            )
            for number, users in enumerate(case.classes)
        ),
    }


def profile_of(case: Case) -> Profile:
    """The latency and accuracy tables of the case; weights that fit everywhere."""
    tables = {m: table for pool in case.pools for m, table in pool.latency_s.items()}
    return Profile(
        name="case",
        tasks=tuple(f"task-{t}" for t in range(len(case.accuracy))),
        models=tuple(
            ModelSpec(f"model-{m}", m + 1, 0, 0, tables[m], tuple(row[m] for row in case.accuracy))
            for m in sorted(tables)
        ),
        gpus=tuple(GpuSpec(f"gpu-{p}", 1, q.relative_speed) for p, q in enumerate(case.pools)),
    )


def trace_of(case: Case) -> Trace:
    """The arrivals of the case."""
    requests = len(case.arrivals_s)
    return Trace(
        arrival_s=np.array(case.arrivals_s),
        task=np.array(case.tasks, np.int16),
        prompt_tokens=np.ones(requests, np.int32),
        output_tokens=np.ones(requests, np.int32),
        span_s=case.arrivals_s[-1] + 1.0,
        provenance=Provenance(source="random case", sha256="", operations=()),
        tasks=tuple(f"task-{t}" for t in range(len(case.accuracy))),
    )


def set_classes(simulation: Simulation, case: Case) -> None:
    """Give the requests the classes of the case, where the simulator has drawn some."""
    if case.classes:
        simulation.tape.user_class[:] = case.users


def set_deadline(simulation: Simulation, deadline_s: float) -> None:
    """Give the pending requests this deadline.

    A configuration knows one deadline for each class and task; the simulator keeps one per request
    in flight and copies it from here.
    """
    simulation.state.envs["deadline_s"] = to_ticks_s(deadline_s)


def takes_pairs(case: Case) -> bool:
    """Whether actions are (GPU, model) pairs."""
    return any(isinstance(action, tuple) for action in case.actions)


def number_of(action: Action, case: Case) -> int:
    """The environment's number for an action: pairs count GPU-major, and reject comes last."""
    models = len(case.accuracy[0])
    if isinstance(action, str):
        return models * (sum(pool.gpus for pool in case.pools) if takes_pairs(case) else 1)
    return action[0] * models + action[1] if isinstance(action, tuple) else action


def run_single(case: Case) -> Episode:
    """The case as one episode of the single environment."""
    env = LLMRouteEnv("stable", completions=True, **fields_of(case))
    set_classes(env.simulation, case)
    env.reset(seed=0)
    episode = Episode([], [], [], True, False)
    for action, deadline_s in zip(case.actions, case.deadlines_s, strict=True):
        set_deadline(env.simulation, deadline_s)
        _, reward, terminated, _, info = env.step(number_of(action, case))
        episode.completions.append(env.simulation.completions.copy())
        episode.rewards.append(reward)
        episode.elapsed_s.append(info["elapsed_s"])
    assert terminated, "the last request of the trace ends the episode"
    return episode


def run_cut(case: Case, requests: int) -> Episode:
    """The first requests of the case, in the second of two environments that step together."""
    env = LLMRouteVectorEnv(
        2, "stable", requests, autoreset_mode="SameStep", completions=True, **fields_of(case)
    )
    set_classes(env.simulation, case)
    env.reset(seed=0)
    episode = Episode([], [], [], False, True)
    for action, deadline_s in zip(case.actions[:requests], case.deadlines_s, strict=False):
        set_deadline(env.simulation, deadline_s)
        numbers = np.full(2, number_of(action, case))
        _, rewards, _, truncated, infos = env.step(numbers)
        completions = infos["completions"]
        episode.completions.append(completions[completions["env"] == 1])
        episode.rewards.append(float(rewards[1]))
        episode.elapsed_s.append(float(infos["elapsed_s"][1]))
    assert truncated.all(), "an episode is cut after so many requests"
    return episode


def fates_of(episode: Episode, requests: int) -> list[Fate]:
    """The fate of every request by its number; of those in flight too."""
    fates = [Fate("in flight", -1, -1, 0, None, None, 0.0)] * requests
    for record in np.concatenate(episode.completions):
        assert fates[record["decision"]].outcome == "in flight", "a request ends once"
        fates[record["decision"]] = fate_of(record)
    return fates


def fate_of(record: np.void) -> Fate:
    """One completion record."""
    ran = record["batch"] > 0
    return Fate(
        outcome=OUTCOMES[record["outcome"]].replace("_", " "),
        gpu=int(record["gpu"]),
        model=int(record["model"]),
        batch_size=int(record["batch"]),
        start_s=float(record["start_s"]) if ran else None,
        finish_s=float(record["finish_s"]),
        utility=float(record["utility"]),
    )
