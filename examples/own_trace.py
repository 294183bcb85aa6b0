"""A trace of your own as the workload.

    python examples/own_trace.py [--quick] [FILE]

Any format that `llmroute trace info FILE` knows. Without a FILE one is made here, of requests that
come in waves: the least that a trace needs is a column `arrival_s`.
"""

import sys
from pathlib import Path

import numpy as np

from llmroute_env import LLMRouteEnv, read_trace


def waves(path: Path) -> Path:
    """Write ten minutes of arrivals, 20 to 180 a second, as a CSV file."""
    rng = np.random.default_rng(0)
    proposed_s = np.sort(rng.uniform(0.0, 600.0, 180 * 600))
    kept = rng.random(len(proposed_s)) < (100 + 80 * np.sin(proposed_s / 10)) / 180
    lines = [f"{arrival_s:.6f}" for arrival_s in proposed_s[kept]]
    path.write_text("\n".join(["arrival_s", *lines]) + "\n")
    return path


def main(quick: bool = False, path: str | None = None) -> dict[str, float]:
    """Play one test episode of the trace with the middle model; returns its score."""
    trace = read_trace(path or waves(Path("waves.csv")))
    print(f"{len(trace.arrival_s):,} requests, {trace.mean_rate_per_s:.1f}/s")
    # At its own rate; `load=2.0` would stretch time to twice what the largest model sustains.
    window_s = 5.0 if quick else 60.0
    env = LLMRouteEnv("stable", workload=trace, load=None, split="test", window_s=window_s)
    env.reset(options={"episode": 0})
    over = False
    while not over:
        _, _, over, _, info = env.step(1)
    print(f"{info['summary']['utility_of_peak']:.3f} of the peak")
    return {"opt-1.3b": float(info["summary"]["utility_of_peak"])}


if __name__ == "__main__":
    named = [word for word in sys.argv[1:] if not word.startswith("-")]
    main("--quick" in sys.argv, *named[:1])
