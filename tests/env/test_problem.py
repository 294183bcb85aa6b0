"""A problem of one's own: the same from TOML, from KEY=VALUE and from Python."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from llmroute_env import (
    SCENARIOS,
    ConfigError,
    Deadline,
    EnvConfig,
    Pool,
    RequestClass,
    configure,
    load_problem,
    profiles,
    read_trace,
)
from llmroute_env.problem import arguments, assign, overlaid, read_tables, to_tables
from llmroute_env.recording.serialization import config_sha256, read_config, to_plain
from llmroute_env.simulation.simulation import Simulation
from traces.errors import TraceError
from traces.tasks import PeriodicMix, TaskMix
from traces.workloads import CountsReplay

TOML = """
scenario = "soft"
profile = "mine.toml"
shed_expired = false
window_s = 120
load = [1, 2.5]
observation = ["task", "slow_rate", "slack", "class"]
classes = [{name = "free"}, {name = "paying", weight = 3, deadline = {deadline_s = 0.2}}]

[deadline]
deadline_s = 0.5

[[pools]]
gpus = 2
[[pools]]
gpus = 1
models = ["opt-125m"]

[max_batch]
"opt-6.7b" = 8

[workload]
cv = 2

[mix]
type = "PeriodicMix"
first = [1, 0, 0, 0]
second = [0, 1, 1, 0]
period_s = 60

[class_mix]
free = 9
paying = 1
"""

PROFILE = 'name = "mine"\nextends = "opt-h100"\nmodels = [{name = "opt-1.3b", base_s = 0.02}]\n'

ASSIGNMENTS = [
    "profile=mine.toml",
    "shed_expired=false",
    "window_s=120",
    "load=[1, 2.5]",
    "observation=['task', 'slow_rate', 'slack', 'class']",
    "classes=[{name='free'}, {name='paying', weight=3, deadline.deadline_s=0.2}]",
    "deadline.deadline_s=0.5",
    "pools=[{gpus=2}, {gpus=1, models=['opt-125m']}]",
    'max_batch."opt-6.7b"=8',
    "workload.cv=2",
    "mix.type=PeriodicMix",
    "mix.first=[1, 0, 0, 0]",
    "mix.second=[0, 1, 1, 0]",
    "mix.period_s=60",
    "class_mix.free=9",
    "class_mix.paying=1",
]


def folder_with(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        (folder / f"{name}.toml").write_text(content)
    return folder


def python_fields(profile: str) -> dict[str, Any]:
    return {
        "profile": profiles.load(profile),
        "shed_expired": False,
        "window_s": 120.0,
        "load": (1.0, 2.5),
        "observation": ("task", "slow_rate", "slack", "class"),
        "classes": (
            RequestClass("free"),
            RequestClass("paying", weight=3.0, deadline=Deadline(0.2)),
        ),
        "deadline": Deadline(0.5, "linear", grace_s=0.4),
        "pools": (Pool(2), Pool(1, ("opt-125m",))),
        "max_batch": {"opt-6.7b": 8},
        "workload": CountsReplay(cv=2.0),
        "mix": PeriodicMix((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 1.0, 0.0), 60.0),
        "class_mix": {"free": 9.0, "paying": 1.0},
    }


def sha(fields: dict[str, Any]) -> str:
    own = {name: value for name, value in fields.items() if name != "scenario"}
    return config_sha256(configure(fields["scenario"], **own))


def test_one_fingerprint_from_toml_from_assignments_and_from_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_with(tmp_path, mine=PROFILE, problem=TOML)
    from_file = load_problem(tmp_path / "problem.toml")
    monkeypatch.chdir(tmp_path)
    from_words = arguments(assign({"scenario": "soft"}, ASSIGNMENTS))
    from_python = {"scenario": "soft"} | python_fields("mine.toml")
    assert sha(from_file) == sha(from_words) == sha(from_python)
    assert sha(from_file) != sha({"scenario": "soft"})
    assert sha(from_file) != sha(from_file | {"queue_capacity": 511})


def test_an_environment_is_made_of_a_file(tmp_path: Path) -> None:
    folder_with(tmp_path, mine=PROFILE, problem=TOML)
    env = gymnasium.make("LLMRoute-v0", **load_problem(tmp_path / "problem.toml"), split="test")
    config: EnvConfig = env.unwrapped.config  # type: ignore[attr-defined]
    assert (config.gpus, config.queue_capacity, config.split) == (3, 512, "test")
    env.reset(seed=0)
    assert np.isfinite(env.step(0)[0]).all()


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_can_be_said_in_full(name: str) -> None:
    config = configure(name)
    fields = arguments({"scenario": "stable"} | to_tables(config))
    assert sha(fields) == config_sha256(config)


def test_later_assignments_and_upper_layers_win() -> None:
    lower: dict[str, Any] = {"load": 2.0, "trace": ["azure-code"], "cv": 4.0}
    assert overlaid(lower, {"workload": {"type": "PoissonArrivals"}}).keys() == {"load", "workload"}
    set_twice = assign(
        lower, ["load=3", "load=4", "deadline={kind='linear'}", "deadline.grace_s=1"]
    )
    assert set_twice["load"] == 4
    assert set_twice["deadline"] == {"kind": "linear", "grace_s": 1}
    assert lower["load"] == 2.0


REFUSED = {
    "typo": ("shed_expird=false", "shed_expird: got False, .*; nearest: shed_expired; accepted"),
    "inner typo": ("deadline.dedline_s=1", "deadline.dedline_s: .* nearest: deadline_s"),
    "kind": (
        "workload.type=PoisonArrivals",
        "workload.type: got 'PoisonArrivals'; nearest: PoissonArrivals; ",
    ),
    "scenario": ("scenario=stabl", "scenario: 'stabl' is unknown; nearest: stable"),
    "no flag": ("shed_expired=off", "shed_expired: got 'off'; accepted: true or false"),
    "no limit": ('max_batch."opt-6.7b"=2.9', "max_batch.opt-6.7b: got 2.9; accepted: an integer"),
    "flag": ("queue_capacity=true", "queue_capacity: got True; accepted: an integer"),
    "array": ("load=[1, 2, 3]", r"load: got \[1, 2, 3\]; accepted: a number, or an array of 2"),
    "table": ("load={low=1}", "load: got {'low': 1}; accepted: a number"),
    "no table": ("deadline=3", "deadline: got 3; accepted: a table with deadline_s, kind, grace_s"),
    "lacks": ("classes=[{weight=2}]", r"classes\[0\]: lacks 'name'; accepted: a table with name"),
    "own rate": ("load=none", "load: got None; accepted: a number with this workload"),
    "date": ("dispatcher=1979-05-27", "dispatcher: got datetime.date.*; accepted: a text"),
    "value": ("window_s=0", "window_s: got 0; accepted: seconds > 0"),
    "inner value": ("deadline.deadline_s=-1", "deadline: deadline_s: got -1; accepted: seconds"),
    "no assignment": ("shed_expired", "--set: got 'shed_expired'; accepted: KEY=VALUE"),
    "two lines": ("load=1\nwindow_s=2", "--set: got .*; accepted: KEY=VALUE"),
    "no key": ("=1", "--set: got '=1'; accepted: KEY=VALUE"),
    "cv": ("cv=2", "cv: got 2; accepted: with a trace of counts"),
    "trace": ("trace=nix.csv", "trace: got 'nix.csv', which is not there; accepted: an existing"),
    "profile": ("profile=nix", "profile: 'nix' is unknown; accepted: llama3, opt-a100"),
    "arrays": ("workload={type='Trace'}", "workload.type: got 'Trace'; "),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_field(case: str) -> None:
    assignment, message = REFUSED[case]
    with pytest.raises(ConfigError, match=message):
        arguments(assign({}, [assignment]))


@pytest.mark.parametrize("content", [None, b"load = ", b"\xff\xfe", b"a = " + b"[" * 5000])
def test_a_file_that_is_no_problem_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "problem.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"problem.toml': .*; accepted: a TOML file"):
        load_problem(path)


ROWS = "arrival_s\n" + "".join(f"{0.05 * i:.2f}\n" for i in range(3000))


def test_a_trace_keeps_its_rate_and_its_place_is_meant_from_the_file(tmp_path: Path) -> None:
    folder_with(tmp_path, problem='trace = "own.csv"\nscenario = "stable"')
    (tmp_path / "own.csv").write_text(ROWS)
    fields = load_problem(tmp_path / "problem.toml")
    config = configure("stable", **{n: v for n, v in fields.items() if n != "scenario"})
    assert config.load is None
    assert read_tables(tmp_path / "problem.toml")["trace"] == [str(tmp_path / "own.csv")]
    python = configure("stable", workload=read_trace(tmp_path / "own.csv"), load=None)
    assert config == python
    assert config_sha256(config) == config_sha256(python)
    tape = Simulation(replace(config, split="all")).tape
    shares = np.bincount(tape.task, minlength=4) / 3000
    assert np.allclose(shares, 0.25, atol=0.05), "a file without tasks has them drawn equally"


def test_tasks_of_a_trace_are_drawn_by_a_mix_that_is_given(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(ROWS)
    tables = assign({"trace": str(tmp_path / "own.csv")}, ["mix.weights=[0, 0, 1, 0]", "load=2"])
    fields = arguments(tables)
    assert (fields["load"], fields["mix"]) == (2, TaskMix((0, 0, 1, 0)))
    assert (fields["workload"].task == 2).all()


def test_tasks_are_drawn_alike_with_the_file_and_with_the_environment(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(ROWS)
    mix = TaskMix((1.0, 2.0, 3.0, 4.0))
    by_file = read_trace(tmp_path / "own.csv", mix=mix)
    by_env = configure(
        "stable", workload=read_trace(tmp_path / "own.csv"), load=None, mix=mix, split="all"
    )
    np.testing.assert_array_equal(by_file.task, Simulation(by_env).tape.task)
    told = "arrival_s,task\n" + "".join(f"{0.05 * i:.2f},copa\n" for i in range(3000))
    (tmp_path / "told.csv").write_text(told)
    assert (read_trace(tmp_path / "told.csv").task == 3).all()
    again = read_trace(tmp_path / "told.csv", mix=mix)
    np.testing.assert_array_equal(again.task, by_file.task)


def test_counts_become_arrivals_of_the_given_cv() -> None:
    calm, bursty = read_trace("maf2019-500fn"), read_trace("maf2019-500fn", cv=4.0)
    assert calm != bursty
    cvs = [np.diff(t.arrival_s[:100_000]).std() * t.mean_rate_per_s for t in (calm, bursty)]
    assert cvs[1] > 2 * cvs[0]
    with pytest.raises(TraceError, match=r"cv: got 2\.0; accepted: none: azure-code has times"):
        read_trace("azure-code", cv=2.0)


def test_plain_data_names_the_file_and_refuses_other_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.csv"
    path.write_text(ROWS)
    config = configure("stable", workload=read_trace(path), load=None)
    plain = to_plain(config)
    assert plain["workload"]["paths"] == [str(path)]
    assert len(plain["workload"]["sha256"]) == 64
    assert read_config(plain) == config
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.rename(path, elsewhere / "own.csv")
    monkeypatch.chdir(elsewhere)
    assert config_sha256(read_config(plain)) == config_sha256(config)
    (elsewhere / "own.csv").write_text(ROWS + "200.0\n")
    with pytest.raises(ConfigError, match=r"own\.csv: its content has changed: got sha256"):
        read_config(plain)
    os.remove(elsewhere / "own.csv")
    with pytest.raises(ConfigError, match=r"own\.csv', which is not there; .* the sha256"):
        read_config(plain)


def test_a_changed_trace_is_written_in_full(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(ROWS)
    part = read_trace(tmp_path / "own.csv").slice(0.0, 60.0)
    plain = to_plain(configure("stable", workload=part, load=None))
    assert plain["workload"]["$type"] == "Trace"
    assert "zlib" in plain["workload"]["arrival_s"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"load": (1.0, 4.0)},
        {"deadline": Deadline(0.3), "window_s": float("inf")},
        {"pools": (Pool(2),), "scenario": "soft", "render_mode": "ansi"},
        {"mix": TaskMix((1.0, 0.0, 0.0, 0.0)), "max_batch": {"opt-6.7b": 4}},
    ],
)
def test_a_specification_as_json_makes_the_environment_again(fields: dict[str, Any]) -> None:
    env = gymnasium.make("LLMRoute-v0", **fields)
    assert env.spec is not None
    assert env.spec.kwargs == fields
    again = gymnasium.make(EnvSpec.from_json(env.spec.to_json()))
    configs = [e.unwrapped.config for e in (env, again)]  # type: ignore[attr-defined]
    assert configs[0] == configs[1]
    assert again.render_mode == env.render_mode
