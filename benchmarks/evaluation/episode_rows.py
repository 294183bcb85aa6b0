"""From an evaluation to its rows: metrics of every episode, and details of the first few."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.evaluation.metrics import by_second, latencies_s, policy_map, windows_near_peak
from benchmarks.evaluation.rows import Details, Figures, GuardFigures, Header, Row, Times
from benchmarks.evaluation.runner import EpisodeResult, Evaluation, Guard
from llmroute_env.simulation.episodes import episode_seeds
from llmroute_env.simulation.summary import share_of_peak

WINDOWS_S = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Lengths of the windows compared with the peak; the second is the one that reports show."""

DETAILED = 4
"""Episodes whose rows also hold their course, second by second, and the map of the decisions."""


def rows_of(
    evaluation: Evaluation,
    header: Header,
    bounds: Mapping[str, Any] | None,
    times: Times,
) -> list[Row]:
    """One row per episode; `bounds` is what suites.cells.Bound wrote.

    Without bounds a row's bound and regret are None.
    """
    rows: list[Row] = []
    for i, seed in enumerate(episode_seeds(evaluation.seed, len(evaluation.episodes))):
        episode = evaluation.episodes[i]
        bound = bounds["bound"][i] if bounds else None
        found = figures(episode, evaluation, bound)
        if evaluation.guard:
            found["guard"] = guard_figures(episode, evaluation.guard, i)
        more: Details = {}
        if bounds and i < DETAILED:
            more = details(episode, evaluation, bounds["by_second"][i])
        which: Row = {**header, "episode": i, "episode_seed": int(seed), **found, **more, **times}
        rows.append(which)
    return rows


def figures(episode: EpisodeResult, evaluation: Evaluation, bound: float | None) -> Figures:
    """What `runner.summarise` tells of an evaluation, for one episode."""
    summary, requests = episode.summary, max(episode.summary["requests"], 1)
    peak = summary["peak_utility"]
    latency_s = latencies_s(episode.completions)
    p50_s, p99_s = np.quantile(latency_s, [0.5, 0.99]).tolist() if len(latency_s) else (None, None)
    found: Figures = {
        "tape_window_s": episode.window_s,
        "requests": summary["requests"],
        "load": summary["load"],
        "duration_s": summary["duration_s"],
        "utility": summary["utility"],
        "peak_utility": summary["peak_utility"],
        "bound": bound,
        "utility_of_peak": summary["utility_of_peak"],
        "bound_of_peak": None if bound is None else float(share_of_peak(bound, peak)),
        "regret": None if bound is None else float(share_of_peak(bound - summary["utility"], peak)),
        "deadline_met": summary["deadline_met"],
        "goodput_per_s": summary["goodput_per_s"],
        "late": summary["late"] / requests,
        "rejected": summary["rejected"] / requests,
        "shed": summary["shed"] / requests,
        "share": summary["share"],
        "windows_at_least": {
            f"{window_s:g}": windows_near_peak(episode.completions, evaluation.config, window_s)
            for window_s in WINDOWS_S
        },
        "p50_s": p50_s,
        "p99_s": p99_s,
    }
    if "lost" in summary:
        found["lost"], found["retried"] = summary["lost"] / requests, summary["retried"]
    if "classes" in summary:
        found["classes"] = summary["classes"]
    return found


def guard_figures(episode: EpisodeResult, guard: Guard, i: int) -> GuardFigures:
    """What the network of a guarded router did in episode `i`."""
    return {
        "heuristic": guard.heuristic,
        "overruled": (episode.overruled or 0) / max(episode.summary["requests"], 1),
        "utility_of_peak": float(guard.utility_of_peak[i]),
    }


def details(episode: EpisodeResult, evaluation: Evaluation, bound: list[float]) -> Details:
    """The course of an episode and how it was routed, small enough for a row."""
    course = by_second(episode.completions, evaluation.config)
    decisions = policy_map(episode.completions, evaluation.config)
    return {
        "by_second": {
            "requests": course["requests"].astype(int).tolist(),
            "utility": course["utility"].round(3).tolist(),
            "peak": course["peak"].round(3).tolist(),
            "bound": np.round(bound, 3).tolist(),
        },
        "policy_map": decisions.tolist(),
    }
