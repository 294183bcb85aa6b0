"""What TensorBoard compares scores with: true levels, computed once, on the axes of the scores."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.compiled.making import largest_feasible
from agents.compiled.policies import episode_scores
from agents.heuristics.tuning import STRONGEST, best_tuned, heuristic_scores
from agents.learners.validation import validation_episodes
from agents.runs import checkpoint
from agents.runs.card import CHECKPOINTS, WEIGHTS
from agents.runs.plan import Plan
from agents.settings.own import DoubleDQNSettings
from agents.training import training
from agents.training.monitor import BOUND, Monitor
from agents.training.training import train
from benchmarks import reference_levels
from benchmarks.bounds.upper import bound_of_peak
from benchmarks.reference_levels import Reference, reference_of
from llmroute_env.scenarios import configure

TINY = DoubleDQNSettings(
    envs=8,
    collect_steps=16,
    warmup_decisions=128,
    replay_capacity=1024,
    batch_size=32,
    validations=2,
    validation_episodes=2,
    validation_window_s=0.5,
)


def plan(directory: Path, load: float = 4.0, decisions: int = 1024) -> Plan:
    fields = {"window_s": 0.5, "load": load}
    return Plan(directory, "stable", fields=fields, decisions=decisions, settings=TINY)


def heuristic_of(reference: Reference) -> str:
    """The level that is not the bound."""
    (name,) = reference.levels.keys() - {BOUND}
    return name


def scalars(directory: Path, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(directory)).Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_the_bound_of_every_episode_is_above_the_heuristic():
    config = configure("stable", load=4.0, split="validation", window_s=1.0)
    seeds = np.arange(4, dtype=np.uint64)
    scores = episode_scores(largest_feasible(config, 1.0), config, seeds)
    bounds = bound_of_peak(config, seeds)
    assert (scores < bounds).all()
    assert (bounds < 1.05).all()


def test_levels_are_computed_once_for_all_runs_on_the_same_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = reference_of(plan(tmp_path / "a"))
    name = heuristic_of(first)
    assert 0 < first.levels[name] < first.levels[BOUND]
    config, seeds = validation_episodes(plan(tmp_path).config("train"), TINY)
    scores = {n: best_tuned((n,), plan(tmp_path).config("train")) for n in STRONGEST}
    assert name == max(scores, key=lambda n: scores[n].score)
    expected = heuristic_scores(name, config, scores[name].setting, seeds).mean()
    assert first.levels[name] == expected
    monkeypatch.setattr(reference_levels, "levels", lambda *_: pytest.fail("computed again"))
    assert reference_of(plan(tmp_path / "b")).levels == first.levels
    with pytest.raises(pytest.fail.Exception, match="computed again"):
        reference_of(plan(tmp_path / "c", load=5.0))


def test_lines_reach_to_the_end_of_the_longest_training(tmp_path: Path):
    reference = reference_of(plan(tmp_path / "a"))
    for decisions, seconds, end in ((500, 30.0, (1024, 60)), (4096, 90.0, (4096, 90))):
        reference = reference.extended(decisions, seconds)
        line = scalars(reference.directory / BOUND, "eval/utility_of_peak")
        over_s = scalars(reference.directory / BOUND, "by_seconds/utility_of_peak")
        assert (line[0][0], line[-1][0], over_s[-1][0]) == (0, *end)
        assert {value for _, value in line} == {np.float32(reference.levels[BOUND])}
    name = heuristic_of(reference)
    regret = scalars(reference.directory / name, "eval/regret")[0][1]
    expected = reference.levels[BOUND] - reference.levels[name]
    assert regret == pytest.approx(expected, abs=1e-6)


def test_regret_is_bound_minus_score_and_levels_leave_learning_alone(tmp_path: Path):
    plain = plan(tmp_path / "plain")
    train(plain, shows_progress=False)
    compared = replace(plain, directory=tmp_path / "compared", levels={BOUND: 0.9})
    train(compared, shows_progress=False)
    assert (tmp_path / "plain" / WEIGHTS).read_bytes() == (
        tmp_path / "compared" / WEIGHTS
    ).read_bytes()
    scores = scalars(tmp_path / "compared", "eval/utility_of_peak")
    regrets = scalars(tmp_path / "compared", "eval/regret")
    assert [step for step, _ in regrets] == [step for step, _ in scores] == [512, 1024]
    for (_, score), (_, regret) in zip(scores, regrets, strict=True):
        assert score + regret == pytest.approx(0.9, abs=1e-6)
    best = scalars(tmp_path / "compared", "eval/best_utility_of_peak")
    assert best[-1][1] == max(score for _, score in scores)
    with pytest.raises(KeyError):
        scalars(tmp_path / "plain", "eval/regret")


def test_seconds_go_on_when_a_training_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spent_s = []

    class Noting(Monitor):
        def __init__(self, plan: Plan, done: int, spent: float, shows_progress: bool) -> None:
            super().__init__(plan, done, spent, shows_progress)
            spent_s.append(spent)

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "Monitor", Noting)
    cut = replace(plan(tmp_path), checkpoint_decisions=1)
    with pytest.raises(KeyboardInterrupt):
        train(cut, shows_progress=False, callback=interrupt)
    saved = checkpoint.load_latest(tmp_path / CHECKPOINTS).numbers["spent_s"]
    train(replace(cut, levels={BOUND: 0.9}), resume=True, shows_progress=False)
    assert spent_s == [0.0, saved]
    assert checkpoint.load_latest(tmp_path / CHECKPOINTS).numbers["spent_s"] > saved > 0
