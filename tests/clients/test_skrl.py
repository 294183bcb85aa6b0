"""skrl: a Double DQN as its documentation has it, on one environment and on the native vector."""

from pathlib import Path
from typing import Any

import gymnasium
import pytest

from .needs import needs

needs("skrl")

import torch
from skrl.agents.torch.ddqn import DDQN, DDQN_CFG
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import DeterministicMixin, Model
from skrl.trainers.torch import SequentialTrainer, SequentialTrainerCfg

ID = "llmroute_env:LLMRoute-v0"
SHORT = {"scenario": "overload", "window_s": 0.05}


class Values(DeterministicMixin, Model):
    """Q-values from a network of one layer."""

    def __init__(self, **spaces: Any) -> None:
        Model.__init__(self, **spaces)
        DeterministicMixin.__init__(self)
        sizes = (self.num_observations, 32, self.num_actions)
        self.net = torch.nn.Sequential(
            torch.nn.Linear(*sizes[:2]), torch.nn.ReLU(), torch.nn.Linear(*sizes[1:])
        )

    def compute(self, inputs: dict[str, Any], role: str) -> tuple[torch.Tensor, dict[str, Any]]:
        return self.net(inputs["observations"]), {}


def made(vector: bool) -> gymnasium.Env | gymnasium.vector.VectorEnv:
    return gymnasium.make_vec(ID, num_envs=2, **SHORT) if vector else gymnasium.make(ID, **SHORT)


@pytest.mark.parametrize("vector", [False, True], ids=["single", "native"])
def test_a_double_dqn_trains(vector: bool, tmp_path: Path):
    env = wrap_env(made(vector))
    assert env.num_envs == 1 + vector
    told = {"observation_space": env.observation_space, "action_space": env.action_space}
    models = {name: Values(**told, device=env.device) for name in ("q_network", "target_q_network")}
    memory = RandomMemory(memory_size=500, num_envs=env.num_envs, device=env.device)
    config = DDQN_CFG(learning_starts=50, batch_size=32)
    config.experiment.directory = str(tmp_path)
    config.experiment.write_interval = 100
    agent = DDQN(models=models, memory=memory, cfg=config, device=env.device, **told)
    before = [p.clone() for p in models["q_network"].parameters()]
    trainer = SequentialTrainer(
        env=env,
        agents=agent,
        cfg=SequentialTrainerCfg(
            timesteps=300, headless=True, disable_progressbar=True, close_environment_at_exit=False
        ),
    )
    trainer.train()
    assert any(
        not torch.equal(old, new)
        for old, new in zip(before, models["q_network"].parameters(), strict=True)
    )
    assert list(tmp_path.rglob("events.out.tfevents*"))
