"""Any TOML and any KEY=VALUE: a problem that Python accepts too, or one clean ConfigError."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.runs.plan import Plan
from benchmarks.shipping.problem_table import EXAMPLES
from llmroute_env import ConfigError, EnvConfig, configure, load_problem
from llmroute_env.problem import KEYS, arguments, assign, to_tables
from llmroute_env.recording.serialization import config_sha256
from llmroute_env.scenarios import USUAL
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.simulation.tape import workload_trace
from llmroute_env.toml_values import toml
from traces.typed import MISFIT, fit, hints_of

INPUTS, MANY = 3000, 200_000

SCALARS: list[Any] = [
    *(True, False, 0, 1, -1, 2, 7, 64, 2.9, 0.5, 1e308, -1e-320, 10**400),
    *(
        float("inf"),
        float("nan"),
        "",
        "off",
        "none",
        "true",
        "any",
        "ü",
        "a" * 500,
        "\x00",
        "/",
        ".",
    ),
    *("opt-a100", "opt-h100", "nix.toml", "\x00.toml", "azure-code", "/dev/null", "$type", "Trace"),
    *("stable", "soft", "model", "gpu-model", "hard", "linear", "test", "task", "hellaswag"),
    *("opt-6.7b", "PoissonArrivals", "TaskMix", "GammaArrivals"),
    *(datetime.date(1979, 5, 27), datetime.datetime(1979, 5, 27, 7, 32), datetime.time(7, 32)),
]
INNER = [
    "type",
    "deadline_s",
    "kind",
    "grace_s",
    "gpus",
    "models",
    "gpu",
    "name",
    "weight",
    "weights",
]
INNER += [
    "cv",
    "span_s",
    "source",
    "extends",
    "opt-6.7b",
    "tasks",
    "base_s",
    "",
    "$type",
    "task_weights",
]
PIECES = [
    "=",
    "[",
    "]",
    "{",
    "}",
    ".",
    '"',
    "'",
    "\n",
    "#",
    ",",
    "1",
    "true",
    "inf",
    "_",
    " ",
    "\x00",
    "[[",
]


def some(choices: Any, rng: np.random.Generator) -> Any:
    return choices[int(rng.integers(len(choices)))]


def value(rng: np.random.Generator, depth: int = 0) -> Any:
    """A random value as TOML may hold it."""
    kind = rng.random()
    if depth > 3 or kind < 0.6:
        return some(SCALARS, rng)
    size = int(rng.integers(4))
    if kind < 0.8:
        return [value(rng, depth + 1) for _ in range(size)]
    return {some(INNER, rng): value(rng, depth + 1) for _ in range(size)}


def changed(data: Any, rng: np.random.Generator) -> Any:
    """A valid value with one thing in it changed."""
    if rng.random() < 0.3 or not isinstance(data, (list, dict)) or not data:
        return value(rng)
    places: list[Any] = list(data) if isinstance(data, dict) else list(range(len(data)))
    place = some(places, rng)
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[place] = changed(data[place], rng)
    return copy


VALID = to_tables(configure("priority", max_batch={"opt-6.7b": 8}))


def tables(rng: np.random.Generator) -> dict[str, Any]:
    """Random tables of a problem: valid ones changed, or anything."""
    made: dict[str, Any] = {}
    for _ in range(int(rng.integers(1, 4))):
        name = some(KEYS, rng) if rng.random() < 0.95 else some(INNER, rng)
        made[name] = (
            changed(VALID[name], rng) if name in VALID and rng.random() < 0.6 else value(rng)
        )
    return made


def check_line(error: ConfigError) -> None:
    """A refusal is one line."""
    assert "\n" not in str(error), error


def check_clean(error: ConfigError) -> None:
    """A refusal is one line that says what is accepted."""
    check_line(error)
    assert "accepted" in str(error), error


def attempt(data: Mapping[str, Any]) -> EnvConfig | None:
    """What is made of tables: an environment, or nothing where they are cleanly refused."""
    try:
        fields = arguments(data)
    except ConfigError as error:
        check_clean(error)
        return None
    own = {name: entry for name, entry in fields.items() if name != "scenario"}
    for name, entry in own.items():
        assert fit(entry, hints_of(EnvConfig)[name]) is not MISFIT, (name, entry)
    return configure(fields.get("scenario", USUAL), **own)


def run_tables(inputs: int, seed: int) -> int:
    """Try so many tables; returns how many were accepted."""
    rng = np.random.default_rng(seed)
    accepted = 0
    for _ in range(inputs):
        config = attempt(tables(rng))
        if config is not None:
            accepted += 1
            again = attempt({"scenario": "stable"} | to_tables(config))
            assert again is not None
            assert config_sha256(again) == config_sha256(config)
    return accepted


BASES = [
    to_tables(configure(name)) for name in ("priority", "stable", "overload", "admission", "soft")
]
NUMBERS: list[Any] = [0, 1, -1, 2, 7, 64, 1e-9, 0.05, 0.5, 2.5, 1e3, 1e15, 5e-324, 2**53, 1e308]
NUMBERS += [float("inf"), float("nan")]
OF_LEARNERS = ("split", "observation", "action")
MOST_ARRIVALS, MOST_QUEUES = 3e6, 200


def nudged(data: Any, rng: np.random.Generator) -> Any:
    """A valid value in which one number, flag or text is another, or one entry is gone."""
    if isinstance(data, bool):
        return not data
    if isinstance(data, (int, float)):
        return some(NUMBERS, rng)
    if isinstance(data, str) or not data:
        return some(SCALARS, rng) if rng.random() < 0.5 else data
    copy = dict(data) if isinstance(data, dict) else list(data)
    place = some(list(copy) if isinstance(copy, dict) else range(len(copy)), rng)
    if rng.random() < 0.1:
        del copy[place]
    else:
        copy[place] = nudged(copy[place], rng)
    return copy


def is_small(config: EnvConfig) -> bool:
    """Whether an episode can be begun in no time."""
    span_s = getattr(config.workload, "span_s", 4800.0)
    arrivals = config.load_range[1] * config.load_1_per_s * span_s
    return arrivals < MOST_ARRIVALS and config.gpus * len(config.models) < MOST_QUEUES


def begun(config: EnvConfig, rng: np.random.Generator) -> bool:
    """Whether episodes begin and go on in numbers; else that is refused."""
    try:
        simulation = Simulation(config, 2)
    except ConfigError as error:
        check_line(error)
        return False
    simulation.begin(rng.integers(2**64, size=2, dtype=np.uint64))
    for _ in range(20):
        simulation.step(rng.integers(simulation.actions, size=2))
        if simulation.outputs.terminated.all():
            break
    assert np.isfinite(simulation.outputs.observations).all(), config
    assert np.isfinite(simulation.outputs.rewards).all(), config
    return True


def plan_trainings(data: Mapping[str, Any]) -> None:
    """What is accepted can be planned to be learned in, or is cleanly refused."""
    free = {name: entry for name, entry in data.items() if name not in OF_LEARNERS}
    for algorithm in ("rollout-pi", "rollout-pi-model", "ddqn"):
        try:
            fields = arguments(free)
            Plan(Path(), fields.pop("scenario", USUAL), fields, algorithm=algorithm)
        except ConfigError as error:
            check_clean(error)


def run_episodes(inputs: int, seed: int) -> int:
    """Try so many problems that are nearly valid; returns in how many an episode began."""
    rng = np.random.default_rng(seed)
    begins = 0
    for _ in range(inputs):
        base = some(BASES, rng)
        names = [some(list(base), rng) for _ in range(int(rng.integers(1, 4)))]
        data = {**base, **{name: nudged(base[name], rng) for name in names}}
        config = attempt(data)
        plan_trainings(data)
        begins += config is not None and is_small(config) and begun(config, rng)
    return begins


def words(rng: np.random.Generator) -> str:
    """A KEY=VALUE, valid, changed, or anything."""
    name = some(list(EXAMPLES), rng)
    text = EXAMPLES[name].replace(" = ", "=", 1)
    if rng.random() < 0.3:
        text = f"{name}={toml_or_repr(value(rng))}"
    for _ in range(int(rng.integers(3))):
        place = int(rng.integers(len(text) + 1))
        text = text[:place] + some(PIECES, rng) + text[place + int(rng.integers(3)) :]
    return text


def toml_or_repr(data: Any) -> str:
    try:
        return toml(data)
    except TypeError:
        return str(data)


def run_words(inputs: int, seed: int) -> int:
    """Try so many assignments; returns how many were accepted."""
    rng = np.random.default_rng(seed)
    accepted = 0
    for _ in range(inputs):
        text = words(rng)
        try:
            data = assign({}, [text])
        except ConfigError as error:
            check_clean(error)
            continue
        accepted += attempt(data) is not None
    return accepted


def run_files(inputs: int, seed: int, folder: Path) -> int:
    """Try so many files of damaged TOML; returns how many were accepted."""
    rng = np.random.default_rng(seed)
    path = folder / "problem.toml"
    lines = [line for name, line in EXAMPLES.items() if name != "class_mix"]
    accepted = 0
    for _ in range(inputs):
        text = bytearray("\n".join(some(lines, rng) for _ in range(2)).encode())
        for _ in range(int(rng.integers(1, 4))):
            start = int(rng.integers(len(text)))
            piece = bytes(rng.integers(256, size=2, dtype=np.uint8))
            text[start : start + int(rng.integers(8))] = some(
                [piece, *map(str.encode, PIECES)], rng
            )
        path.write_bytes(bytes(text))
        try:
            load_problem(path)
            accepted += 1
        except ConfigError as error:
            check_clean(error)
    return accepted


def test_random_tables() -> None:
    assert 20 < run_tables(INPUTS, 0) < INPUTS


def test_random_assignments() -> None:
    assert 100 < run_words(INPUTS, 1) < INPUTS


def test_damaged_files(tmp_path: Path) -> None:
    assert 0 < run_files(INPUTS // 5, 2, tmp_path) < INPUTS // 5


def test_episodes_of_what_is_accepted_begin() -> None:
    assert 20 < run_episodes(100, 6) < 100


@pytest.mark.verify
def test_many_more(tmp_path: Path) -> None:
    assert run_episodes(MANY // 100, 7) > 0
    assert run_tables(MANY, 3) > 0
    assert run_words(MANY, 4) > 0
    assert run_files(MANY // 10, 5, tmp_path) > 0


@pytest.mark.parametrize("field", ["deadline_s", "grace_s"])
def test_a_time_of_more_ticks_than_there_are_numbers_is_a_time(field: str) -> None:
    due = {"deadline_s": 0.4, "kind": "linear", "grace_s": 0.1} | {field: 1e308}
    config = attempt({"scenario": "stable", "window_s": 1.0, "deadline": due})
    assert config is not None
    assert begun(config, np.random.default_rng(0))


RECIPES = {
    "PoissonArrivals": ["span_s"],
    "GammaArrivals": ["cv", "span_s"],
    "CountsReplay": ["functions", "min_count_cv", "cv", "minute_s"],
    "RegimeSwitching": ["regimes", "bin_s", "minute_s", "span_s"],
    "TraceReplay": ["second_s"],
}


@pytest.mark.parametrize("kind", RECIPES)
@pytest.mark.parametrize("bad", [-1, 0, float("nan"), float("inf"), 1e-320, 1e300, 10**30])
def test_an_impossible_recipe_is_refused_when_it_is_built(kind: str, bad: float) -> None:
    for key in RECIPES[kind]:
        recipe: dict[str, Any] = {"type": kind, key: bad}
        recipe |= {"cv": 2.0} if kind == "GammaArrivals" and key != "cv" else {}
        recipe |= {"source": "azure-code"} if kind == "TraceReplay" else {}
        config = attempt({"scenario": "stable", "workload": recipe})
        if config is None:
            continue
        try:
            trace, load = workload_trace(config)
        except ConfigError as error:
            check_clean(error)
            continue
        assert np.isfinite(load)
        assert len(trace) > 0
