"""A latency profile of your own: what was measured on your GPUs, in a file.

    python examples/own_profile.py [--quick]

`llmroute latency --out mine.toml` measures your GPU and writes such a file; here one is written by
hand that changes two models of a known profile. A batch of b takes base_s + b * per_request_s.
"""

import sys
from pathlib import Path

from agents.loading import load
from benchmarks.evaluation.runner import evaluate
from llmroute_env import configure

MINE = """
name = "my-gpus"
extends = "opt-a100"

[[gpus]]
name = "my-gpu"
memory_bytes = 48_000_000_000
relative_speed = 1.0
source = "the label on it"

[[models]]
name = "opt-1.3b"
base_s = 0.030
per_request_s = 0.0010
latency_source = "measured by me"

[[models]]
name = "opt-6.7b"
base_s = 0.080
per_request_s = 0.0060
latency_source = "measured by me"
"""


def main(quick: bool = False) -> dict[str, float]:
    """One heuristic on the known profile and on one's own; returns its mean scores."""
    Path("my-gpus.toml").write_text(MINE)
    scores = {}
    for profile in ("opt-a100", "my-gpus.toml"):
        window_s = 2.0 if quick else 30.0
        config = configure("stable", profile=profile, load=1.0, split="test", window_s=window_s)
        result = evaluate(load("largest-feasible", config), config, 2 if quick else 16, seed=0)
        score = scores[profile] = result.interval("utility_of_peak").mean
        print(f"{profile}: load 1 is {config.load_1_per_s:.0f} requests/s, {score:.3f} of the peak")
    return scores


if __name__ == "__main__":
    main("--quick" in sys.argv)
