"""PPO whose envs, rollouts and networks are on a device; the CPU stands in for one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.heuristics.tuning import run_episodes, validation_seeds
from agents.learners.device_experience import Step
from agents.learners.device_ppo import DevicePPO
from agents.learners.device_rollouts import Decisions, DeviceRollouts
from agents.learners.training_env import options_of
from agents.loading import load
from agents.routers.logits import LEAST_LOGIT
from agents.runs.plan import Plan
from agents.settings.presets import PRESETS
from agents.training.training import train
from benchmarks.cli import main
from llmroute_env import ConfigError
from llmroute_env.cuda.memory import Host
from llmroute_env.cuda.vector_env import LLMRouteCudaVectorEnv
from llmroute_env.scenarios import configure
from llmroute_env.specs import Pool
from tests.agents.test_device_dqn import random_steps
from tests.cuda.test_no_device import skip_with_a_device

SETTINGS = replace(
    PRESETS["ppo"],
    hidden=(32,),
    envs=32,
    collect_steps=64,
    batch_size=512,
    uses=2,
    learning_rate=3e-3,
    discount_rate_per_s=2.0,
    validation_episodes=8,
)
QUIET = {"load": 0.5, "window_s": 1.0}
"""The largest model has time for all."""


def learner(budget: int = 8192, seed: int = 1, scenario: str = "stable", **fields) -> DevicePPO:
    fields = {**QUIET, **fields, "observation": SETTINGS.observation}
    options = {"autoreset_mode": "SameStep", "completions": True, "split": "train"}
    env = LLMRouteCudaVectorEnv(SETTINGS.envs, scenario, memory=Host(), **options, **fields)
    return DevicePPO(SETTINGS, env, budget, seed)


@pytest.fixture(scope="module")
def learned() -> DevicePPO:
    """After eight rounds."""
    torch.set_num_threads(1)
    found = learner(32_768)
    for _ in range(8):
        found.iterate()
    return found


class Told:
    """All decisions of some envs, in order, and when their rewards came to be known."""

    def __init__(self, envs: int) -> None:
        self.rows: list[list[dict]] = [[] for _ in range(envs)]
        self.first = [0] * envs

    def note(self, decided: list[dict], ended, there, which, utilities) -> None:
        for e, row in enumerate(decided):
            self.rows[e].append(row | {"reward": None, "over": bool(ended[e])})
            for k in np.flatnonzero(there[e]):
                self.rows[e][self.first[e] + which[e, k]]["reward"] = utilities[e, k]
            if ended[e]:
                self.first[e] = len(self.rows[e])

    def released(self, e: int) -> int:
        """How many of an env's decisions may have been learned from."""
        unknown = (t for t, row in enumerate(self.rows[e]) if row["reward"] is None)
        return min(next(unknown, len(self.rows[e])), len(self.rows[e]) - 1)

    def advantage(self, e: int, t: int, end: int, decay: float) -> float:
        """The sum of the errors from t on, each with its own weight."""
        total, weight = 0.0, 1.0
        for row, after in zip(self.rows[e][t:end], self.rows[e][t + 1 : end + 1], strict=True):
            discount = 0.0 if row["over"] else row["discount"]
            reward = (row["reward"] - 0.5) * 0.1
            total += weight * (reward + discount * after["value"] - row["value"])
            weight *= discount * decay
        return total


def test_advantages_are_those_of_a_slow_reference_and_every_decision_is_returned_once():
    rng, envs, decay = np.random.default_rng(3), 5, 0.9
    rollouts = DeviceRollouts(envs, 1, centre=0.5, scale=0.1, device="cpu")
    told, before, seen, waited = Told(envs), [0] * envs, 0, 0
    for step, (ended, there, which, utilities) in enumerate(random_steps(rng, envs, 600)):
        values, logs = rng.normal(size=(2, envs)).astype(np.float32)
        discounts, actions = rng.random(envs), rng.integers(3, size=envs)
        # By its observation a decision is known again.
        observations = (100_000 * np.arange(envs)[:, None] + step).astype(np.float32)
        decided = [
            {"value": v, "discount": d} for v, d in zip(values.tolist(), discounts, strict=True)
        ]
        told.note(decided, ended, there, which, utilities)
        nothing = np.zeros((envs, 1), np.float32)
        result = nothing, nothing, rng.random(envs), ended, there, which, utilities
        tensors = [torch.from_numpy(x) for x in (observations, actions, logs, values, discounts)]
        happened = Step(*map(torch.from_numpy, result))
        rollouts.store(*tensors[:2], tuple(tensors[2:4]), tensors[4], happened, waits=True)
        if step % 9 < 8:
            continue
        found = rollouts.release(decay)
        at = [divmod(int(number), 100_000) for number in found.observations[:, 0]]
        ends = [told.released(e) for e in range(envs)]
        expected = [(e, t) for e in range(envs) for t in range(before[e], ends[e])]
        assert sorted(at) == expected
        reference = [told.advantage(e, t, ends[e], decay) for e, t in at]
        np.testing.assert_allclose(found.advantages.numpy(), reference, rtol=1e-4, atol=1e-5)
        stored = [told.rows[e][t]["value"] for e, t in at]
        np.testing.assert_array_equal(found.values.numpy(), np.array(stored, np.float32))
        waited += sum(end < step for end in ends)
        before, seen = ends, seen + len(at)
    assert seen > 0.95 * 600 * envs
    assert waited > 50


def test_rewards_of_steps_need_not_wait():
    rollouts = DeviceRollouts(1, 1, centre=0.0, scale=1.0, device="cpu")
    one, nothing = torch.ones(1, 1), torch.zeros(1, 1, dtype=torch.int64)
    step = Step(
        one, one, torch.tensor([2.0]), torch.tensor([False]), nothing.bool(), nothing, one.double()
    )
    told = torch.zeros(1), torch.tensor([1.0])
    for _ in range(3):
        rollouts.store(one, nothing[0], told, torch.tensor([0.5]), step, waits=False)
    # 2 + 0.5 * 1 - 1, and 1.5 more at the rate 0.5 of the trace before it.
    assert rollouts.release(1.0).advantages.tolist() == [2.25, 1.5]
    assert rollouts.release(1.0).advantages.tolist() == []


@pytest.mark.verify
def test_it_learns_that_the_largest_model_has_time_for_all(learned: DevicePPO):
    config = configure("stable", **QUIET, split="validation")
    seeds = validation_seeds(8)
    untrained, medium, largest = (
        run_episodes(load(name, config), config, seeds).mean()
        for name in ("random", "opt-1.3b", "opt-6.7b")
    )
    assert learned.decisions == 8 * 64 * 32
    assert learned.validate() > 0.9 * largest + 0.1 * max(untrained, medium)
    with torch.no_grad():
        chances = learned.log_probabilities(learned.observations).exp().mean(0)
    assert chances[2] > 0.4


def test_equal_seeds_repeat_and_others_do_not():
    runs = [learner(seed=seed) for seed in (1, 1, 2)]
    scalars = [[run.iterate() for _ in range(2)][-1] for run in runs]
    weights = [torch.cat([p.flatten() for p in run.parameters]) for run in runs]
    assert scalars[0] == scalars[1] != scalars[2]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert np.isfinite(list(scalars[0].values())).all()


def test_the_step_size_declines_linearly():
    one = learner(budget=4 * 64 * 32)
    rates = [one.iterate()["train/learning_rate"] for _ in range(4)]
    assert rates == pytest.approx([0.002275, 0.00155, 0.000825, 0.0001])


def test_training_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    learner().iterate()
    assert torch.equal(torch.rand(2), expected)


def test_the_router_acts_as_the_policy_does(learned: DevicePPO):
    observations = learned.rollouts.columns["observation"][: learned.rollouts.rows].flatten(0, 1)
    with torch.no_grad():
        likeliest = learned.log_probabilities(observations).argmax(1)
    np.testing.assert_array_equal(learned.router.greedy(observations.numpy()), likeliest)
    assert next(learned.router.parameters()).device.type == "cpu"


def test_what_no_gpu_hosts_is_never_taken():
    pools = Pool(1, ("opt-125m",)), Pool(1, ("opt-1.3b", "opt-6.7b"))
    one = learner(action="gpu-model", pools=pools, load=1.0)
    assert one.hosted.tolist() == [True, False, False, False, True, True]
    one.iterate()
    actions = one.rollouts.columns["action"][: one.rollouts.rows]
    assert set(actions.flatten().tolist()) == {0, 4, 5}
    observations = one.observations.numpy()
    values = one.router.preferences(observations)
    np.testing.assert_array_equal(values[:, ~one.hosted], np.float32(LEAST_LOGIT))
    with torch.no_grad():
        chances = one.log_probabilities(one.observations).exp()
    assert chances[:, ~one.hosted].max() == 0.0
    assert one.hosted[one.router.greedy(observations)].all()


def test_an_update_makes_what_went_well_likelier_but_only_so_far():
    one = learner()
    s = one.settings
    seen = one.observations.repeat(4, 1)
    with torch.no_grad():
        logs, values = one.log_probabilities(seen), one.critic(seen)[:, 0]
    actions = torch.arange(len(seen)) % 3
    chosen = logs.gather(1, actions[:, None])[:, 0]
    batch = Decisions(seen, actions, chosen, values, (actions == 0).float())
    one.optimizer.param_groups[0]["lr"] = 1e-3
    told = [one.update(batch) for _ in range(200)]
    with torch.no_grad():
        after = one.log_probabilities(seen)
    assert (after[:, 0] > logs[:, 0]).all()
    assert told[0].clip_fraction == 0
    assert told[-1].value_loss < told[0].value_loss
    # The objective is flat beyond the clip: without it the others would be gone by now.
    ratio = (after - logs).gather(1, actions[:, None]).exp()
    assert ratio[actions == 0].max() < 1 + 3 * s.clip_range


def test_a_run_is_trained_saved_and_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def on_the_host(envs: int, plan: Plan) -> LLMRouteCudaVectorEnv:
        return LLMRouteCudaVectorEnv(envs, plan.scenario, memory=Host(), **options_of(plan))

    monkeypatch.setattr("agents.learners.learner.device_env", on_the_host)
    monkeypatch.setattr("agents.runs.plan.check_usable", lambda: None)
    settings = replace(SETTINGS, validations=2)
    plan = Plan(
        tmp_path / "run",
        "stable",
        fields=QUIET,
        decisions=8192,
        algorithm="ppo",
        settings=settings,
        device="cuda",
    )
    result = train(plan, shows_progress=False)
    assert result.decisions == 8192
    config = configure("stable", **QUIET, split="validation")
    router = load(str(tmp_path / "run"), config)
    score = run_episodes(router, config, validation_seeds(8)).mean()
    assert score == pytest.approx(result.utility_of_peak, abs=0.02)
    with pytest.raises(ConfigError, match="resume: got True; accepted: False"):
        train(plan, shows_progress=False, resume=True)


def test_a_run_there_is_not_resumed(learned: DevicePPO):
    snapshot = learned.snapshot()
    assert snapshot.numbers == {"decisions": learned.decisions}
    for name in ("policy", "critic"):
        own = getattr(learned, name).state_dict()
        assert all(torch.equal(snapshot.tensors[f"{name}.{key}"], own[key]) for key in own)
    with pytest.raises(ConfigError, match="resume: got True; accepted: False"):
        learned.restore(snapshot)


def test_other_learners_of_sb3_are_refused(tmp_path: Path):
    for name in ("a2c", "maskable-ppo", "recurrent-ppo", "sb3-dqn"):
        with pytest.raises(ConfigError, match=f"device: got 'cuda'; accepted: cpu by {name}"):
            Plan(tmp_path / "run", algorithm=name, device="cuda")


def test_without_a_gpu_the_command_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    skip_with_a_device()
    assert main(f"train ppo --out {tmp_path}/run --device cuda".split()) == 2
    assert "device: got 'cuda'; accepted: " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
