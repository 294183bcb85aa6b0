"""Stable-Baselines3's models from our settings, and from a model the network that it acts by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sb3_contrib import QRDQN, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import LinearSchedule
from torch import nn

from agents.learners.sb3.memory import states_of
from agents.learners.sb3.replay_buffer import CreditingReplayBuffer
from agents.learners.sb3.rollout_buffer import (
    CreditingRolloutBuffer,
    Preferring,
    RecurrentCreditingBuffer,
)
from agents.routers.logits import preferring, router_of_logits
from agents.routers.networks import QNetwork
from agents.routers.recurrent import RecurrentNetwork, forgotten
from agents.settings.sb3 import (
    OffPolicySettings,
    OnPolicySettings,
    RecurrentSettings,
    SB3Settings,
)
from llmroute_env.sb3 import SB3VecEnv

Model = OffPolicyAlgorithm | OnPolicyAlgorithm


def build(algorithm: str, settings: Any, venv: SB3VecEnv, seed: int) -> Model:
    """SB3's model for `algorithm`, on the CPU, before its first step."""
    return BUILDERS[algorithm](settings, venv, seed)


def shared(s: SB3Settings, seed: int) -> dict[str, Any]:
    """The arguments that mean the same to all of SB3's algorithms."""
    return {
        "policy": "MlpPolicy",
        "learning_rate": LinearSchedule(s.learning_rate, s.learning_rate_end, 1.0),
        "gamma": s.discount_per_decision,
        "max_grad_norm": s.largest_gradient,
        "seed": seed,
        "device": "cpu",
    }


def build_off_policy(
    kind: Callable[..., OffPolicyAlgorithm],
    s: OffPolicySettings,
    venv: SB3VecEnv,
    seed: int,
    **architecture: Any,
) -> OffPolicyAlgorithm:
    """DQN or QR-DQN."""
    return kind(
        env=venv,
        buffer_size=s.replay_capacity,
        learning_starts=s.warmup_decisions,
        batch_size=s.batch_size,
        tau=s.target_rate,
        train_freq=s.collect_steps,
        gradient_steps=s.updates_per_round,
        replay_buffer_class=CreditingReplayBuffer,
        replay_buffer_kwargs={"venv": venv, "settings": s, "seed": seed},
        target_update_interval=s.target_period,
        exploration_fraction=s.exploration_fraction,
        exploration_initial_eps=s.exploration_start,
        exploration_final_eps=s.exploration_end,
        policy_kwargs={"net_arch": list(s.hidden), "activation_fn": nn.ReLU, **architecture},
        **shared(s, seed),
    )


def build_on_policy(
    kind: Callable[..., OnPolicyAlgorithm],
    s: OnPolicySettings,
    venv: SB3VecEnv,
    seed: int,
    **own: Any,
) -> OnPolicyAlgorithm:
    """PPO, MaskablePPO or A2C; `own` holds the arguments that the others lack."""
    return kind(
        env=venv,
        rollout_buffer_class=CreditingRolloutBuffer,
        rollout_buffer_kwargs={"venv": venv, "settings": s, "seed": seed},
        policy_kwargs=actor_and_critic(s),
        **on_policy(s),
        **shared(s, seed),
        **own,
    )


def build_recurrent(s: RecurrentSettings, venv: SB3VecEnv, seed: int) -> RecurrentPPO:
    """RecurrentPPO; critic and policy have an LSTM each, as usual there."""
    lstm = {"lstm_hidden_size": s.lstm_width, "n_lstm_layers": s.lstm_layers}
    model = RecurrentPPO(
        env=venv,
        policy_kwargs=actor_and_critic(s) | lstm,
        **on_policy(s),
        **(shared(s, seed) | {"policy": "MlpLstmPolicy"}),
        **proximal(s),
    )
    # RecurrentPPO takes no class of buffers to make its own of.
    model.rollout_buffer = RecurrentCreditingBuffer(
        s.collect_steps,
        model.observation_space,
        model.action_space,
        (s.collect_steps, s.lstm_layers, s.envs, s.lstm_width),
        model.device,
        gae_lambda=s.trace_decay,
        gamma=s.discount_per_decision,
        n_envs=s.envs,
        venv=venv,
        settings=s,
        seed=seed,
    )
    return model


def on_policy(s: OnPolicySettings) -> dict[str, Any]:
    """The arguments that all on-policy algorithms have."""
    return {
        "n_steps": s.collect_steps,
        "gae_lambda": s.trace_decay,
        "ent_coef": s.entropy_weight,
        "vf_coef": s.value_weight,
    }


def actor_and_critic(s: OnPolicySettings) -> dict[str, Any]:
    """Their networks."""
    layers = {"pi": list(s.hidden), "vf": list(s.hidden)}
    return {"net_arch": layers, "activation_fn": nn.ReLU}


def proximal(s: OnPolicySettings) -> dict[str, Any]:
    """The arguments that PPO, MaskablePPO and RecurrentPPO have, but not A2C."""
    batch_size = min(s.batch_size, s.envs * s.collect_steps)
    return {"batch_size": batch_size, "n_epochs": s.uses, "clip_range": s.clip_range}


BUILDERS: dict[str, Callable[[Any, SB3VecEnv, int], Model]] = {
    "sb3-dqn": lambda s, venv, seed: build_off_policy(DQN, s, venv, seed),
    "qrdqn": lambda s, venv, seed: build_off_policy(QRDQN, s, venv, seed, n_quantiles=s.quantiles),
    "ppo": lambda s, venv, seed: build_on_policy(PPO, s, venv, seed, **proximal(s)),
    "a2c": lambda s, venv, seed: build_on_policy(
        A2C, s, venv, seed, use_rms_prop=False, normalize_advantage=True
    ),
    "maskable-ppo": lambda s, venv, seed: build_on_policy(
        MaskablePPO, s, venv, seed, **proximal(s)
    ),
    "recurrent-ppo": build_recurrent,
}


def router_of(model: Model, hosted: NDArray[np.bool_]) -> QNetwork | RecurrentNetwork:
    """The network whose largest output is the policy's deterministic action.

    `hosted`, shape (actions,), is False for actions that lead to no GPU with the model.
    """
    if isinstance(model, RecurrentPPO):
        return recurrent_of(model, hosted)
    return perceptron_of(model, hosted)


def perceptron_of(model: Model, hosted: NDArray[np.bool_]) -> QNetwork:
    """The same of a policy that does not remember."""
    return router_of_logits(linear_layers(model), hosted)


def recurrent_of(model: RecurrentPPO, hosted: NDArray[np.bool_]) -> RecurrentNetwork:
    """The same of one that does."""
    lstm, layers = cast(nn.LSTM, model.policy.lstm_actor), linear_layers(model)
    hidden = tuple(layer.out_features for layer in layers[:-1])
    size = lstm.input_size, lstm.hidden_size, lstm.num_layers
    router = RecurrentNetwork(*size, hidden, len(hosted))
    tensors = [*lstm.state_dict().values(), *preferring(layers, hosted)]
    router.load_state_dict(dict(zip(router.state_dict(), tensors, strict=True)))
    return router


def linear_layers(model: Model) -> list[nn.Linear]:
    """The layers between an observation, or the LSTM, and the preferences of the policy."""
    policy: Any = model.policy
    if isinstance(model, DQN):
        parts = [policy.q_net]
    elif isinstance(model, QRDQN):
        parts = [policy.quantile_net]
    else:
        parts = [policy.mlp_extractor.policy_net, policy.action_net]
    return [layer for part in parts for layer in part.modules() if isinstance(layer, nn.Linear)]


def preferences_of(model: Model, hosted: NDArray[np.bool_]) -> Preferring:
    """The logits of the policy as it is, with what it remembers now; `model` stays as it is."""
    if not isinstance(model, RecurrentPPO):
        perceptron = perceptron_of(model, hosted)
        return lambda observations, begun: perceptron.preferences(observations)
    network = recurrent_of(model, hosted)
    hidden, cell = states_of(model).pi
    memory = hidden, cell

    def preferences(
        observations: NDArray[np.float32], begun: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        nonlocal memory
        logits, memory = network.preferences(observations, forgotten(memory, begun))
        return logits

    return preferences
