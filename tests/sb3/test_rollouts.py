"""The rollout buffer against slow, obvious references."""

import math

import numpy as np
import pytest
import torch
from sb3_contrib import RecurrentPPO

from agents.learners.sb3.learner import SB3Learner
from llmroute_env.vector_env import LLMRouteVectorEnv

from .small_runs import CROWDED, small_plan

ROWS, ENVS = 64, 4
BUFFERS = pytest.mark.parametrize("algorithm", ["ppo", "recurrent-ppo"])


def collect(
    directory, rollouts: int = 1, algorithm: str = "ppo", **changes
) -> tuple[SB3Learner, LLMRouteVectorEnv]:
    """A learner after its last rollout, and a twin of its envs from before that."""
    small = {"envs": ENVS, "collect_steps": ROWS, "reward_centre": 0.25, "reward_scale": 2.0}
    fields = {**CROWDED, "window_s": 0.06}
    learner = SB3Learner(small_plan(directory, algorithm, fields=fields, **small, **changes))
    names = learner.settings.observation
    twin = LLMRouteVectorEnv(
        ENVS,
        "stable",
        autoreset_mode="SameStep",
        completions=True,
        observation=names,
        split="train",
        **fields,
    )
    twin.reset(seed=0)
    for _ in range(rollouts):
        twin.restore(learner.env.snapshot())
        model = learner.model
        with learner.generators.lent():
            model.collect_rollouts(learner.venv, learner.callback, learner.rollouts, ROWS)
    return learner, twin


def earned(learner: SB3Learner, twin: LLMRouteVectorEnv) -> dict[tuple[int, int], float]:
    """Utility by (row, env) of every decision whose request ended within the rollout."""
    utility = {}
    begin = [-int(n) for n in twin.simulation.state.envs["decision"]]
    for row in range(ROWS):
        _, _, terminated, _, infos = twin.step(learner.rollouts.actions[row, :, 0].astype(int))
        for record in infos["completions"]:
            at = begin[record["env"]] + int(record["decision"])
            if at >= 0:
                utility[at, int(record["env"])] = float(record["utility"])
        for e in np.flatnonzero(terminated):
            begin[e] = row + 1
    return utility


@BUFFERS
@pytest.mark.parametrize("rollouts", [1, 2])
def test_rewards_belong_to_decisions(rollouts, algorithm, tmp_path):
    learner, twin = collect(tmp_path, rollouts, algorithm, look_ahead_steps=0)
    utility = earned(learner, twin)
    assert 0 < len(utility) < ROWS * ENVS
    expected = np.zeros((ROWS, ENVS))
    for at, value in utility.items():
        expected[at] = (value - 0.25) * 2.0
    np.testing.assert_allclose(learner.rollouts.rewards, expected, atol=1e-5)
    assert learner.rollouts.known.sum() == len(utility)


@BUFFERS
def test_looking_ahead_learns_the_rest_and_changes_nothing(algorithm, tmp_path):
    learner, twin = collect(tmp_path, algorithm=algorithm, look_ahead_steps=2000)
    utility = earned(learner, twin)
    assert learner.rollouts.known.all()
    for at, value in utility.items():
        assert learner.rollouts.rewards[at] == pytest.approx((value - 0.25) * 2.0, abs=1e-5)
    rest = [at for at in np.ndindex(ROWS, ENVS) if at not in utility]
    assert (learner.rollouts.rewards[tuple(zip(*rest, strict=True))] != 0).all()
    for mine, theirs in zip(learner.env.snapshot(), twin.snapshot(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def last_values(learner: SB3Learner) -> torch.Tensor:
    """What the critic says of the observations after the rollout."""
    model, observations = learner.model, torch.from_numpy(learner.venv.result[0])
    memory = ()
    if isinstance(model, RecurrentPPO):
        starts = torch.from_numpy(model._last_episode_starts).float()
        memory = (model._last_lstm_states.vf, starts)
    with torch.no_grad():
        return model.policy.predict_values(observations, *memory)


@BUFFERS
def test_advantages_discount_by_time(algorithm, tmp_path):
    learner, twin = collect(
        tmp_path, 2, algorithm, look_ahead_steps=0, trace_decay=0.9, discount_rate_per_s=50.0
    )
    buffer, e = learner.rollouts, 0
    discounts, ended = [], []
    for row in range(ROWS):
        _, _, terminated, _, infos = twin.step(buffer.actions[row, :, 0].astype(int))
        discounts.append(math.exp(-50.0 * infos["elapsed_s"][e]))
        ended.append(bool(terminated[e]))
    last = last_values(learner)
    values = [*buffer.values[:, e], float(last[e])]
    assert any(ended)
    for start in range(ROWS):
        advantage, weight = 0.0, 1.0
        for row in range(start, ROWS):
            following = 0.0 if ended[row] else discounts[row] * values[row + 1]
            advantage += weight * (buffer.rewards[row, e] + following - values[row])
            if ended[row]:
                break
            weight *= discounts[row] * 0.9
        assert buffer.advantages[start, e] == pytest.approx(advantage, abs=1e-4)


@BUFFERS
def test_rewards_at_completion_are_those_of_the_steps(algorithm, tmp_path):
    learner, twin = collect(tmp_path, algorithm=algorithm, credit="completion")
    for row in range(ROWS):
        _, rewards, *_ = twin.step(learner.rollouts.actions[row, :, 0].astype(int))
        expected = (rewards - 0.25) * 2.0
        np.testing.assert_allclose(learner.rollouts.rewards[row], expected, atol=1e-5)
