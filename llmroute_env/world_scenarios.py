"""Scenarios of a world that breaks and is seen late, as data, for both service models.

Scrapes are as far apart as those that routers in production read: 50 to 100 ms where a router asks
its engines itself (inference-sim, the data-parallel coordinator of vLLM), seconds to a minute
through a monitoring system (llm-d). Of machines an hour is a minute here, so that an episode sees
some go: one crash an hour is a stress that guides to operation call high, a node is back after
five minutes; the V100s of spot-traces (skypilot-org, "Can't Be Late", NSDI 2024) were up for 39
minutes and down for 23 in the median, with means 3 times as long, and are told of two minutes
before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.features import DEFAULT_FEATURES
from llmroute_env.engine_scenarios import ENGINE_SCENARIOS
from llmroute_env.failure_specs import ExponentialTimes, Failures, LognormalTimes
from llmroute_env.signal_specs import Signals
from llmroute_env.specs import Defer, Pool
from traces.workloads import CountsReplay

CRASH = Failures(ExponentialTimes(60.0), LognormalTimes(5.0, 0.6), warm_up_s=1.0)
SPOT = Failures(
    LognormalTimes(39.0, 1.6), LognormalTimes(23.0, 1.6), notice_s=2.0, warm_up_s=1.0, pools=(1,)
)
"""Of two pools, or more, the second may go."""

OF_SIGNALS = ("age", "sent")
OF_FAILURES = ("tries", "waited")
"""What a router may know beside what it does where all is exact and stays."""


class World(NamedTuple):
    """What differs from a world that stays and is known."""

    tags: str
    summary: str
    features: tuple[str, ...]
    fields: dict[str, Any]


def scraped(interval_s: float) -> Signals:
    """Signals of which a scrape is so old, and a twentieth more until it arrives."""
    return Signals(interval_s, interval_s / 20)


def crashing(up_s: float) -> Failures:
    """Machines that crash after so long in the mean."""
    return replace(CRASH, up=ExponentialTimes(up_s))


def stale(interval_s: float) -> World:
    """A world that is seen by such scrapes."""
    summary = f"every GPU is looked at once in {interval_s:g} s"
    return World("late", summary, OF_SIGNALS, {"signals": scraped(interval_s)})


WORLDS = {
    "stale-100ms": stale(0.1),
    "stale-1s": stale(1.0),
    "stale-10s": stale(10.0),
    "spot": World(
        "failures",
        "the GPUs of the second pool are spot machines, which go and come",
        OF_FAILURES,
        {"failures": SPOT},
    ),
    "crash": World(
        "failures late",
        "machines crash; only a look once a second, or a failed send, shows it",
        (*OF_SIGNALS, *OF_FAILURES),
        {"failures": CRASH, "signals": Signals(1.0, 0.05)},
    ),
    "mixed-gpus": World("mixed", "three kinds of GPUs: H100, A100 and L40S", (), {}),
    "admission": World(
        "reject",
        "one load per episode up to more than can be served; a router may turn requests away",
        (),
        {"reject": True},
    ),
    "everything": World(
        "failures late mixed reject defer",
        "all at once: late, noisy and lost signals, crashes, three kinds, reject and defer",
        (*OF_SIGNALS, *OF_FAILURES),
        {
            "failures": CRASH,
            "signals": Signals(1.0, 0.05, noise=0.2, lost=0.05),
            "reject": True,
            "defer": Defer(0.1, 3),
        },
    ),
}

STATIC: dict[str, Any] = {
    "workload": CountsReplay(),
    "load": 2.5,
    "window_s": 30.0,
    "observation": DEFAULT_FEATURES,
}
"""The arrivals of `unpredictable-1`, for so long that some scrapes and failures happen."""

THREE_KINDS: dict[str, Any] = {
    "profile": "opt-mixed",
    "pools": (Pool(1, (), "h100-80gb"), Pool(2, (), "a100-80gb"), Pool(2, (), "l40s-48gb")),
}
STATIC_OWN: dict[str, dict[str, Any]] = {
    "spot": {"pools": (Pool(2), Pool(2))},
    "mixed-gpus": THREE_KINDS,
    "everything": THREE_KINDS | {"load": (1.5, 4.0)},
}
"""What else a world needs where batches are static."""

TWO_OF_EACH = (
    Pool(2, ("qwen2.5-3b",), "l40s"),
    Pool(2, ("qwen2.5-7b",), "a100-sxm"),
    Pool(2, ("qwen2.5-14b",), "h100-sxm"),
    Pool(1, ("qwen2.5-72b",), "h100-sxm-tp4"),
)
"""The sizes of `chat-and-code`, the smaller ones twice: there is something to balance."""

ONE_SIZE_ON_THREE = (
    Pool(2, ("qwen2.5-7b",), "l40s"),
    Pool(1, ("qwen2.5-7b",), "a100-sxm"),
    Pool(1, ("qwen2.5-7b",), "h100-sxm"),
    Pool(1, ("qwen2.5-32b",), "h100-sxm"),
)

CHATS = ENGINE_SCENARIOS["chat-and-code"][2]
TOKENS: dict[str, Any] = {
    "profile": CHATS.profile,
    "pools": TWO_OF_EACH,
    "service": CHATS.service,
    "observation": CHATS.observation,
    "deadline": CHATS.deadline,
    "classes": CHATS.classes,
    "workload": CHATS.workload,
    "window_s": CHATS.window_s,
    "load": 2.0,
}
"""The requests of `chat-and-code` on more instances."""

TOKENS_OWN: dict[str, dict[str, Any]] = {
    "mixed-gpus": {"pools": ONE_SIZE_ON_THREE},
    "admission": {"load": (2.0, 8.0)},
    "everything": {"pools": ONE_SIZE_ON_THREE, "load": (1.0, 4.0)},
}


def configured(world: World, usual: dict[str, Any], own: dict[str, Any]) -> EnvConfig:
    """A world with one service model; `own` is what else it needs there."""
    features = (*usual["observation"], *world.features)
    return EnvConfig(**usual | world.fields | own | {"observation": features})


# `admission` with static batches is a scenario of its own (scenarios.py).
WORLD_SCENARIOS: dict[str, tuple[str, str, EnvConfig]] = {
    name: (
        f"world hard real {world.tags}",
        f"the arrivals of unpredictable-1; {world.summary}",
        configured(world, STATIC, STATIC_OWN.get(name, {})),
    )
    for name, world in WORLDS.items()
    if name != "admission"
}
WORLD_SCENARIOS |= {
    f"tokens-{name}": (
        f"world tokens real classes {world.tags}",
        f"the requests of chat-and-code; {world.summary}",
        configured(world, TOKENS, TOKENS_OWN.get(name, {})),
    )
    for name, world in WORLDS.items()
}
"""Tags, summary and configuration, by name."""
