"""Rows of a finished suite, and that nothing is run twice."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.base import for_agent
from agents.compiled.making import COMPILED
from agents.compiled.policies import episode_scores
from agents.heuristics import models as heuristics
from agents.loading import load
from benchmarks.evaluation.episode_rows import figures, rows_of
from benchmarks.evaluation.row_files import read_rows, without_times
from benchmarks.evaluation.rows import Figures, Row
from benchmarks.evaluation.runner import evaluate, summarise
from benchmarks.suites.bench import bench, plan, write_suite
from benchmarks.suites.entries.every import ENTRIES
from benchmarks.suites.suite import SUITES, Suite
from benchmarks.suites.validate import differences
from benchmarks.suites.workers import Workers
from llmroute_env import ConfigError, configure
from llmroute_env.recording.serialization import config_sha256, trace_sha256
from llmroute_env.simulation.episodes import episode_seeds
from llmroute_env.simulation.simulation import Simulation

HERE = Workers(count=0)


@pytest.fixture(scope="module")
def classed() -> list[Figures]:
    """What rows of an entry with classes of users tell of its episodes."""
    config = replace(ENTRIES["priority"].config("test"), window_s=2.0)
    evaluation = evaluate(heuristics.make("random", config), config, episodes=2, seed=0)
    return [figures(episode, evaluation, None) for episode in evaluation.episodes]


@pytest.fixture(scope="module")
def guarded() -> list[Figures]:
    """What rows of a guarded router tell of its episodes."""
    pytest.importorskip("torch")
    config = configure("unpredictable-1", split="test", window_s=1.0)
    evaluation = evaluate(load("pretrained:unpredictable", config), config, episodes=3, seed=0)
    return [*rows_of(evaluation, {}, None, {})]  # type: ignore[typeddict-item]


def test_guarded_routers_say_how_often_their_heuristic_was_overruled(guarded: list[Figures]):
    config = configure("unpredictable-1", split="test", window_s=1.0)
    agent = load("pretrained:unpredictable", config)
    network = agent.network
    config = for_agent(config, agent)
    policy = COMPILED["steep-pair"](config, float(network.price))
    for seed, row in zip(episode_seeds(0, 3), guarded, strict=True):
        simulation = Simulation(config, 1, logs_completions=False)
        simulation.begin(np.array([seed]))
        against = []
        while not simulation.outputs.terminated.all():
            seen = simulation.outputs.observations
            actions = network.greedy(seen)
            against.append(actions[0] != network.usual(seen)[0])
            simulation.step(actions)
        guard = row["guard"]
        assert 0.0 < guard["overruled"] < 1.0
        assert guard["overruled"] == np.mean(against)
        alone = episode_scores(policy, config, np.array([seed]))
        assert guard["utility_of_peak"] == alone[0]
        assert guard["heuristic"] == "steep-pair"


def test_a_row_per_entry_router_seed_and_episode(finished: Path, small: Suite):
    rows = read_rows(finished)
    keys = {(row["entry"], row["agent"], row["training_seed"], row["episode"]) for row in rows}
    expected = len(small.entries) * len(small.agents) * small.episodes
    assert len(keys) == len(rows) == expected
    assert {row["suite"] for row in rows} == {"testing"}


def test_rows_say_what_they_are_of(finished: Path):
    for row in read_rows(finished):
        config = ENTRIES[row["entry"]].config("test")
        agent = heuristics.make(row["agent"], config)
        assert row["config_sha256"] == config_sha256(replace(config, observation=agent.observation))
        assert row["trace_sha256"] == trace_sha256(Simulation(config).trace)
        assert row["versions"].keys() >= {"python", "llmroute", "numpy", "numba"}
        assert row["commit"] is None or len(row["commit"].removesuffix("+changes")) == 40
        assert (row["tuning"] is not None) == (row["agent"] == "largest-feasible")


def test_episodes_are_paired_and_below_the_bound(finished: Path, small: Suite):
    for entry in small.entries:
        for episode in range(small.episodes):
            rows = [
                row
                for row in read_rows(finished)
                if (row["entry"], row["episode"]) == (entry, episode)
            ]
            for name in ("episode_seed", "requests", "peak_utility", "bound"):
                assert len({row[name] for row in rows}) == 1, name
            assert all(row["utility"] <= row["bound"] + 1e-9 for row in rows)
            assert all(row["regret"] >= -1e-12 for row in rows)


def test_rows_are_what_evaluate_reports(finished: Path, small: Suite):
    entry = ENTRIES["testing-stable"]
    config = entry.config("test")
    whole = summarise(
        evaluate(heuristics.make("random", config), config, small.episodes, small.seed), "stable"
    )
    rows = [r for r in read_rows(finished) if (r["entry"], r["agent"]) == (entry.id, "random")]
    requests = np.array([row["requests"] for row in rows])
    assert whole["requests"] == requests.sum()
    utility = np.mean([row["utility_of_peak"] for row in rows])
    assert whole["utility_of_peak"]["mean"] == pytest.approx(utility)
    for name in ("deadline_met", "rejected", "shed"):
        weighted = np.average([row[name] for row in rows], weights=requests)
        assert whole[name] == pytest.approx(weighted)
    clock_s = np.array([row["duration_s"] for row in rows])
    rates = [row["goodput_per_s"] for row in rows]
    assert whole["goodput_per_s"] == pytest.approx(np.average(rates, weights=clock_s))
    assert rates * clock_s == pytest.approx([row["deadline_met"] * row["requests"] for row in rows])
    windows = [row["windows_at_least"]["1"] for row in rows]
    near = sum(w["0.96"] for w in windows) / sum(w["windows"] for w in windows)
    assert whole["windows_at_least"]["0.96"] == pytest.approx(near)


def test_details_sum_to_the_episode(finished: Path):
    row = read_rows(finished)[0]
    course = row["by_second"]
    assert sum(course["requests"]) == row["requests"]
    assert sum(course["utility"]) == pytest.approx(row["utility"], abs=0.01)
    assert sum(course["bound"]) >= row["bound"] - 0.01
    later = sum(course["requests"][1:])
    assert np.sum(row["policy_map"]) == later


def test_classes_add_up_to_the_row(classed: list[Row]):
    for row in classed:
        users = row["classes"]
        assert users.keys() == {"standard", "priority"}
        for name in ("requests", "utility", "peak_utility"):
            assert sum(own[name] for own in users.values()) == pytest.approx(row[name])
        in_time = sum(own["deadline_met"] * own["requests"] for own in users.values())
        assert in_time == pytest.approx(row["deadline_met"] * row["requests"])
        for own in users.values():
            assert 0 < own["requests"] < row["requests"]
            assert own["utility_of_peak"] == pytest.approx(own["utility"] / own["peak_utility"])


def test_finished_cells_are_never_run_again(
    finished: Path, small: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    directory = tmp_path / "copy"
    shutil.copytree(finished, directory)
    missing = directory / "rows" / "testing-stable" / "opt-6.7b-0.jsonl"
    before = [json.loads(line) for line in missing.read_text().splitlines()]
    missing.unlink()
    assert bench(small, directory, HERE) == 1
    again = [json.loads(line) for line in missing.read_text().splitlines()]
    assert list(map(without_times, again)) == list(map(without_times, before))
    assert bench(small, directory, HERE) == 0


@pytest.mark.parametrize("changes", [{"episodes": 4}, {"seed": 1}, {"agents": ("random",)}])
def test_a_directory_holds_one_suite(finished: Path, small: Suite, changes: dict[str, Any]):
    with pytest.raises(ConfigError, match="holds another suite"):
        bench(replace(small, **changes), finished, HERE)


def test_fewer_seeds_are_another_suite(small: Suite, tmp_path: Path):
    write_suite(replace(small, seeds=2), tmp_path)
    with pytest.raises(ConfigError, match="holds another suite"):
        bench(small, tmp_path, HERE)


def test_a_suite_may_grow_in_its_directory(finished: Path, small: Suite, tmp_path: Path):
    directory = tmp_path / "copy"
    shutil.copytree(finished, directory)
    grown = replace(small, agents=(*small.agents, "opt-1.3b"))
    assert bench(grown, directory, HERE) == len(small.entries)
    assert bench(grown, directory, HERE) == 0
    with pytest.raises(ConfigError, match="holds another suite"):
        bench(small, directory, HERE)


def test_an_environment_that_changed_is_another_suite(finished: Path, small: Suite, tmp_path: Path):
    directory = tmp_path / "copy"
    shutil.copytree(finished, directory)
    held = json.loads((directory / "suite.json").read_text())
    held["test_configs"]["testing-stable"]["window_s"] = 1.0
    (directory / "suite.json").write_text(json.dumps(held))
    with pytest.raises(ConfigError, match="holds another suite"):
        bench(small, directory, HERE)


def test_rows_that_are_none_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="without rows"):
        read_rows(tmp_path)
    bad = tmp_path / "rows" / "x" / "y-0.jsonl"
    bad.parent.mkdir(parents=True)
    bad.write_text('{"entry": 1}\nnonsense\n')
    with pytest.raises(ConfigError, match=r"y-0.jsonl:2: got 'nonsense'; accepted: a row"):
        read_rows(tmp_path)


def test_learned_routers_train_where_the_entry_says(tmp_path: Path):
    work = plan(SUITES["paper"], tmp_path)
    trained = {cell.output for cell in work.prepare if cell.output.startswith("trained/")}
    cells = {cell.output: cell for cell in work.evaluate}
    moved = cells["rows/arrivals-azure-conv-to-unpredictable-1/ddqn-0.jsonl"]
    assert moved.given == "trained/azure-conv/ddqn-0"
    assert "trained/azure-conv/ddqn-0/weights.safetensors" in trained
    assert moved.bound == cells["rows/unpredictable-1/ddqn-0.jsonl"].bound
    assert "trained/unpredictable-1/ddqn-4/weights.safetensors" in trained
    assert not any("8gpu" in name for name in trained)
    prepared = {cell.output for cell in work.prepare}
    for cell in work.evaluate:
        assert set(cell.needs) <= prepared | {f"{cell.given}/config.json"}


def test_the_documentation_names_every_field(
    finished: Path, classed: list[Figures], guarded: list[Figures]
):
    text = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()
    table = text.split("## Rows")[1].split("## Workers")[0]
    fields = "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    named = set(re.findall(r"`(\w+)`", fields))
    where_machines_fail = {"lost", "retried"}
    found = set(read_rows(finished)[0]) | set(classed[0]) | set(guarded[0])
    assert named == found | where_machines_fail
    assert named == Row.__annotations__.keys()


def test_older_rows_learn_where_on_the_tape_they_are(finished: Path, tmp_path: Path):
    copy = tmp_path / "older"
    shutil.copytree(finished, copy)
    for path in (copy / "rows").rglob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            del row["tape_window_s"]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = {(r["entry"], r["episode"]): tuple(r["tape_window_s"]) for r in read_rows(finished)}
    for row in read_rows(copy):
        assert row["tape_window_s"] == told[row["entry"], row["episode"]]
    # Other arrivals than today's: where their windows overlap is not known.
    path = next((copy / "rows").rglob("*.jsonl"))
    rows = [{**json.loads(line), "trace_sha256": "0"} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [r for r in read_rows(copy) if "tape_window_s" not in r] == rows
    (copy / "suite.json").unlink()
    assert not any("tape_window_s" in row for row in read_rows(copy))


def test_rows_of_older_versions_are_confirmed(finished: Path):
    row = read_rows(finished)[0]
    older = {name: value for name, value in row.items() if name != "tape_window_s"}
    assert differences(older, row) == []
    assert differences(older, row | {"guard": {"overruled": 0.5}}) == []
    later = row | {"guard": {"overruled": 0.25}}
    assert differences(later, row | {"guard": {"overruled": 0.5}}) != []
    assert differences(row, older) != []
