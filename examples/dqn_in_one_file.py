"""A DQN in one file, to change as you like: act, remember, learn, copy the target.

    python examples/dqn_in_one_file.py [--quick]

On the native vector env, discounted by the time between decisions. Needs torch (extra `train`).
"""

import sys

import numpy as np
import torch
from torch import nn

from llmroute_env import LLMRouteVectorEnv

ENVS, ROWS, BATCH, WARM_UP, DISCOUNT_RATE_PER_S = 64, 2000, 256, 16, 2.0


def q_loss(online: nn.Module, target: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Double DQN: the online network picks the next action, the target values it."""
    with torch.no_grad():
        best = online(batch["following"]).argmax(1, keepdim=True)
        values = target(batch["following"]).gather(1, best).squeeze(1)
    chosen = online(batch["observation"]).gather(1, batch["action"][:, None]).squeeze(1)
    return nn.functional.smooth_l1_loss(chosen, batch["reward"] + batch["discount"] * values)


def main(quick: bool = False) -> dict[str, float]:
    """Learn; returns the mean score of the episodes that ended in the last quarter."""
    rng, steps, window_s = np.random.default_rng(0), *((600, 0.2) if quick else (20_000, 5.0))
    torch.manual_seed(0)
    envs = LLMRouteVectorEnv(ENVS, "overload", autoreset_mode="SameStep", window_s=window_s)
    observations, _ = envs.reset(seed=0)
    columns, models = observations.shape[1], envs.config.actions
    online, target = (
        nn.Sequential(nn.Linear(columns, 64), nn.ReLU(), nn.Linear(64, models)) for _ in range(2)
    )
    optimizer = torch.optim.Adam(online.parameters(), 1e-3)
    memory = {
        "observation": torch.zeros(ROWS, ENVS, columns),
        "following": torch.zeros(ROWS, ENVS, columns),
        "action": torch.zeros(ROWS, ENVS, dtype=torch.int64),
        "reward": torch.zeros(ROWS, ENVS),
        "discount": torch.zeros(ROWS, ENVS),
    }
    scores: list[float] = []
    for step in range(steps):
        with torch.no_grad():
            actions = online(torch.from_numpy(observations)).argmax(1).numpy()
        explores = rng.random(ENVS) < max(0.05, 1.0 - 2.0 * step / steps)
        actions = np.where(explores, rng.integers(models, size=ENVS), actions)
        following, rewards, terminated, truncated, infos = envs.step(actions)
        last = following.copy()
        for e in np.flatnonzero(terminated | truncated):
            last[e] = infos["final_obs"][e]  # `following` begins the next episode
            if step >= 3 * steps // 4:
                scores.append(float(infos["final_info"]["utility_of_peak"][e]))
        discounts = np.exp(-DISCOUNT_RATE_PER_S * infos["elapsed_s"]) * ~terminated
        row = (observations, last, actions, rewards, discounts)
        for column, values in zip(memory.values(), row, strict=True):
            column[step % ROWS] = torch.from_numpy(values)
        observations = following
        if step >= WARM_UP:
            at = rng.integers(min(step + 1, ROWS), size=BATCH), rng.integers(ENVS, size=BATCH)
            optimizer.zero_grad()
            loss = q_loss(online, target, {name: kept[at] for name, kept in memory.items()})
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if step % 100 == 0:
            target.load_state_dict(online.state_dict())
    print(f"DQN: {np.mean(scores):.3f} of the peak in {len(scores)} episodes")
    return {"DQN": float(np.mean(scores))}


if __name__ == "__main__":
    main("--quick" in sys.argv)
