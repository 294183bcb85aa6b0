"""A world that is seen late and breaks: what a rule loses there, and what helps.

    python examples/late_and_failing.py [--quick]

`stale-1s` looks at every GPU once a second, in `crash` machines go down, `everything` is all at
once. `reckoned-feasible` adds what it has sent since to what it sees; masks leave out what is
believed to be down.
"""

import sys

from agents.loading import load
from benchmarks.evaluation.runner import evaluate
from llmroute_env import LLMRouteEnv, configure

ROUTERS = ("largest-feasible", "reckoned-feasible")


def main(quick: bool = False) -> dict[str, float]:
    """Two rules in three worlds; returns their mean scores."""
    scores = {}
    for scenario in ("stale-1s", "crash", "everything"):
        config = configure(scenario, split="test", window_s=10.0 if quick else 30.0)
        for name in ROUTERS:
            result = evaluate(load(name, config), config, 2 if quick else 16, seed=0)
            score = scores[f"{scenario} {name}"] = result.interval("utility_of_peak").mean
            print(f"{scenario}, {name}: {score:.3f} of the peak")

    env = LLMRouteEnv("crash", window_s=10.0 if quick else 30.0, action="gpu-model")
    env.reset(seed=0)
    over, fewest = False, env.action_masks().sum()
    while not over:
        mask = env.action_masks()
        fewest = min(fewest, mask.sum())
        _, _, over, _, info = env.step(int(mask.argmax()))
    print(f"at worst {fewest} of {len(mask)} pairs could be taken; lost: {info['summary']['lost']}")
    return scores


if __name__ == "__main__":
    main("--quick" in sys.argv)
