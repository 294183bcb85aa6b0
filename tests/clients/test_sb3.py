"""Stable-Baselines3 and its contrib as their READMEs have them, by the id."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from .needs import needs

needs("stable_baselines3", "sb3_contrib")

from sb3_contrib import MaskablePPO, RecurrentPPO
from sb3_contrib.common.maskable.evaluation import evaluate_policy as evaluate_masked
from sb3_contrib.common.maskable.utils import get_action_masks
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import SubprocVecEnv, VecFrameStack, VecNormalize

from llmroute_env import LLMRouteVectorEnv, Pool
from llmroute_env.sb3 import SB3VecEnv

ID = "llmroute_env:LLMRoute-v0"
SHORT: dict[str, Any] = {"scenario": "overload", "window_s": 0.05}
SMALL: dict[str, Any] = {"n_steps": 32, "batch_size": 32, "seed": 0}
POOLS = (Pool(2, ("opt-125m",)), Pool(2, ("opt-1.3b", "opt-6.7b")))


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [(PPO, SMALL), (A2C, {"seed": 0}), (DQN, {"learning_starts": 50, "seed": 0})],
)
def test_one_environment(algorithm: type[BaseAlgorithm], settings: dict[str, Any]):
    model = algorithm("MlpPolicy", gymnasium.make(ID, **SHORT), **settings).learn(128)
    returns, lengths = evaluate_policy(
        model, Monitor(gymnasium.make(ID, **SHORT)), 2, return_episode_rewards=True
    )
    assert min(returns) > 1.0
    assert len(lengths) == 2


def test_the_name_of_the_id_is_enough():
    assert PPO("MlpPolicy", ID, **SMALL).learn(64).num_timesteps == 64


def test_many_in_one_process_normalised_stacked_and_judged(tmp_path: Path):
    envs = VecNormalize(VecFrameStack(make_vec_env(ID, 2, seed=0, env_kwargs=SHORT), 2))
    judges = VecNormalize(VecFrameStack(make_vec_env(ID, 1, env_kwargs=SHORT), 2), training=False)
    judge = EvalCallback(judges, eval_freq=64, n_eval_episodes=2, log_path=str(tmp_path), verbose=0)
    PPO("MlpPolicy", envs, **SMALL).learn(256, callback=judge)
    assert np.load(tmp_path / "evaluations.npz")["results"].min() > 1.0
    assert envs.obs_rms.count > 256


def test_a_recurrent_policy():
    model = RecurrentPPO("MlpLstmPolicy", gymnasium.make(ID, **SHORT), **SMALL).learn(64)
    state, began = None, np.ones(1, bool)
    env = gymnasium.make(ID, **SHORT)
    seen, _ = env.reset(seed=0)
    over = False
    while not over:
        action, state = model.predict(seen, state=state, episode_start=began)
        seen, _, over, _, info = env.step(action)
        began[:] = False
    assert info["utility_of_peak"] > 0.1


def test_masks_of_one_environment_and_of_many():
    fields = {**SHORT, "action": "gpu-model", "pools": POOLS}
    env = gymnasium.make(ID, **fields)
    model = MaskablePPO("MlpPolicy", env, **SMALL).learn(64)
    seen, _ = env.reset(seed=0)
    masks = get_action_masks(env)
    assert 0 < masks.sum() < masks.size
    for _ in range(20):
        action, _ = model.predict(seen, action_masks=get_action_masks(env))
        assert masks[action]
        seen = env.step(action)[0]
    many = make_vec_env(ID, 2, env_kwargs=fields)
    MaskablePPO("MlpPolicy", many, **SMALL).learn(64)
    assert evaluate_masked(model, Monitor(gymnasium.make(ID, **fields)), 1)[0] > 1.0


@pytest.mark.verify
def test_processes():
    envs = make_vec_env(ID, 2, seed=0, env_kwargs=SHORT, vec_env_cls=SubprocVecEnv)
    PPO("MlpPolicy", envs, **SMALL).learn(128)
    fields = {**SHORT, "action": "gpu-model", "pools": POOLS}
    masked = make_vec_env(ID, 2, env_kwargs=fields, vec_env_cls=SubprocVecEnv)
    MaskablePPO("MlpPolicy", masked, **SMALL).learn(64)
    envs.close()
    masked.close()


def test_the_native_vector_by_our_adapter(tmp_path: Path):
    native = LLMRouteVectorEnv(4, autoreset_mode="SameStep", **SHORT)
    envs = VecNormalize(SB3VecEnv(native))
    model = PPO("MlpPolicy", envs, **SMALL).learn(256)
    model.save(tmp_path / "ppo")
    again = PPO.load(tmp_path / "ppo", envs)
    seen = envs.reset()
    np.testing.assert_array_equal(
        model.predict(seen, deterministic=True)[0], again.predict(seen, deterministic=True)[0]
    )
