"""Heuristics at their best: settings that the harness found, and which one an evaluation used."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from agents.heuristics.table import TUNABLE, tunable_in
from benchmarks.cli import main
from benchmarks.evaluation import settings
from benchmarks.evaluation.metrics import windows_near_peak
from benchmarks.evaluation.runner import evaluate
from benchmarks.evaluation.settings import EPISODES, WINDOW_S, choose, fingerprint, shipped
from benchmarks.evaluation.tuned_controls import FOLLOWED, tune, tuning_window_s
from llmroute_env import SCENARIOS, ConfigError, configure

FEW = ("--scenario", "stable", "--set", "window_s=2", "load=2", "--episodes", "3", "--json")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_has_a_setting_of_every_heuristic(name: str) -> None:
    key = fingerprint(SCENARIOS[name].config)
    assert key in shipped(), "a scenario changed: run `python -m benchmarks.shipping.tuned`"
    for control in tunable_in(SCENARIOS[name].config):
        found = shipped()[key][control]
        window_s = tuning_window_s(SCENARIOS[name].config, WINDOW_S)
        assert (found["episodes_each"], found["window_s"]) == (EPISODES, window_s)
        best = max(found["scores"], key=lambda pair: pair[1])
        assert [found["setting"], found["validation_score"]] == best
        assert [value for value, _ in found["scores"]] == list(
            TUNABLE[control].values(SCENARIOS[name].config)
        )


@pytest.mark.parametrize("control", ["largest-feasible", "priced-pair"])
def test_the_harness_finds_what_is_kept(control: str) -> None:
    config = SCENARIOS["stable"].config
    again = tune(control, config, EPISODES, WINDOW_S).to_json()
    kept = shipped()[fingerprint(config)][control]
    assert again["setting"] == kept["setting"]
    assert np.allclose(again["scores"], kept["scores"], rtol=0, atol=1e-9)


def test_a_name_has_the_setting_of_its_scenario_and_a_value_another() -> None:
    for scenario in ("stable", "unpredictable-1"):
        config = configure(scenario, split="test")
        kept = shipped()[fingerprint(config)]["largest-feasible"]["setting"]
        found = choose("largest-feasible", config, Path("none"))
        assert (found.setting, found.source) == (kept, f"tuned for {scenario}")
        assert found.agent.margin == kept
    given = choose("largest-feasible=0.45", config, Path("none"))
    assert (given.agent.margin, given.setting, given.source) == (0.45, 0.45, "as given")
    assert given.words("largest-feasible=0.45") == "largest-feasible: margin 0.45, as given"
    assert choose("opt-1.3b", config, Path("none")).setting is None
    assert not Path("none").exists()


@pytest.mark.parametrize("name", FOLLOWED)
def test_who_looks_ahead_follows_the_tuned_one(name: str) -> None:
    config = configure("stable")
    kept = shipped()[fingerprint(config)][FOLLOWED[name]]["setting"]
    assert choose(name, config, Path("none")).setting == kept


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("largest-feasible=much", "agent: got 'largest-feasible=much'; accepted: NAME=VALUE with"),
        ("largest-feasible=", "agent: got 'largest-feasible='; accepted: NAME=VALUE with"),
        ("largest-feasible=2", "largest-feasible margin: got 2.0; accepted: a share"),
        ("largest-feasible=nan", "largest-feasible margin: got nan; accepted: a share"),
        ("opt-125m=1", "setting: got 1.0; accepted: none for 'opt-125m'"),
        ("nix=1", "agent: got 'nix=1'; accepted: a run directory"),
    ],
)
def test_bad_settings_are_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose(name, configure("stable"), Path("none"))


def test_a_problem_of_ones_own_is_tuned_once_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(settings, "EPISODES", 2)
    config = configure("stable", load=9.0, window_s=1.0)
    first = choose("largest-feasible", config, tmp_path / "tuned")
    assert "largest-feasible: tuned on validation episodes, once for" in capsys.readouterr().err
    path = tmp_path / "tuned" / f"{fingerprint(config)[:16]}.json"
    assert first.setting == json.loads(path.read_text())["largest-feasible"]["setting"]
    assert first.setting == tune("largest-feasible", config, 2, WINDOW_S).setting
    assert choose("largest-feasible", config, tmp_path / "tuned").setting == first.setting
    assert capsys.readouterr().err == ""
    choose("priced-pair", config, tmp_path / "tuned")
    assert json.loads(path.read_text()).keys() == {"largest-feasible", "priced-pair"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("evaluate largest-feasible nix", "agent: got 'nix'; accepted: a run directory"),
        ("evaluate largest-feasible --episodes 0", "episodes: got 0; accepted: >= 1"),
        ("evaluate largest-feasible --seed -1", "seed: got -1; accepted: >= 0"),
        ("record largest-feasible --steps 0", "steps: got 0; accepted: >= 1"),
        ("record largest-feasible --seed -1", "seed: got -1; accepted: >= 0"),
        ("timeline largest-feasible --seed -1", "seed: got -1; accepted: >= 0"),
        ("watch largest-feasible --seed -1", "seed: got -1; accepted: >= 0"),
        ("evaluate admission", "admission reject: got False; accepted: True"),
        ("record admission", "admission reject: got False; accepted: True"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_tuned(
    words: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(settings, "tune", None)
    assert main([*words.split(), "--scenario", "stable", "--set", "load=9"]) == 2
    assert message in capsys.readouterr().err


def recorded(capsys: pytest.CaptureFixture[str], name: str) -> tuple[dict, str]:
    """The card of a short episode that a router has on a problem of its own, and what was said."""
    options = ("--scenario", "stable", "--set", "window_s=0.5", "--out", "card.json")
    assert main(["record", name, *options]) == 0
    said = capsys.readouterr().out
    assert main(["replay", "card.json"]) == 0
    assert "identical" in capsys.readouterr().out
    return json.loads(Path("card.json").read_text()), said


@pytest.mark.parametrize(
    "name",
    ["largest-feasible", *(pytest.param(n, marks=pytest.mark.verify) for n in FOLLOWED)],
)
def test_record_timeline_and_watch_use_the_setting_of_evaluate(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(settings, "EPISODES", 1)
    card, said = recorded(capsys, name)
    (kept,) = Path("runs/tuned").glob("*.json")
    setting = json.loads(kept.read_text())[FOLLOWED.get(name, name)]["setting"]
    words = f" {setting:g}, tuned on the validation split, runs/tuned/{kept.name}"
    assert said.splitlines()[-1] == card["setting"]
    assert card["setting"].startswith(f"{name}: ")
    assert card["setting"].endswith(words)
    given, _ = recorded(capsys, f"{name}={setting}")
    assert given["recording_sha256"] == card["recording_sha256"]
    assert given["setting"].endswith(f" {setting:g}, as given")
    options = ("--scenario", "stable", "--set", "window_s=0.5")
    assert main(["timeline", name, *options, "--out", "timeline.json"]) == 0
    assert card["setting"] in capsys.readouterr().out.splitlines()
    assert main(["watch", name, *options, "--terminal", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (shown["setting"], shown["requests"]) == (setting, len(card["actions"]))


def test_a_card_of_who_has_no_setting_names_none(capsys: pytest.CaptureFixture[str]) -> None:
    card, said = recorded(capsys, "opt-125m")
    assert "setting" not in card
    assert len(said.splitlines()) == 1


def test_several_routers_are_compared_on_the_same_episodes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ("opt-1.3b", "largest-feasible=0.2", "largest-feasible=0.5", "opt-125m")
    assert main(["evaluate", *names, *FEW]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["agent"] for row in told["routers"]] == list(names)
    assert [row["setting"] for row in told["routers"]] == [None, 0.2, 0.5, None]
    assert len({row["requests"] for row in told["routers"]}) == 1
    first = told["routers"][0]["utility_of_peak"]["mean"]
    for row, difference in zip(told["routers"][1:], told["differences"], strict=True):
        assert (difference["agent"], difference["minus"]) == (row["agent"], "opt-1.3b")
        paired = difference["utility_of_peak"]
        assert paired["mean"] == pytest.approx(row["utility_of_peak"]["mean"] - first)
        assert paired["ci_low"] <= paired["mean"] <= paired["ci_high"]
    assert main(["evaluate", *names[:2], *FEW[:-1]]) == 0
    printed = capsys.readouterr().out
    assert "largest-feasible: margin 0.2, as given" in printed
    assert "largest-feasible=0.2 - opt-1.3b: " in printed
    assert main(["evaluate", *FEW]) == 2
    assert "agent: got (); accepted: at least one router" in capsys.readouterr().err


def test_a_difference_on_one_episode_has_no_interval(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--scenario", "stable", "--episodes", "1", "--set", "window_s=2")
    assert main(["evaluate", "opt-1.3b", "opt-125m", *options]) == 0
    assert re.search(
        r"opt-125m - opt-1.3b: [+-][\d.]+ \(no interval\), paired", capsys.readouterr().out
    )
    assert main(["evaluate", "opt-1.3b", "opt-125m", *options, "--json"]) == 0
    text = capsys.readouterr().out.splitlines()[-1]
    (told,) = json.loads(text, parse_constant=pytest.fail)["differences"]
    assert told["utility_of_peak"]["ci_low"] is told["utility_of_peak"]["ci_high"] is None


def test_windows_of_three_lengths_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--scenario", "stable", "--episodes", "2", "--set", "load=2", "--json")
    assert main(["evaluate", "largest-feasible=0.3", *options]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["windows"].keys() == {"1", "5", "10"}
    assert told["windows"]["1"] == told["windows_at_least"]
    config = configure("stable", load=2, split="test")
    run = evaluate(choose("largest-feasible=0.3", config, Path("none")).agent, config, 2, 0)
    counts = [windows_near_peak(e.completions, run.config, 5.0) for e in run.episodes]
    share = sum(c["0.96"] for c in counts) / sum(c["windows"] for c in counts)
    assert told["windows"]["5"]["0.96"] == share
