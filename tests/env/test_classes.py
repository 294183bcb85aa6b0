"""Classes of users: weights and deadlines of their own, and nothing else that they change."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from llmroute_env import (
    ConfigError,
    Deadline,
    EnvConfig,
    LLMRouteEnv,
    LLMRouteVectorEnv,
    RequestClass,
    configure,
)
from llmroute_env.dynamics.features import DEFAULT_FEATURES
from llmroute_env.recording.recording import play
from llmroute_env.recording.run_card import make_card, replay
from llmroute_env.recording.serialization import config_sha256, read_config, to_plain
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.simulation.summary import share_of_peak

ALIKE = (RequestClass("one"), RequestClass("other"))
FINGERPRINTS = {
    "stable": "291435e0015e",
    "soft": "73265e3532ac",
}
"""Of configurations from before there were classes."""


def scripted(observations: np.ndarray) -> np.ndarray:
    return (observations[:, 0] + 2 * observations[:, 1]).astype(np.int64) % 3


def ended(config: EnvConfig, envs: int = 2, decisions: int = 3000) -> tuple[Any, np.ndarray]:
    """The simulation after so many decisions, and all that ended."""
    simulation = Simulation(config, envs)
    simulation.begin(np.arange(envs).astype(np.uint64))
    parts = []
    for _ in range(decisions):
        simulation.step(scripted(simulation.outputs.observations))
        parts.append(simulation.completions.copy())
    return simulation, np.concatenate(parts)


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_without_classes_fingerprints_are_those_from_before(name: str):
    assert config_sha256(configure(name)).startswith(FINGERPRINTS[name])
    assert "classes" not in to_plain(configure(name))


@pytest.mark.parametrize("scenario", ["soft", "unpredictable-2"])
def test_classes_that_are_alike_change_nothing(scenario: str):
    config = configure(scenario, window_s=5.0)
    plain, mine = ended(config)
    classed, theirs = ended(replace(config, classes=ALIKE, class_mix={"one": 0.3, "other": 0.7}))
    for name in mine.dtype.names:
        if name != "user_class":
            np.testing.assert_array_equal(mine[name], theirs[name])
    for name in ("utility", "peak_utility", "in_time", "late", "shed", "rng"):
        np.testing.assert_array_equal(plain.state.envs[name], classed.state.envs[name])
    share = theirs["user_class"].mean()
    assert share == pytest.approx(0.7, abs=0.03)
    assert not mine["user_class"].any()


def test_weights_enter_utility_and_peak():
    config = configure("unpredictable-2", window_s=5.0, classes=ALIKE)
    _, usual = ended(config)
    heavy = (ALIKE[0], RequestClass("other", weight=2.0, task_weights={"piqa": 1.5}))
    simulation, weighed = ended(replace(config, classes=heavy))
    factor = np.where(usual["user_class"] == 1, 2.0, 1.0)
    piqa = config.tasks.index("piqa")
    factor = np.where((usual["user_class"] == 1) & (usual["task"] == piqa), 3.0, factor)
    np.testing.assert_allclose(weighed["utility"], factor * usual["utility"], rtol=1e-12)
    largest = np.array(config.largest_model.accuracy)
    assert simulation.state.envs["peak_utility"][0] > largest.min() * 3000


def test_deadlines_are_those_of_class_and_task():
    strict = RequestClass(
        "strict",
        deadline=Deadline(0.1),
        task_deadlines={"copa": Deadline(0.2, "linear", grace_s=0.3)},
    )
    fields = {"window_s": 5.0, "load": 3.0, "shed_expired": False}
    config = configure("unpredictable-2", classes=(ALIKE[0], strict), **fields)
    _, found = ended(config)
    latency_s, copa = found["finish_s"] - found["arrival_s"], config.tasks.index("copa")
    served, is_strict = found["batch"] > 0, found["user_class"] == 1
    accuracy = config.utility[0][found["task"], found["model"]]
    hard = served & is_strict & (found["task"] != copa)
    assert 0 < (found["outcome"][hard] == 1).mean() < 1
    np.testing.assert_array_equal(found["outcome"][hard] == 0, latency_s[hard] <= 0.1)
    soft = served & is_strict & (found["task"] == copa) & (latency_s > 0.2)
    assert soft.any()
    expected = accuracy[soft] * np.maximum(1 - (latency_s[soft] - 0.2) / 0.3, 0.0)
    np.testing.assert_allclose(found["utility"][soft], expected, atol=1e-12)
    usual = served & ~is_strict
    np.testing.assert_array_equal(found["outcome"][usual] == 0, latency_s[usual] <= 0.4)


def test_what_is_shed_depends_on_the_class():
    strict = RequestClass("strict", deadline=Deadline(0.1))
    _, found = ended(configure("overload", window_s=3.0, classes=(ALIKE[0], strict)))
    shed = found["outcome"] == 3
    per_class = [shed[found["user_class"] == c].mean() for c in (0, 1)]
    assert per_class[1] > 1.3 * per_class[0] > 0


def test_the_router_reads_the_class():
    env = LLMRouteEnv("priority", completions=True)
    assert env.config.observation[-1] == "class"
    observation, _ = env.reset(seed=0)
    tape, first = env.simulation.tape, int(env.simulation.state.envs[0]["first"])
    column = env.config.layout.first("class")
    for step in range(200):
        expected = np.eye(2)[tape.user_class[first + step]]
        np.testing.assert_array_equal(observation[column:], expected)
        observation, *_ = env.step(step % 3)


def test_after_the_last_request_no_class_is_pending():
    env = LLMRouteEnv("priority", window_s=0.2)
    env.reset(seed=0)
    over = False
    while not over:
        observation, _, over, _, info = env.step(0)
    assert not observation[env.config.layout.first("class") :].any()
    assert set(info["summary"]["classes"]) == {"standard", "priority"}


def test_the_short_rate_is_a_feature_too():
    env = LLMRouteEnv("stable", observation=("fast_rate", "short_rate", "rate", "slow_rate"))
    env.reset(seed=0)
    for step in range(50):
        seen, *_ = env.step(step % 3)
    assert np.log1p(seen[1]) == pytest.approx(seen[0], rel=1e-6)
    assert np.log1p(seen[2]) == pytest.approx(seen[3], rel=1e-6)


def test_figures_of_classes_add_up():
    env = LLMRouteVectorEnv(
        3, "priority", autoreset_mode="SameStep", completions=True, window_s=1.0
    )
    env.reset(seed=0)
    summaries: list[dict[str, Any]] = []
    while len(summaries) < 3:
        *_, infos = env.step(np.full(3, 1))
        ended = np.flatnonzero(infos.get("_final_info", ()))
        summaries += [env.simulation.final_summary(int(e)) for e in ended]
    for summary in summaries:
        classes = summary["classes"].values()
        assert sum(users["requests"] for users in classes) == summary["requests"]
        assert sum(users["utility"] for users in classes) == pytest.approx(summary["utility"])
        peak = sum(users["peak_utility"] for users in classes)
        assert peak == pytest.approx(summary["peak_utility"])
        met = sum(users["deadline_met"] * users["requests"] for users in classes)
        assert met == pytest.approx(summary["in_time"])


def test_a_single_class_is_everybody():
    env = LLMRouteEnv("stable", classes=(RequestClass("all", weight=2.0),), window_s=2.0)
    env.reset(seed=0)
    over = False
    while not over:
        *_, over, _, info = env.step(1)
    whole, found = info["summary"], info["summary"]["classes"]["all"]
    assert found["requests"] == whole["requests"] > 100
    assert {**whole, **found} == whole


def test_where_nothing_can_be_earned_the_share_is_0():
    assert share_of_peak(np.array([0.0, 0.5, 1.0]), np.array([0.0, 0.0, 2.0])).tolist() == [
        0,
        0,
        0.5,
    ]


def test_classes_shift_neither_arrivals_nor_tasks():
    plain, classed = (Simulation(configure(name)) for name in ("unpredictable-1", "priority"))
    np.testing.assert_array_equal(plain.tape.arrival_s, classed.tape.arrival_s)
    np.testing.assert_array_equal(plain.tape.task, classed.tape.task)
    assert classed.tape.user_class.mean() == pytest.approx(0.1, abs=0.005)
    test = Simulation(configure("priority", split="test"))
    length = min(len(test.tape.user_class), 1000)
    assert (test.tape.user_class[:length] != classed.tape.user_class[:length]).any()
    again = Simulation(configure("priority"))
    np.testing.assert_array_equal(again.tape.user_class, classed.tape.user_class)


def test_a_card_holds_the_classes():
    config = configure("priority", window_s=1.0)
    assert read_config(to_plain(config)) == config
    recording = play(config, 1, lambda seen: np.array([1]), 50)
    card = make_card(config, 1, recording.actions)
    assert replay(card) is None
    assert config_sha256(replace(config, class_mix={})) != config_sha256(config)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weight": 0.0}, "class 'x' weight: got 0.0; accepted: a finite number > 0"),
        ({"weight": -1.0}, "weight: got -1.0"),
        ({"weight": math.nan}, "weight: got nan"),
        ({"weight": math.inf}, "weight: got inf"),
        ({"task_weights": {"piqa": 0.0}}, "task_weights 'piqa': got 0.0"),
    ],
)
def test_a_weight_that_is_none(fields: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        RequestClass("x", **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"class_mix": {"three": 1.0}}, "class_mix: got 'three'; accepted: names of classes: one"),
        ({"class_mix": {"one": 1.0}}, r"class_mix lacks: got \['other'\]"),
        ({"class_mix": {"one": 1.0, "other": 0.0}}, "class_mix 'other': got 0.0"),
        ({"class_mix": {"one": 1.0, "other": math.nan}}, "class_mix 'other': got nan"),
        ({"classes": (*ALIKE, RequestClass("one"))}, "classes: got .* names that differ"),
        ({"classes": (RequestClass("a", task_weights={"nix": 1.0}),)}, "task: got 'nix'"),
        ({"classes": (), "class_mix": {"one": 1.0}}, "there are none"),
    ],
)
def test_classes_that_do_not_fit(fields: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        EnvConfig(**{"classes": ALIKE, **fields})


def test_a_class_needs_a_name():
    with pytest.raises(ConfigError, match="class name"):
        RequestClass("")


def test_default_features_are_what_they_were():
    assert configure("stable").layout.width == 16
    assert configure("stable", classes=ALIKE).layout.names == DEFAULT_FEATURES
