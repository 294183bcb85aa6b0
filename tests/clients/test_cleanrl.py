"""CleanRL's recipes, in few lines of our own: its DQN and its PPO over gymnasium's vectors.

The recipes are what its `dqn.py` and `ppo.py` do with an environment; no code of theirs is here.
"""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest

from .needs import needs

needs("torch")

import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics
from torch import nn
from torch.distributions import Categorical

ID = "llmroute_env:LLMRoute-v0"
SHORT = {"scenario": "overload", "window_s": 0.05}


def maker(seed: int, **fields: Any) -> Callable[[], gymnasium.Env]:
    def make() -> gymnasium.Env:
        env = RecordEpisodeStatistics(gymnasium.make(ID, **fields))
        env.action_space.seed(seed)
        return env

    return make


def vector(envs: int, mode: AutoresetMode) -> VectorEnv:
    makers = [maker(seed, **SHORT) for seed in range(envs)]
    return SyncVectorEnv(makers, autoreset_mode=mode)


def layers(envs: VectorEnv, outputs: int) -> nn.Sequential:
    columns = int(np.prod(envs.single_observation_space.shape))
    return nn.Sequential(nn.Linear(columns, 64), nn.Tanh(), nn.Linear(64, outputs))


def weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()]).clone()


def noted(infos: dict[str, Any]) -> list[tuple[float, float]]:
    """Of episodes that have ended: the return that the wrapper tells, and the env's own utility."""
    told = infos.get("final_info", infos)
    if "episode" not in told:
        return []
    ended = np.flatnonzero(told["_episode"])
    return [(told["episode"]["r"][e], told["summary"]["utility"][e]) for e in ended]


def test_dqn():
    """Greedy but for chance, remember, sample, copy the target."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    envs = vector(1, AutoresetMode.SAME_STEP)
    online, target = layers(envs, 3), layers(envs, 3)
    target.load_state_dict(online.state_dict())
    optimizer = torch.optim.Adam(online.parameters(), 2.5e-3)
    memory: list[tuple[np.ndarray, np.ndarray, int, float, bool]] = []
    before, episodes = weights(online), []
    seen, _ = envs.reset(seed=1)
    for step in range(400):
        with torch.no_grad():
            greedy = online(torch.from_numpy(seen)).argmax(1).numpy()
        actions = envs.action_space.sample() if rng.random() < 0.5 else greedy
        following, rewards, terminated, truncated, infos = envs.step(actions)
        episodes += noted(infos)
        last = following.copy()
        for e in np.flatnonzero(terminated | truncated):
            last[e] = infos["final_obs"][e]
        memory.append((seen[0], last[0], int(actions[0]), float(rewards[0]), bool(terminated[0])))
        seen = following
        if step >= 50:
            kept = [memory[i] for i in rng.integers(len(memory), size=32)]
            now, then, did, got, over = (np.array(column) for column in zip(*kept, strict=True))
            with torch.no_grad():
                best = target(torch.from_numpy(then)).max(1).values
                aims = torch.from_numpy(got).float() + 0.99 * best * torch.from_numpy(~over)
            values = online(torch.from_numpy(now)).gather(1, torch.from_numpy(did)[:, None])
            loss = nn.functional.mse_loss(values.squeeze(1), aims)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            assert torch.isfinite(loss)
        if step % 100 == 0:
            target.load_state_dict(online.state_dict())
    assert len(episodes) > 2
    for told, own in episodes:
        assert told == pytest.approx(own, rel=1e-6)
    assert not torch.equal(before, weights(online))


def advantages_of(rewards: torch.Tensor, values: torch.Tensor, dones: torch.Tensor) -> torch.Tensor:
    """Generalised advantages; `dones[t]` says that the observation of row t begins an episode."""
    found, last = torch.zeros_like(rewards), torch.zeros(rewards.shape[1])
    for t in reversed(range(len(rewards))):
        goes_on = 1.0 - dones[t + 1]
        surprise = rewards[t] + 0.99 * values[t + 1] * goes_on - values[t]
        last = surprise + 0.99 * 0.95 * goes_on * last
        found[t] = last
    return found


def test_ppo():
    """Rollouts of all envs, advantages, clipped updates in minibatches; autoreset as by default."""
    torch.manual_seed(0)
    rows, count = 64, 4
    envs = vector(count, AutoresetMode.NEXT_STEP)
    actor, critic = layers(envs, 3), layers(envs, 1)
    both = nn.ModuleList([actor, critic])
    optimizer = torch.optim.Adam(both.parameters(), 2.5e-3)
    before, episodes = weights(both), []
    seen, _ = envs.reset(seed=1)
    done = np.zeros(count, bool)
    for _ in range(4):
        kept: dict[str, list[Any]] = {name: [] for name in ("seen", "did", "odds", "got", "done")}
        for _ in range(rows):
            with torch.no_grad():
                choice = Categorical(logits=actor(torch.from_numpy(seen)))
            did = choice.sample()
            row = {"seen": torch.from_numpy(seen), "did": did, "odds": choice.log_prob(did)}
            row["done"] = torch.from_numpy(done).float()
            seen, got, terminated, truncated, infos = envs.step(did.numpy())
            row["got"] = torch.from_numpy(got).float()
            done = terminated | truncated
            episodes += noted(infos)
            for name, value in row.items():
                kept[name].append(value)
        all_seen = torch.stack([*kept["seen"], torch.from_numpy(seen)])
        dones = torch.stack([*kept["done"], torch.from_numpy(done).float()])
        with torch.no_grad():
            values = critic(all_seen).squeeze(-1)
        gains = advantages_of(torch.stack(kept["got"]), values, dones)
        flat = {name: torch.stack(kept[name]).flatten(0, 1) for name in ("seen", "did", "odds")}
        gain, aim = gains.flatten(), (gains + values[:-1]).flatten()
        for at in torch.randperm(rows * count).split(64):
            choice = Categorical(logits=actor(flat["seen"][at]))
            ratio = (choice.log_prob(flat["did"][at]) - flat["odds"][at]).exp()
            better = (gain[at] - gain[at].mean()) / (gain[at].std() + 1e-8)
            clipped = torch.min(better * ratio, better * ratio.clamp(0.8, 1.2)).mean()
            error = (critic(flat["seen"][at]).squeeze(-1) - aim[at]).square().mean()
            loss = -clipped + 0.5 * error - 0.01 * choice.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(both.parameters(), 0.5)
            optimizer.step()
            assert torch.isfinite(loss)
    assert len(episodes) > count
    for told, own in episodes:
        assert told == pytest.approx(own, rel=1e-6)
    assert not torch.equal(before, weights(both))
