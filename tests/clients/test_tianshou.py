"""Tianshou: a DQN as its documentation has it, in dummy and in process vectors, and PPO."""

from functools import partial

import gymnasium
import numpy as np
import pytest

from .needs import needs

needs("tianshou")

from tianshou.algorithm.modelfree.dqn import DQN, DiscreteQLearningPolicy
from tianshou.algorithm.modelfree.ppo import PPO
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, CollectStats, VectorReplayBuffer
from tianshou.env import DummyVectorEnv, SubprocVectorEnv
from tianshou.trainer import OffPolicyTrainerParams, OnPolicyTrainerParams
from tianshou.utils.net.common import Net
from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic

ID = "llmroute_env:LLMRoute-v0"
SHORT = {"scenario": "overload", "window_s": 0.05}
made = partial(gymnasium.make, ID, **SHORT)


def dqn(env: gymnasium.Env) -> DQN:
    net = Net(state_shape=env.observation_space.shape, action_shape=3, hidden_sizes=[32])
    policy = DiscreteQLearningPolicy(model=net, action_space=env.action_space, eps_training=0.5)
    return DQN(policy=policy, optim=AdamOptimizerFactory(1e-3), target_update_freq=50)


@pytest.mark.parametrize("vector", [DummyVectorEnv, SubprocVectorEnv])
def test_a_dqn_learns_from_what_is_collected(vector: type[DummyVectorEnv]):
    envs, judges = vector([made] * 2), vector([made] * 2)
    algorithm = dqn(made())
    collector = Collector[CollectStats](algorithm, envs, VectorReplayBuffer(2000, 2))
    judge = Collector[CollectStats](algorithm, judges)
    params = OffPolicyTrainerParams(
        training_collector=collector,
        test_collector=judge,
        max_epochs=2,
        epoch_num_steps=200,
        collection_step_num_env_steps=50,
        test_step_num_episodes=2,
        batch_size=32,
        update_step_num_gradient_steps_per_sample=0.1,
        show_progress=False,
    )
    result = algorithm.run_training(params)
    assert result.update_step > 0
    assert result.best_score > 5.0
    envs.close()
    judges.close()


def test_what_is_kept_of_an_episode_is_the_episode():
    buffer = VectorReplayBuffer(10_000, 1)
    collector = Collector[CollectStats](dqn(made()), DummyVectorEnv([made]), buffer)
    found = collector.collect(n_episode=1, reset_before_collect=True)
    kept = buffer.info[: len(buffer)]
    assert len(buffer) == found.lens[0] == kept.summary.requests[-1]
    assert found.returns[0] == pytest.approx(kept.summary.utility[-1])
    np.testing.assert_allclose(kept.utility_in_time + kept.utility_late, buffer.rew[: len(buffer)])
    assert kept.utility_of_peak[-1] == kept.summary.utility_of_peak[-1] > 0.0


def test_ppo_learns():
    env = made()
    policy = DiscreteActorPolicy(
        actor=DiscreteActor(
            preprocess_net=Net(state_shape=env.observation_space.shape, hidden_sizes=[32]),
            action_shape=3,
        ),
        action_space=env.action_space,
    )
    critic = DiscreteCritic(
        preprocess_net=Net(state_shape=env.observation_space.shape, hidden_sizes=[32])
    )
    algorithm = PPO(policy=policy, critic=critic, optim=AdamOptimizerFactory(1e-3))
    envs = DummyVectorEnv([made] * 2)
    params = OnPolicyTrainerParams(
        training_collector=Collector[CollectStats](algorithm, envs, VectorReplayBuffer(500, 2)),
        max_epochs=1,
        epoch_num_steps=200,
        collection_step_num_env_steps=100,
        test_step_num_episodes=2,
        test_collector=Collector[CollectStats](algorithm, DummyVectorEnv([made] * 2)),
        batch_size=50,
        show_progress=False,
    )
    result = algorithm.run_training(params)
    assert result.update_step > 0
    assert result.best_score > 5.0
