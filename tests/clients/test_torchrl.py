"""TorchRL: environments by the id, in processes, vectors, infos, collectors."""

from functools import partial

import gymnasium
import numpy as np
import pytest

from .needs import needs

needs("torchrl")

import torch
from torchrl.collectors import Collector
from torchrl.envs import GymEnv, ParallelEnv, RewardSum, TransformedEnv, check_env_specs
from torchrl.envs.libs.gym import GymWrapper

ID = "llmroute_env:LLMRoute-v0"
SHORT = {"scenario": "overload", "window_s": 0.05}


def test_rollouts_are_the_episodes():
    env = TransformedEnv(GymEnv(ID, **SHORT), RewardSum())
    check_env_specs(env)
    env.set_seed(3)
    played = env.rollout(10_000)
    assert played["next", "terminated"][-1]
    inner = env.base_env._env.unwrapped
    total = played["next", "episode_reward"][-1].item()
    assert total == pytest.approx(inner.summary()["utility"], rel=1e-4)
    assert len(played) == inner.summary()["requests"]


def test_infos_are_read():
    env = GymEnv(ID, **SHORT).auto_register_info_dict()
    check_env_specs(env)
    played = env.rollout(10_000)["next"]
    assert played["utility_of_peak"][-1].item() == env._env.unwrapped.summary()["utility_of_peak"]
    terms = played["utility_in_time"] + played["utility_late"]
    np.testing.assert_allclose(terms, played["reward"].squeeze(-1), rtol=1e-6)


def test_processes():
    env = ParallelEnv(2, partial(GymEnv, ID, **SHORT))
    check_env_specs(env)
    played = env.rollout(100, break_when_any_done=False)
    assert played["next", "observation"].shape == (2, 100, 16)
    env.close()


def test_vectors_by_number():
    """`num_envs` makes gymnasium's vector of processes."""
    env = GymEnv(ID, num_envs=2, **SHORT)
    check_env_specs(env)
    played = env.rollout(100, break_when_any_done=False)["next"]
    assert played["done"].any(dim=1).all()
    env.close()


@pytest.mark.parametrize("mode", ["SameStep", "Disabled"])
def test_the_native_vector(mode: str):
    env = GymWrapper(gymnasium.make_vec(ID, num_envs=3, autoreset_mode=mode, **SHORT))
    check_env_specs(env)
    played = env.rollout(200, break_when_any_done=False)
    assert played["next", "done"].any(dim=1).all()
    assert torch.isfinite(played["next", "observation"]).all()


def test_a_collector_gathers_decisions():
    collector = Collector(
        partial(GymEnv, ID, categorical_action_encoding=True, **SHORT),
        None,
        frames_per_batch=64,
        total_frames=128,
    )
    batches = list(collector)
    collector.shutdown()
    assert [batch["next", "reward"].shape for batch in batches] == [(64, 1)] * 2
    assert batches[0]["action"].unique().tolist() == [0, 1, 2]
