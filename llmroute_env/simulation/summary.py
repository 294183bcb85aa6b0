"""What an episode came to, from its counters."""

from __future__ import annotations

from typing import Any

import numpy as np

from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.state import Records


def summary(config: EnvConfig, env: np.void, models: Records, classes: Records) -> dict[str, Any]:
    """What an episode came to, from its ENV record, MODEL records and CLASS records.

    Returns:
        requests, in_time, late, rejected, shed, in_flight (counts), utility, peak_utility,
        utility_of_peak, deadline_met (share of requests), share (routed, by model name) and, where
        there are classes of users, classes (`class_summary`, by name).
    """
    routed = max(int(env["routed"]), 1)
    found = {
        "requests": int(env["routed"]),
        **{name: int(env[name]) for name in ("in_time", "late", "rejected", "shed")},
        "in_flight": int(env["waiting"] + env["running"]),
        "utility": float(env["utility"]),
        "peak_utility": float(env["peak_utility"]),
        "utility_of_peak": float(env["utility"] / max(env["peak_utility"], 1e-12)),
        "deadline_met": int(env["in_time"]) / routed,
        "duration_s": float(env["now_s"]),
        "load": float(env["load"]),
        "share": {
            name: int(count) / routed
            for name, count in zip(config.model_names, models["routed"], strict=True)
        },
    }
    if config.classes:
        pairs = zip(config.class_names, classes, strict=True)
        found["classes"] = {name: class_summary(users) for name, users in pairs}
    return found


def class_summary(users: np.void) -> dict[str, Any]:
    """What one class of users came to, from its CLASS record."""
    return {
        "requests": int(users["routed"]),
        "utility": float(users["utility"]),
        "peak_utility": float(users["peak_utility"]),
        "utility_of_peak": float(users["utility"] / max(users["peak_utility"], 1e-12)),
        "deadline_met": int(users["in_time"]) / max(int(users["routed"]), 1),
    }
