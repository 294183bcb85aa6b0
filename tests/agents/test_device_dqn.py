"""Double DQN whose envs, experience and networks are on a device; the CPU stands in for one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.learners.device_dqn import DeviceDQN, usual
from agents.learners.device_experience import DeviceExperience, DeviceReplay, Step
from agents.learners.experience import Experience
from agents.routers.networks import GuardedNetwork
from agents.runs.plan import Plan
from agents.settings.presets import PRESETS
from benchmarks.cli import main
from llmroute_env import ConfigError
from llmroute_env.cuda.memory import Host
from llmroute_env.cuda.vector_env import LLMRouteCudaVectorEnv
from tests.cuda.test_no_device import skip_with_a_device

SETTINGS = replace(
    PRESETS["ddqn"],
    envs=40,
    collect_steps=8,
    batch_size=64,
    warmup_decisions=500,
    replay_capacity=3000,
    n_step=5,
    demonstrators=0.25,
    hidden=(16,),
)


def env(**fields) -> LLMRouteCudaVectorEnv:
    options = {"window_s": 0.4, "autoreset_mode": "SameStep", "completions": True, "split": "train"}
    observation = {"observation": SETTINGS.observation}
    return LLMRouteCudaVectorEnv(40, "unpredictable-1", memory=Host(), **options, **observation)


def random_steps(rng: np.random.Generator, envs: int, steps: int):
    """Steps as both kinds of experience take them; every decision ends once, some steps later."""
    number = np.zeros(envs, int)
    open_: list[list[int]] = [[] for _ in range(envs)]
    for _ in range(steps):
        ended = rng.random(envs) < 0.1
        which = np.zeros((envs, 60), int)
        there = np.zeros((envs, 60), bool)
        for e in range(envs):
            open_[e].append(int(number[e]))
            done = [d for d in open_[e] if ended[e] or rng.random() < 0.4]
            open_[e] = [d for d in open_[e] if d not in done]
            which[e, : len(done)], there[e, : len(done)] = done, True
            number[e] = 0 if ended[e] else number[e] + 1
        yield ended, there, which, rng.random((envs, 60))


@pytest.mark.parametrize("credit", ["decision", "completion"])
def test_experience_on_a_device_is_that_of_the_cpu(credit: str):
    rng, envs = np.random.default_rng(3), 6
    ours = DeviceExperience(envs, 3, 4, offset=0.25, device="cpu")
    theirs = Experience(envs, 3, 4, credit, offset=0.25)
    total = 0
    for step, (ended, there, which, utilities) in enumerate(random_steps(rng, envs, 700)):
        seen, after, final = rng.random((3, envs, 3)).astype(np.float32)
        actions, discounts, rewards = rng.integers(3, size=envs), rng.random(envs), rng.random(envs)
        rows = [np.nonzero(there[e])[0] for e in range(envs)]
        kinds = [("env", "i4"), ("decision", "i8"), ("utility", "f8")]
        completions = np.array(
            [(e, which[e, k], utilities[e, k]) for e in range(envs) for k in rows[e]], kinds
        )
        infos = {"completions": completions, "final_obs": final}
        never = np.zeros(envs, bool)
        theirs.store(seen, actions, discounts, (after, rewards, ended, never, infos))
        told = (after, final, rewards, ended, there, which, utilities)
        tensors = [torch.from_numpy(x) for x in (seen, actions, discounts)]
        ours.store(*tensors, Step(*map(torch.from_numpy, told)), credit == "decision")
        if step % 7 == 6:
            mine, expected = ours.release(), theirs.release()
            for a, b in zip(mine, expected, strict=True):
                np.testing.assert_array_equal(a.numpy(), b)
            total += len(mine.actions)
    assert total > 3000


def test_the_replay_forgets_the_oldest():
    replay = DeviceReplay(5, 2, "cpu")
    experience = DeviceExperience(1, 2, 1, offset=0.0, device="cpu")
    rng = np.random.default_rng(0)
    for number in range(8):
        one = torch.full((1, 2), float(number))
        nothing = torch.zeros(1, 1, dtype=torch.bool)
        over = torch.zeros(1, dtype=torch.bool)
        empty = torch.zeros(1, 1, dtype=torch.int64)
        step = Step(one, one, torch.ones(1), over, nothing, empty, empty.double())
        experience.store(one, torch.zeros(1, dtype=torch.int64), torch.ones(1), step, waits=False)
        replay.add(experience.release())
    assert len(replay) == 5
    assert sorted(replay.transitions.observations[:, 0].tolist()) == [3.0, 4.0, 5.0, 6.0, 7.0]
    assert replay.sample(100, rng).observations[:, 0].min() == 3.0


def test_the_heuristic_on_a_device_decides_as_that_of_the_cpu():
    torch.manual_seed(0)
    guarded = GuardedNetwork(torch.nn.Linear(1, 1), 0.3, 2, 0, [2, 0, 1])  # type: ignore[arg-type]
    observations = torch.rand(1000, 6) * 2 - 1
    observations[::5, 2:5] = -0.5
    expected = guarded.usual(observations.numpy())
    np.testing.assert_array_equal(usual(guarded, observations).numpy(), expected)
    assert len(set(expected.tolist())) == 3


@pytest.mark.verify
def test_it_collects_learns_and_hands_over_a_router():
    learner = DeviceDQN(SETTINGS, env(), budget=10_000, seed=1)
    before = [p.clone() for p in learner.online.parameters()]
    scalars: dict[str, float] = {}
    for _ in range(6):
        scalars |= learner.iterate()
    assert learner.decisions == 6 * 8 * 40
    assert learner.updates > 0
    assert np.isfinite(scalars["loss/td"])
    after = list(learner.online.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    router = learner.router
    assert router is learner.guarded
    for mine, device in zip(
        learner.average.parameters(), learner.following.parameters(), strict=True
    ):
        assert torch.equal(mine, device)
    # Who earns what is known: the rewards are those of requests, less the peak.
    stored = learner.replay.transitions.returns[: len(learner.replay)]
    assert stored.min() < 0
    with pytest.raises(ConfigError, match="resume: got True"):
        learner.restore(learner.snapshot())


def test_what_does_not_learn_there_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="device: got 'cuda'; accepted: cpu by rollout-pi; cuda"):
        Plan(tmp_path / "run", algorithm="rollout-pi", device="cuda")
    with pytest.raises(ConfigError, match="device: got 'tpu'; accepted: cpu, cuda"):
        Plan(tmp_path / "run", algorithm="ddqn", device="tpu")


@pytest.mark.parametrize(
    "command", ["train ddqn --out {}/run", "speed rates", "gpu-check --out {}"]
)
def test_without_a_gpu_every_command_says_so(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    skip_with_a_device()
    assert main([*command.format(tmp_path).split(), "--device", "cuda"]) == 2
    assert "device: got 'cuda'; accepted: " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
