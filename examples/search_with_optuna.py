"""Search with Optuna: here the setting of a heuristic, on validation episodes.

    python examples/search_with_optuna.py [--quick]

`llmroute tune ALGORITHM` searches the settings of a learner, one training a trial, and goes on
where it was interrupted. Needs the extra `tune`.
"""

import sys

import optuna

from agents.heuristics.table import make
from benchmarks.evaluation.runner import evaluate
from llmroute_env import configure


def main(quick: bool = False) -> dict[str, float]:
    """Find the best price of a GPU's time; returns the scores on validation and test episodes."""
    window_s, episodes = (2.0, 2) if quick else (30.0, 16)

    def score(price: float, split: str) -> float:
        config = configure("unpredictable-1", split=split, window_s=window_s)
        router = make("priced-pair", config, price)
        return evaluate(router, config, episodes, seed=0).interval("utility_of_peak").mean

    def objective(trial: optuna.Trial) -> float:
        return score(trial.suggest_float("price", 1e-3, 0.1, log=True), "validation")

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=4 if quick else 30)
    found = float(study.best_params["price"])
    scores = {"validation": study.best_value, "test": score(found, "test")}
    print(
        f"price {found:.4f}: {scores['validation']:.3f} of the peak, on test {scores['test']:.3f}"
    )
    return scores


if __name__ == "__main__":
    main("--quick" in sys.argv)
