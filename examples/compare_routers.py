"""Compare two routers on the same held-out episodes: scores, and their paired difference.

    python examples/compare_routers.py [--quick] [ROUTER ROUTER]

A router is a heuristic, a model's name, `pretrained:NAME`, a run directory or an .onnx file, as for
`llmroute evaluate`, which also finds the best setting of a heuristic.
"""

import sys

from agents.loading import load
from benchmarks.evaluation.runner import differences, evaluate
from llmroute_env import configure


def main(
    quick: bool = False, names: tuple[str, ...] = ("largest-feasible", "priced-pair")
) -> dict[str, float]:
    """Evaluate the routers `names`; returns their mean scores."""
    config = configure("unpredictable-1", split="test", window_s=2.0 if quick else 30.0)
    episodes = 4 if quick else 32
    results = [evaluate(load(name, config), config, episodes, seed=0) for name in names]
    scores = [result.interval("utility_of_peak") for result in results]
    for name, score in zip(names, scores, strict=True):
        print(f"{name}: {score.text()} of the peak")
    # Episodes differ much more than routers do: only differences on the same ones tell them apart.
    for name, difference in zip(names[1:], differences(results), strict=True):
        print(f"{name} against {names[0]}: {difference.text(4, '+')}")
    return {name: score.mean for name, score in zip(names, scores, strict=True)}


if __name__ == "__main__":
    named = tuple(word for word in sys.argv[1:] if not word.startswith("-"))
    main("--quick" in sys.argv, *([named] if named else []))
