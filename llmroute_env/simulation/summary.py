"""What an episode came to, from its counters."""

from __future__ import annotations

from typing import Any

import numpy as np

from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.service.models import SERVICES
from llmroute_env.dynamics.state import Records

OF_FAILURES = ("lost", "retried", "failures")
"""Counts of an episode in which machines can fail."""


def summary(config: EnvConfig, env: np.void, models: Records, classes: Records) -> dict[str, Any]:
    """What an episode came to, from its ENV record, MODEL records and CLASS records.

    Returns:
        requests, in_time, late, rejected, shed, in_flight (counts; with `defer` also deferred, the
        decisions that put a request off; with `failures` also lost, retried, the decisions whose
        request failed and came back, and failures, of machines), utility, peak_utility,
        utility_of_peak, deadline_met (share of requests), goodput_per_s (requests that met all
        their deadlines, per second of the clock), share (routed, by model name) and, where there
        are classes of users, classes (`class_summary`, by name).
    """
    routed, duration_s = max(int(env["routed"]), 1), float(env["now_s"])
    found = {
        "requests": int(env["routed"]),
        **{name: int(env[name]) for name in ("in_time", "late", "rejected", "shed")},
        **({"aborted": int(env["aborted"])} if SERVICES[config.service].reads_lengths else {}),
        "in_flight": int(env["waiting"] + env["running"] + env["away"]),
        **({"deferred": int(env["deferred"])} if config.defer is not None else {}),
        **({name: int(env[name]) for name in OF_FAILURES} if config.failures is not None else {}),
        "utility": float(env["utility"]),
        "peak_utility": float(env["peak_utility"]),
        "utility_of_peak": float(share_of_peak(env["utility"], env["peak_utility"])),
        "deadline_met": int(env["in_time"]) / routed,
        "goodput_per_s": int(env["in_time"]) / duration_s if duration_s > 0 else 0.0,
        "duration_s": duration_s,
        "load": float(env["load"]),
        "share": {
            name: int(count) / routed
            for name, count in zip(config.model_names, models["routed"], strict=True)
        },
    }
    # One class is everybody, whom the dynamics do not count a second time.
    counted = [env] if len(config.classes) == 1 else classes
    if config.classes:
        pairs = zip(config.class_names, counted, strict=True)
        found["classes"] = {name: class_summary(users) for name, users in pairs}
    return found


def share_of_peak(utility: Any, peak: Any) -> Any:
    """Utility as a share of its peak, of numbers or arrays; 0 where the peak is 0."""
    is_any = np.greater(peak, 0.0)
    return np.where(is_any, utility / np.where(is_any, peak, 1.0), 0.0)


def class_summary(users: np.void) -> dict[str, Any]:
    """What one class of users came to, from its CLASS record, or from ENV if it is everybody."""
    return {
        "requests": int(users["routed"]),
        "utility": float(users["utility"]),
        "peak_utility": float(users["peak_utility"]),
        "utility_of_peak": float(share_of_peak(users["utility"], users["peak_utility"])),
        "deadline_met": int(users["in_time"]) / max(int(users["routed"]), 1),
    }
