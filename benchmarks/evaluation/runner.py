"""Runs an agent on paired episodes: episode i of seed K is the same arrivals for every agent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.base import Agent, for_agent
from agents.compiled.guards import heuristic_name, heuristic_of
from agents.compiled.policies import GUARDED, RunsCompiled, episode_scores, walk_all
from agents.heuristics.lookahead import SeesState
from benchmarks.evaluation.intervals import Interval, independent_windows
from benchmarks.evaluation.metrics import (
    THRESHOLDS,
    WINDOW_S,
    WINDOWS_S,
    latencies_s,
    windows_near_peak,
)
from benchmarks.evaluation.stats import bootstrap_mean, paired_difference
from benchmarks.evaluation.windows import tape_windows_s
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.state import COMES_BACK, COMPLETION, Records, allocate_log
from llmroute_env.dynamics.stepping import DISABLED
from llmroute_env.simulation.episodes import episode_seeds
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import require

SIDE_BY_SIDE = 32
"""Episodes that run together; bounds the memory of their completions."""


@dataclass(frozen=True)
class EpisodeResult:
    """One episode: its summary (simulation.summary) and its completions by decision.

    `window_s` is where on the tape it begins and ends, in seconds of the split's trace.
    `overruled` is in how many decisions a guarded router left its heuristic.
    """

    summary: dict[str, Any]
    completions: Records
    window_s: tuple[float, float]
    overruled: int | None = None


@dataclass(frozen=True)
class Guard:
    """The heuristic of a guarded router: its name, and what it earns alone in each episode."""

    heuristic: str
    utility_of_peak: NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """What an agent did on N episodes."""

    agent: str
    config: EnvConfig
    seed: int
    episodes: tuple[EpisodeResult, ...]
    guard: Guard | None = None

    def values(self, name: str) -> NDArray[np.float64]:
        """Entry `name` of every episode's summary, shape (N,)."""
        return np.array([episode.summary[name] for episode in self.episodes], np.float64)

    def interval(self, name: str) -> Interval:
        """Mean of a summary entry over the episodes, with its interval."""
        rng = np.random.default_rng(self.seed)
        return bootstrap_mean(self.values(name), rng, self.windows_s)

    @property
    def windows_s(self) -> NDArray[np.float64]:
        """Begin and end of every episode on the tape, shape (N, 2)."""
        return np.array([episode.window_s for episode in self.episodes])


def check_episodes(episodes: int, seed: int) -> None:
    """Raise a ConfigError unless there are so many episodes of that seed."""
    require(episodes >= 1, "episodes", episodes, ">= 1")
    require(seed >= 0, "seed", seed, ">= 0")


def evaluate(agent: Agent, config: EnvConfig, episodes: int, seed: int) -> Evaluation:
    """Run `agent` on `episodes` episodes of `config`, with what the agent reads and decides.

    Raises:
        ConfigError: episodes or seed out of range.
    """
    check_episodes(episodes, seed)
    config = for_agent(config, agent)
    seeds = episode_seeds(seed, episodes)
    results: list[EpisodeResult] = []
    for start in range(0, episodes, SIDE_BY_SIDE):
        results += run_batch(agent, config, seeds[start : start + SIDE_BY_SIDE])
    return Evaluation(agent.name, config, seed, tuple(results), guard_of(agent, config, seeds))


def guard_of(agent: Agent, config: EnvConfig, seeds: NDArray[np.uint64]) -> Guard | None:
    """The heuristic that guards a router, alone on the same episodes; None without one."""
    policy = agent.compiled(config) if isinstance(agent, RunsCompiled) else None
    if policy is None or policy.kind != GUARDED:
        return None
    parts = [seeds[i : i + SIDE_BY_SIDE] for i in range(0, len(seeds), SIDE_BY_SIDE)]
    scores = [episode_scores(heuristic_of(policy), config, part) for part in parts]
    return Guard(heuristic_name(policy), np.concatenate(scores))


def run_batch(
    agent: Agent, config: EnvConfig, seeds: NDArray[np.uint64]
) -> Iterator[EpisodeResult]:
    """Run one episode per seed, side by side, to their ends."""
    simulation = Simulation(config, len(seeds), DISABLED)
    simulation.begin(seeds)
    windows_s = tape_windows_s(simulation).tolist()
    if isinstance(agent, SeesState):
        agent.attach(simulation)
    agent.begin(len(seeds), np.random.default_rng(seeds))
    overruled = None
    if isinstance(agent, RunsCompiled):
        completions, overruled = run_compiled(agent, simulation)
    else:
        completions = run_stepwise(agent, simulation)
    for e in range(len(seeds)):
        own = completions[completions["env"] == e]
        own = own[~np.isin(own["outcome"], COMES_BACK)]
        yield EpisodeResult(
            simulation.summary(e),
            own[np.argsort(own["decision"])],
            (windows_s[e][0], windows_s[e][1]),
            None if overruled is None else int(overruled[e]),
        )


def run_compiled(
    agent: RunsCompiled, simulation: Simulation
) -> tuple[Records, NDArray[np.int64] | None]:
    """Run the episodes by compiled code, many times as fast; they and the router have begun.

    Returns their completions, and of a guarded router the decisions in which each overruled it.
    """
    envs = simulation.state.envs
    log = allocate_log(int((envs["end"] - envs["first"]).sum()) * simulation.config.most_decisions)
    policy = agent.compiled(simulation.config)
    overruled = np.zeros(len(envs), np.int64)
    walk_all(policy, simulation.world._replace(log=log), overruled)
    ended = log.records[: log.used[0]]
    return ended, overruled if policy.kind == GUARDED else None


def run_stepwise(agent: Agent, simulation: Simulation) -> Records:
    """Run the episodes decision by decision in Python, likewise; their completions."""
    parts: list[bytes] = []
    while not simulation.outputs.terminated.all():
        simulation.step(agent.act(simulation.outputs.observations))
        parts.append(simulation.completions.tobytes())
    # Joined as bytes: concatenating arrays of records compares their types one by one.
    return np.frombuffer(b"".join(parts), COMPLETION)


def summarise(evaluation: Evaluation, scenario: str) -> dict[str, Any]:
    """The evaluation as one JSON-ready object: means over episodes, quantiles over requests."""
    runs = evaluation.episodes
    windows = {f"{length_s:g}": near_peak(evaluation, length_s) for length_s in WINDOWS_S}
    latency_s = np.concatenate([latencies_s(r.completions) for r in runs])
    p50_s, p99_s = np.quantile(latency_s, [0.5, 0.99]) if len(latency_s) else (None, None)
    requests = int(evaluation.values("requests").sum())
    guard = {} if evaluation.guard is None else {"guard": guard_summary(evaluation, requests)}
    return {
        "agent": evaluation.agent,
        "scenario": scenario,
        **environment_of(evaluation.config),
        "episodes": len(runs),
        "seed": evaluation.seed,
        "requests": requests,
        "utility_of_peak": evaluation.interval("utility_of_peak").to_json(),
        "independent_episodes": independent_windows(evaluation.windows_s),
        "deadline_met": float(evaluation.values("in_time").sum() / requests),
        "goodput_per_s": float(
            evaluation.values("in_time").sum() / evaluation.values("duration_s").sum()
        ),
        "rejected": float(evaluation.values("rejected").sum() / requests),
        "shed": float(evaluation.values("shed").sum() / requests),
        **of_failures(evaluation, requests),
        "share": _mean_share(evaluation),
        "windows_at_least": windows[f"{WINDOW_S:g}"],
        "windows": windows,
        "p50_s": None if p50_s is None else float(p50_s),
        "p99_s": None if p99_s is None else float(p99_s),
        **guard,
    }


def environment_of(config: EnvConfig) -> dict[str, Any]:
    """What routers were evaluated on, beside the scenario's name: what is most often changed."""
    deadline = config.deadline
    due = {"deadline_s": deadline.deadline_s, "ttft_s": deadline.ttft_s, "tpot_s": deadline.tpot_s}
    return {
        "split": config.split,
        "load": config.load,
        "profile": config.resolved_profile.name,
        "deadline": deadline.kind,
        **{name: seconds for name, seconds in due.items() if np.isfinite(seconds)},
    }


def of_failures(evaluation: Evaluation, requests: int) -> dict[str, float | int]:
    """Share of the requests that were lost with machines, and how many were sent again."""
    if evaluation.config.failures is None:
        return {}
    lost, retried = (evaluation.values(name).sum() for name in ("lost", "retried"))
    return {"lost": float(lost / requests), "retried": int(retried)}


def guard_summary(evaluation: Evaluation, requests: int) -> dict[str, Any]:
    """How often the network of a guarded router overruled its heuristic, and what that earned."""
    assert evaluation.guard is not None
    rng = np.random.default_rng(evaluation.seed)
    alone = evaluation.guard.utility_of_peak
    ours, windows_s = evaluation.values("utility_of_peak"), evaluation.windows_s
    return {
        "heuristic": evaluation.guard.heuristic,
        "overruled": sum(episode.overruled or 0 for episode in evaluation.episodes) / requests,
        "gain": paired_difference(ours, alone, rng, windows_s).to_json(),
    }


def near_peak(evaluation: Evaluation, window_s: float) -> dict[str, float]:
    """Share of the windows of all episodes that reach each of THRESHOLDS."""
    config = evaluation.config
    counts = [windows_near_peak(r.completions, config, window_s) for r in evaluation.episodes]
    whole = max(sum(count["windows"] for count in counts), 1)
    return {str(t): sum(count[str(t)] for count in counts) / whole for t in THRESHOLDS}


def differences(evaluations: Sequence[Evaluation]) -> list[Interval]:
    """Utility of peak of each evaluation minus that of the first, paired by episode."""
    first, *others = evaluations
    rng = np.random.default_rng(first.seed)
    theirs, windows_s = first.values("utility_of_peak"), first.windows_s
    return [
        paired_difference(own.values("utility_of_peak"), theirs, rng, windows_s) for own in others
    ]


def _mean_share(evaluation: Evaluation) -> dict[str, float]:
    routed = dict.fromkeys(evaluation.config.model_names, 0.0)
    for episode in evaluation.episodes:
        for name, share in episode.summary["share"].items():
            routed[name] += share * episode.summary["requests"]
    total = evaluation.values("requests").sum()
    return {name: float(count / total) for name, count in routed.items()}
