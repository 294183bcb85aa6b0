"""Ray Tune: a search over a setting of the environment, and over RLlib's own settings."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .needs import needs

needs("ray", "pyarrow", "tensorboardX", "pandas")

import ray
from ray import tune

ID = "llmroute_env:LLMRoute-v0"
SHORT = {"scenario": "overload", "window_s": 0.05}

pytestmark = pytest.mark.verify

# Workers have no tests to import functions from.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False)
    yield
    ray.shutdown()


def one_model(config: dict[str, Any]) -> None:
    """A trial: an episode in which everything goes to one model."""
    import gymnasium

    env = gymnasium.make(ID, load=config["load"], **SHORT)
    env.reset(seed=0)
    over = False
    while not over:
        *_, over, _, info = env.step(config["model"])
    tune.report({"utility_of_peak": float(info["utility_of_peak"])})


def test_trials_of_a_function(tmp_path: Path):
    space = {"model": tune.grid_search([0, 2]), "load": 8.0}
    tuner = tune.Tuner(
        one_model,
        param_space=space,
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    )
    results = tuner.fit()
    assert not results.errors
    best = results.get_best_result("utility_of_peak", "max")
    assert best.config["model"] == 0, "the largest model falls behind at this load"


def test_trials_of_rllib(tmp_path: Path):
    needs("tree", "torch")
    space = {
        "env": ID,
        "env_config": SHORT,
        "num_env_runners": 0,
        "train_batch_size": 200,
        "minibatch_size": 100,
        "num_epochs": 1,
        "lr": tune.grid_search([1e-3, 1e-4]),
    }
    stop = {"training_iteration": 1}
    tuner = tune.Tuner(
        "PPO",
        param_space=space,
        run_config=tune.RunConfig(storage_path=str(tmp_path), stop=stop, verbose=0),
    )
    results = tuner.fit()
    assert not results.errors
    returns = results.get_dataframe()["env_runners/episode_return_mean"]
    assert len(returns) == 2
    assert (returns > 5.0).all()
