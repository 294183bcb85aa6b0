"""Score routers side by side on a Ray cluster, one task for each router and scenario.

    python examples/ray_cluster.py [--quick] [ADDRESS]

Without the address of a running cluster, on whose machines the package must be installed, one of
this machine alone is started and ended; it listens on the machine's network addresses, as Ray does.
`llmroute bench --runner ray` shares a suite in the same way. Needs the extra `ray`.
"""

import sys

import ray

from agents.loading import load
from benchmarks.evaluation.runner import evaluate
from llmroute_env import configure

ROUTERS = ("largest-feasible", "priced-pair", "opt-1.3b")
SCENARIOS = ("unpredictable-1", "overload")


@ray.remote(num_cpus=1)
def score(name: str, scenario: str, window_s: float, episodes: int) -> float:
    """Mean utility of peak of a router, on the same episodes whoever runs this."""
    config = configure(scenario, split="test", window_s=window_s)
    found = evaluate(load(name, config), config, episodes, seed=0)
    return found.interval("utility_of_peak").mean


def main(quick: bool = False, address: str | None = None) -> dict[str, float]:
    """Score every router in every scenario; returns the scores by name and scenario."""
    cores = None if address else 2
    ray.init(address, num_cpus=cores, include_dashboard=False, log_to_driver=False)
    window_s, episodes = (2.0, 2) if quick else (30.0, 32)
    try:
        tasks = {
            f"{name} in {scenario}": score.remote(name, scenario, window_s, episodes)
            for scenario in SCENARIOS
            for name in ROUTERS
        }
        scores = dict(zip(tasks, ray.get(list(tasks.values())), strict=True))
    finally:
        ray.shutdown()
    for told, value in scores.items():
        print(f"{told}: {value:.3f} of the peak")
    return scores


if __name__ == "__main__":
    addresses = [word for word in sys.argv[1:] if not word.startswith("-")]
    main("--quick" in sys.argv, *addresses[:1])
