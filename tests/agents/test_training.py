"""Training runs: they repeat, survive being killed, and say what they did."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tqdm import tqdm

from agents.learners.double_dqn import DoubleDQN
from agents.runs.card import CHECKPOINTS, WEIGHTS
from agents.runs.checkpoint import CheckpointError, read_tensors
from agents.runs.plan import Plan
from agents.runs.trained import load_agent
from agents.settings.own import DoubleDQNSettings, RolloutSettings
from agents.settings.parts import Settings
from agents.settings.presets import ABLATIONS, ALONE, PRESETS
from agents.training.training import Status, train
from llmroute_env import ConfigError
from llmroute_env.dynamics.compiled import compiled

TINY: dict[str, Settings] = {
    "ddqn": DoubleDQNSettings(
        envs=8,
        collect_steps=16,
        warmup_decisions=128,
        replay_capacity=1024,
        batch_size=64,
        validations=2,
        validation_episodes=2,
    ),
    "rollout-pi": RolloutSettings(
        envs=4,
        skipped_decisions=20,
        horizon=0.0625,
        states_per_round=8,
        batch_size=16,
        capacity=64,
        uses_per_state=5.0,
        cautions=(0.0, 0.4),
        validations=4,
        validation_episodes=2,
    ),
}
"""Replays and memories so small that they overflow in a training of BUDGET decisions."""
BUDGET = {"ddqn": 2048, "rollout-pi": 20_000}
CROWDED = {"window_s": 0.2, "load": 4.0}


def tiny(directory: Path, algorithm: str, seed: int = 0) -> Plan:
    return Plan(
        directory,
        "stable",
        fields=CROWDED,
        seed=seed,
        decisions=BUDGET[algorithm],
        algorithm=algorithm,
        settings=TINY[algorithm],
    )


def trained(plan: Plan) -> Path:
    """The directory of a run that went to its end."""
    result = train(plan, shows_progress=False)
    assert not result.interrupted
    assert result.decisions >= plan.budget
    assert 0 < result.utility_of_peak <= 1
    return plan.directory


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The directory of a run of seed 0, by its algorithm: to be read, or copied."""

    @cache
    def directory(algorithm: str) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            # As if so slow that every round is worth a scalar.
            patch.setattr("agents.training.monitor.PERIOD_S", 0.0)
            return trained(tiny(tmp_path_factory.mktemp(algorithm) / "whole", algorithm))

    return directory


def weights(directory: Path) -> bytes:
    return (directory / WEIGHTS).read_bytes()


@pytest.mark.parametrize("algorithm", TINY)
def test_a_seed_repeats_and_two_seeds_differ(
    whole: Callable[[str], Path], tmp_path: Path, algorithm: str
) -> None:
    again, other = (trained(tiny(tmp_path / f"{s}", algorithm, s)) for s in (0, 1))
    assert weights(whole(algorithm)) == weights(again)
    assert weights(whole(algorithm)) != weights(other)


def train_until_killed(directory: Path, algorithm: str) -> None:
    """Kill this process after 60 % of the decisions."""

    def kill(status: Status) -> None:
        if status.decisions >= BUDGET[algorithm] * 6 // 10:
            os.kill(os.getpid(), signal.SIGKILL)

    train(tiny(directory, algorithm), shows_progress=False, callback=kill)


VERIFY = pytest.mark.verify


@pytest.mark.parametrize(
    ("algorithm", "method"),
    [
        ("ddqn", "fork"),
        # A process that imports everything anew.
        pytest.param("ddqn", "spawn", marks=VERIFY),
        pytest.param("rollout-pi", "spawn", marks=VERIFY),
    ],
)
def test_killed_and_resumed_ends_with_the_same_weights(
    whole: Callable[[str], Path], tmp_path: Path, algorithm: str, method: str
) -> None:
    context = multiprocessing.get_context(method)
    process = context.Process(target=train_until_killed, args=(tmp_path, algorithm))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    resumed = train(tiny(tmp_path, algorithm), resume=True, shows_progress=False)
    assert not resumed.interrupted
    assert_same_end(tmp_path, whole(algorithm))


def assert_same_end(one: Path, other: Path) -> None:
    """The router and every tensor of the last checkpoint are equal bit for bit."""
    assert weights(one) == weights(other)
    ends = [max((run / CHECKPOINTS).iterdir()) / "tensors.safetensors" for run in (one, other)]
    theirs = read_tensors(ends[1])
    for name, tensor in read_tensors(ends[0]).items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize("algorithm", TINY)
def test_ctrl_c_leaves_a_usable_checkpoint(
    whole: Callable[[str], Path], tmp_path: Path, algorithm: str
) -> None:
    def interrupt(status: Status) -> None:
        if status.decisions >= BUDGET[algorithm] // 3:
            os.kill(os.getpid(), signal.SIGINT)

    cut = tiny(tmp_path, algorithm)
    result = train(cut, shows_progress=False, callback=interrupt)
    assert result.interrupted
    assert result.decisions < BUDGET[algorithm]
    load_agent(tmp_path)
    train(cut, resume=True, shows_progress=False)
    assert_same_end(tmp_path, whole(algorithm))


@pytest.mark.parametrize("algorithm", TINY)
def test_tensorboard_shows_what_matters(whole: Callable[[str], Path], algorithm: str) -> None:
    events = EventAccumulator(str(whole(algorithm)))
    events.Reload()
    names = {
        "in_training/return",
        "in_training/utility_of_peak",
        "in_training/deadline_met",
        "in_training/goodput_per_s",
        "in_training/rejected",
        "share/opt-125m",
        "share/opt-1.3b",
        "share/opt-6.7b",
        "eval/utility_of_peak",
        "q/mean",
        "q/max",
        "time/steps_per_s",
    }
    assert names <= set(events.Tags()["scalars"])
    (about,) = events.Tensors("about/text_summary")
    said = about.tensor_proto.string_val[0].decode()
    assert "**To compare runs, look at `by_seconds`**" in said
    assert f"of {BUDGET[algorithm]:,} here" in " ".join(said.split())
    assert len(events.Scalars("eval/utility_of_peak")) == TINY[algorithm].validations
    for model in ("opt-125m", "opt-1.3b", "opt-6.7b"):
        assert all(0 <= event.value <= 1 for event in events.Scalars(f"share/{model}"))
    assert events.Scalars("time/steps_per_s")[-1].value > 0


def copied(whole: Callable[[str], Path], tmp_path: Path) -> Plan:
    """The plan of a finished run that may be changed."""
    return tiny(shutil.copytree(whole("ddqn"), tmp_path / "run"), "ddqn")


def test_a_run_is_never_overwritten_nor_continued_as_another(
    whole: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole("ddqn")
    # Nothing is tuned for a learner that may not begin.
    monkeypatch.delattr("agents.training.training.make_learner")
    with pytest.raises(CheckpointError, match="is not a run directory"):
        train(tiny(tmp_path, "ddqn"), resume=True, shows_progress=False)
    plan = copied(whole, tmp_path)
    with pytest.raises(ConfigError, match=r"exists; accepted: a new one, or resume=True$"):
        train(plan, shows_progress=False)
    with pytest.raises(CheckpointError, match="seed: got 5; accepted: 0, as in"):
        train(dataclasses.replace(plan, seed=5), resume=True, shows_progress=False)


def test_the_bar_says_what_keeps_it_from_advancing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases: list[str] = []
    learn = DoubleDQN.iterate

    def compile_and_learn(learner: DoubleDQN) -> dict[str, float]:
        # Of no file, so that it is compiled every time.
        compiled(eval("lambda x: x + 1.0"))(1.0)
        return learn(learner)

    monkeypatch.setattr(DoubleDQN, "iterate", compile_and_learn)
    monkeypatch.setattr(tqdm, "set_description", lambda bar, phase: phases.append(phase))
    train(dataclasses.replace(tiny(tmp_path, "ddqn"), decisions=512), shows_progress=False)
    assert phases[:2] == ["compiling", "training"]
    assert phases.count("validating") == TINY["ddqn"].validations
    assert set(phases) == {"compiling", "training", "validating"}
    assert phases[phases.index("validating") - 1] == "training"


def scores(directory: Path) -> list[tuple[int, float]]:
    events = EventAccumulator(str(directory))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("eval/utility_of_peak")]


def test_going_on_with_a_finished_run_changes_none_of_its_curves(
    whole: Callable[[str], Path], tmp_path: Path
) -> None:
    plan = copied(whole, tmp_path)
    before = scores(plan.directory)
    train(plan, resume=True, shows_progress=False)
    assert scores(plan.directory) == before
    assert len(before) == TINY["ddqn"].validations


def test_a_run_goes_on_only_with_the_profile_that_it_began_with(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("name = 'mine'\nextends = 'opt-a100'\nmodels = []\n")
    fields = {**CROWDED, "profile": str(file)}
    plan = dataclasses.replace(tiny(tmp_path / "run", "ddqn"), fields=fields, decisions=256)
    train(plan, shows_progress=False)
    train(plan, resume=True, shows_progress=False)
    file.write_text(file.read_text() + "prompt_tokens = 5\n")
    with pytest.raises(CheckpointError, match=r"tokens_per_request: got 13; accepted: 136, as in"):
        train(plan, resume=True, shows_progress=False)


def test_a_run_cut_off_before_its_first_checkpoint_begins_again(
    whole: Callable[[str], Path], tmp_path: Path
) -> None:
    class DiskFullError(OSError):
        pass

    def fail(*_: object) -> None:
        raise DiskFullError

    cut = tiny(tmp_path, "ddqn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agents.runs.checkpoint.save", fail)
        with pytest.raises(DiskFullError):
            train(cut, shows_progress=False)
    train(cut, resume=True, shows_progress=False)
    assert_same_end(tmp_path, whole("ddqn"))


def test_bad_plans_are_refused(tmp_path: Path) -> None:
    for changes, message in [
        ({"algorithm": "sarsa"}, "algorithm: got 'sarsa'; accepted: "),
        ({"decisions": 0}, "decisions: got 0; accepted: >= 1"),
        ({"seed": -1}, "seed: got -1"),
        ({"fields": {"split": "test"}}, "field 'split': got 'test'"),
        ({"fields": {"action": "model"}}, "field 'action': got 'model'"),
    ]:
        with pytest.raises(ConfigError) as error:
            Plan(tmp_path, **changes)  # type: ignore[arg-type]
        assert message in str(error.value)
    with pytest.raises(ConfigError, match="credit: got 'luck'; accepted: decision, completion"):
        DoubleDQNSettings(credit="luck")
    with pytest.raises(ConfigError, match="gpu_work among them"):
        RolloutSettings(observation=("task",))
    assert PRESETS["ddqn-paper"].observation == ("task", "batch", "short_rate")


def changes(one: Settings, other: Settings) -> set[str]:
    fields = dataclasses.asdict(one)
    return {name for name, value in dataclasses.asdict(other).items() if fields[name] != value}


def test_ablations_leave_out_one_thing_each() -> None:
    assert changes(PRESETS["ddqn"], ALONE) == {"guarded"}
    found = [changes(ALONE, settings) for name, settings in ABLATIONS.items() if settings != ALONE]
    assert len({frozenset(names) for names in found}) == len(found) == len(ABLATIONS) - 1
    together = ({"discount_per_decision", "discount_rate_per_s"}, {"target_rate", "target_period"})
    more = ({"observation", "demonstrators"}, {"envs", "batch_size"})
    assert all(len(names) == 1 or names in (*together, *more) for names in found)


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations_train(tmp_path: Path, name: str) -> None:
    small = changes(PRESETS["ddqn"], TINY["ddqn"]) - changes(ALONE, ABLATIONS[name])
    plan = tiny(tmp_path, "ddqn")
    settings = dataclasses.replace(
        ABLATIONS[name], **{field: getattr(TINY["ddqn"], field) for field in small}
    )
    plan = dataclasses.replace(plan, algorithm=name, settings=settings, decisions=512)
    assert train(plan, shows_progress=False).decisions >= 512
    assert load_agent(tmp_path).name == name
