"""Transitions from steps, against an obvious reference that sees all of history at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from agents.learners.experience import ROWS, Experience, StepResult
from agents.learners.replay import Transitions
from agents.settings.checks import CREDITS

COMPLETION = np.dtype([("env", "i4"), ("decision", "i8"), ("utility", "f8")])


@dataclass
class Decision:
    """One decision of one env, with everything that is ever known about it."""

    observation: float
    action: int
    discount: float
    step_reward: float = 0.0
    own_reward: float | None = None
    next_observation: float = 0.0
    terminated: bool = False
    truncated: bool = False


@dataclass
class History:
    """Random histories of E envs, played into an Experience step by step.

    Requests end 0 to 3 steps after their decision, or never if the episode is truncated first.
    """

    envs: int
    rng: np.random.Generator
    episodes: list[list[list[Decision]]] = field(default_factory=list)
    due: list[dict[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.episodes = [[[]] for _ in range(self.envs)]
        self.due = [{} for _ in range(self.envs)]
        self.observations = self.draw_observations()

    def draw_observations(self) -> np.ndarray:
        return self.rng.integers(-(10**6), 10**6, self.envs) / 1000

    def step(self, experience: Experience) -> None:
        seen, actions = self.observations.copy(), self.rng.integers(3, size=self.envs)
        discounts = self.rng.uniform(0.5, 1.0, self.envs)
        completions: list[tuple[int, int, float]] = []
        final = np.full(self.envs, None, object)
        ended = self.rng.random((2, self.envs)) < 0.06
        terminated, truncated = ended[0], ended[1] & ~ended[0]
        rewards = np.zeros(self.envs)
        for e in range(self.envs):
            episode = self.episodes[e][-1]
            self.due[e][len(episode)] = int(self.rng.integers(4))
            decision = Decision(seen[e], int(actions[e]), discounts[e] * (not terminated[e]))
            episode.append(decision)
            completions += self.complete(e, bool(terminated[e]))
            rewards[e] = sum(u for env, _, u in completions if env == e)
            decision.step_reward = rewards[e]
            decision.next_observation = float(self.draw_observations()[0])
            decision.terminated, decision.truncated = bool(terminated[e]), bool(truncated[e])
            self.observations[e] = decision.next_observation
            if terminated[e] or truncated[e]:
                final[e] = np.array([decision.next_observation], np.float32)
                self.observations[e] = float(self.draw_observations()[0])
                self.episodes[e].append([])
                self.due[e] = {}
        infos = {"completions": np.array(completions, COMPLETION), "final_obs": final}
        result: StepResult = (as_rows(self.observations), rewards, terminated, truncated, infos)
        experience.store(as_rows(seen), actions, discounts, result)

    def complete(self, e: int, everything: bool) -> list[tuple[int, int, float]]:
        """Requests of env e that end now; all, when the episode terminates."""
        found = []
        for number, left in list(self.due[e].items()):
            if left == 0 or everything:
                utility = float(self.rng.uniform())
                self.episodes[e][-1][number].own_reward = utility
                found.append((e, number, utility))
                del self.due[e][number]
            else:
                self.due[e][number] = left - 1
        return found


def as_rows(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)[:, None]


def reference(
    history: History, n_step: int, credit: str
) -> dict[tuple[float, ...], tuple[float, ...]]:
    """Every transition of every episode that is complete by now."""
    found: dict[tuple[float, ...], tuple[float, ...]] = {}
    for env in history.episodes:
        for episode in env:
            closed = bool(episode) and (episode[-1].terminated or episode[-1].truncated)
            rewards = [d.own_reward if credit == "decision" else d.step_reward for d in episode]
            if closed:
                rewards, episode = cut_lost(rewards, episode)
            found |= windows(rewards, episode, n_step, closed)
    return found


def cut_lost(rewards: list, episode: list[Decision]) -> tuple[list, list[Decision]]:
    """Mark where returns must stop: nobody will know the reward of a lost decision."""
    stops = list(episode)
    for i, reward in enumerate(rewards):
        if reward is None and i > 0:
            stops[i - 1] = Decision(**{**stops[i - 1].__dict__, "truncated": True})
    return rewards, stops


def windows(
    rewards: list, episode: list[Decision], n_step: int, closed: bool
) -> dict[tuple[float, ...], tuple[float, ...]]:
    found = {}
    for first, decision in enumerate(episode):
        total, weight, last = 0.0, 1.0, None
        for k in range(first, min(first + n_step, len(episode))):
            if rewards[k] is None:
                break
            total += weight * rewards[k]
            weight *= episode[k].discount
            if k == first + n_step - 1 or episode[k].terminated or episode[k].truncated:
                last = episode[k]
                break
        if last is not None:
            found[key(decision.observation, decision.action)] = (
                total,
                weight,
                last.next_observation,
            )
    return found


def key(observation: float, action: int) -> tuple[float, ...]:
    """Observations are random numbers of three digits, so they name the decision."""
    return round(float(observation), 3), int(action)


def as_pairs(transitions: Transitions) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    columns = [column.reshape(len(transitions.actions)) for column in transitions]
    return [(key(row[0], row[1]), tuple(map(float, row[2:]))) for row in zip(*columns, strict=True)]


@pytest.mark.parametrize("credit", CREDITS)
@pytest.mark.parametrize("n_step", [1, 3, 8])
@pytest.mark.parametrize("seed", range(3))
def test_transitions_equal_the_reference(credit: str, n_step: int, seed: int) -> None:
    history = History(3, np.random.default_rng(seed))
    experience, released = Experience(3, 1, n_step, credit), []
    for _ in range(12):
        for _ in range(17):
            history.step(experience)
        released += as_pairs(experience.release())
    expected = reference(history, n_step, credit)
    assert len(released) == len(dict(released)), "a transition was released twice"
    for name, values in released:
        assert values == pytest.approx(expected[name], rel=1e-5, abs=1e-5)
    # The last requests may have ended without their env's rows having been released yet.
    assert len(expected) - len(released) <= 3 * (n_step + 8)


def test_forgets_released_rows_and_resumes() -> None:
    history = History(2, np.random.default_rng(5))
    one, other = Experience(2, 1, 4, "decision"), Experience(2, 1, 4, "decision")
    for step in range(2 * ROWS + 100):
        history.step(one)
        if step % 64 == 0:
            one.release()
    assert len(one.columns["known"]) == ROWS
    other.restore(one.arrays())
    assert as_pairs(one.release()) == as_pairs(other.release())
    assert np.array_equal(one.episode - one.released, other.episode - other.released)


def test_offset_is_subtracted_from_every_reward_of_a_return() -> None:
    plain, shifted = Experience(2, 1, 3, "completion"), Experience(2, 1, 3, "completion", 0.7)
    for experience in (plain, shifted):
        history = History(2, np.random.default_rng(9))
        for _ in range(40):
            history.step(experience)
    before, after = dict(as_pairs(plain.release())), dict(as_pairs(shifted.release()))
    first = history.episodes[0][0]
    expected = 0.7 * (1 + first[0].discount + first[0].discount * first[1].discount)
    name = key(first[0].observation, first[0].action)
    assert len(first) > 3
    assert before[name][0] - after[name][0] == pytest.approx(expected, rel=1e-5)
