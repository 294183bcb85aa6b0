"""RLlib: PPO and DQN on the new API stack and PPO on the old one, by the id alone.

RLlib 2.60.0 does not build its DQN on the old stack, for CartPole-v1 neither.
"""

import sys
from collections.abc import Iterator
from typing import Any

import gymnasium
import pytest

from llmroute_env import LLMRouteEnv

from .needs import needs

needs("ray", "tree", "torch")

import ray
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.algorithms.ppo import PPOConfig

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


def note_utility(*, episode: Any, metrics_logger: Any, **_: Any) -> None:
    """What the episode's summary says, beside what RLlib adds up."""
    utility = episode.get_infos(-1)["summary"]["utility"]
    metrics_logger.log_value("utility_max", utility, reduce="max", window=100)


def config_of(name: str, new: bool, environment: Any = ID) -> AlgorithmConfig:
    """As RLlib's documentation has it, small; with one worker process of two environments."""
    config = {"PPO": PPOConfig, "DQN": DQNConfig}[name]()
    config.api_stack(enable_rl_module_and_learner=new, enable_env_runner_and_connector_v2=new)
    config.environment(environment, env_config=SHORT)
    config.env_runners(num_env_runners=1, num_envs_per_env_runner=2)
    if name == "PPO":
        return config.training(train_batch_size=400, minibatch_size=100, num_epochs=2)
    config.training(train_batch_size=32, num_steps_sampled_before_learning_starts=100)
    return config.reporting(min_sample_timesteps_per_iteration=400, min_time_s_per_iteration=0)


def trained(config: AlgorithmConfig) -> dict[str, Any]:
    """The results of the second iteration."""
    algorithm = config.build_algo()
    algorithm.train()
    found: dict[str, Any] = algorithm.train()["env_runners"]
    algorithm.stop()
    return found


@pytest.mark.parametrize("name", ["PPO", "DQN"])
def test_the_new_stack(name: str):
    found = trained(config_of(name, new=True).callbacks(on_episode_end=note_utility))
    assert found["num_episodes"] > 0
    assert found["episode_return_mean"] > 5.0
    assert found["episode_return_max"] == pytest.approx(found["utility_max"], rel=1e-5)


def test_the_old_stack():
    found = trained(config_of("PPO", new=False))
    assert found["num_episodes"] > 0
    assert found["episode_return_mean"] > 5.0


@pytest.mark.parametrize("mode", ["ASYNC", "VECTOR_ENTRY_POINT"])
def test_other_vectors(mode: str):
    config = config_of("PPO", new=True).callbacks(on_episode_end=note_utility)
    config.env_runners(gym_env_vectorize_mode=gymnasium.VectorizeMode[mode])
    found = trained(config)
    assert found["num_episodes"] > 0
    assert found["episode_return_max"] == pytest.approx(found["utility_max"], rel=1e-5)


def test_the_class_instead_of_the_id():
    assert trained(config_of("PPO", new=True, environment=LLMRouteEnv))["num_episodes"] > 0
