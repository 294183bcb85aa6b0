"""Suites are data: ids, splits and references hold together."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.heuristics.models import HEURISTICS
from agents.heuristics.table import CONTROLS
from agents.runs.card import CARD
from agents.settings.families import configurations
from agents.settings.presets import COMBINATIONS, SETTINGS, Combination
from benchmarks.evaluation.row_files import read_rows
from benchmarks.suites.bench import bench, plan
from benchmarks.suites.cells import TrainRouter
from benchmarks.suites.checks import refusal, without_unable
from benchmarks.suites.entries.entry import Entry
from benchmarks.suites.entries.every import ENTRIES, MIXES, tagged
from benchmarks.suites.suite import SUITES, TUNED, suite
from benchmarks.suites.workers import Workers
from llmroute_env import ConfigError, EnvConfig
from llmroute_env.scenarios import SHIFTS, configure
from llmroute_env.simulation.tape import workload_trace


@pytest.mark.parametrize("id", ENTRIES)
def test_entries_configure_and_refer_to_entries(id: str):
    entry = ENTRIES[id]
    assert entry.id == id
    assert entry.tags
    assert entry.config("test").split == "test"
    for source in (entry.trained_on, entry.tuned_on):
        assert not source or source in ENTRIES


def test_only_shifts_and_single_loads_learn_elsewhere():
    elsewhere = {id for id, entry in ENTRIES.items() if entry.trained_on not in ("", id)}
    matrices = ("mix-matrix", "arrival-matrix", "signals-shift", "crash-shift")
    shifts = set(tagged("availability", *matrices))
    at_home = {id for id in tagged(*matrices) if _is_at_home(id)}
    loads = set(tagged("grid", "static-stable", "static-sensitivity", "wrong-weights"))
    assert len(at_home) == len(MIXES) + 4 + 3
    assert elsewhere == loads | shifts - at_home


def _is_at_home(shift: str) -> bool:
    source, _, target = shift.partition("-")[2].partition("-to-")
    return source == target


@pytest.mark.parametrize("id", tagged("static", "static-stable", "static-h100"))
def test_in_the_papers_setting_nothing_is_shed_or_turned_away(id: str):
    config = ENTRIES[id].config("test")
    assert not config.shed_expired
    assert config.queue_capacity > 50_000
    source = ENTRIES[ENTRIES[id].trained_on or id]
    learned_in = source.config("train")
    assert not learned_in.shed_expired
    assert learned_in.profile == config.profile
    low, high = learned_in.load_range
    assert low <= config.load_range[0] <= config.load_range[1] <= high


@pytest.mark.parametrize("id", tagged("world-scenario", "continuous-scenario"))
def test_whoever_a_scenario_compares_can_route_there(id: str):
    entry, config = ENTRIES[id], ENTRIES[id].config("test")
    assert {"largest-feasible", "least-requests", *config.model_names} <= set(entry.only)
    assert {agent: why for agent in entry.only if (why := refusal(agent, entry))} == {}
    kind = "-tokens" if config.service == "continuous" else ""
    turns_away = config.reject or config.defer is not None
    expected = {f"rollout-pi{kind}", *([f"rollout-pi-model{kind}"] if turns_away else [])}
    assert {agent for agent in entry.only if agent in SETTINGS} == expected
    assert len({cell.seed for cell in plan_of(entry) if cell.algorithm in expected}) == 5


def plan_of(entry: Entry) -> list[TrainRouter]:
    """What the suite of an entry trains for it."""
    (name,) = {"world", "continuous"} & entry.tags
    work = plan(suite(name).restricted((entry.id,)), Path("nowhere"))
    return [cell for cell in work.prepare if isinstance(cell, TrainRouter)]


def test_many_static_gpus_meet_the_arrivals_of_four():
    four, many = ENTRIES["static-unpredictable-1-load-1.5"], "static-unpredictable-1-load-1.5-on-12"
    tapes = [workload_trace(e.config("test"))[0] for e in (four, ENTRIES[many])]
    np.testing.assert_allclose(tapes[0].arrival_s, tapes[1].arrival_s, atol=1e-6)
    assert ENTRIES[many].only == ("opt-6.7b",)
    work = plan(suite("paper").restricted((many,)), Path("nowhere"))
    assert [cell.needs for cell in work.evaluate] == [()]


def test_a_router_that_maximises_something_else_meets_what_counts():
    entry = ENTRIES["static-power-4"]
    believed = ENTRIES[entry.tuned_on].config("test")
    largest, smallest = (m.accuracy[0] for m in (believed.models[-1], believed.models[0]))
    true = entry.config("test").models
    assert largest == true[-1].accuracy[0]
    assert smallest == pytest.approx(largest * (true[0].accuracy[0] / largest) ** 4)


def test_models_of_a_problem_stand_for_those_of_the_suite(capsys: pytest.CaptureFixture[str]):
    profile = configure("stable").resolved_profile
    own = tuple(replace(model, name=f"mine-{i}") for i, model in enumerate(profile.models))
    fields = {"profile": replace(profile, models=own)}
    for name, before, after in (
        ("testing", ("random",), ("largest-feasible", "ddqn")),
        ("heuristics", ("random",), TUNED),
        ("ablation", (), suite("ablation").agents),
    ):
        on = without_unable(suite(name).on("stable", fields))
        models = ("mine-0", "mine-1", "mine-2") if before else ()
        assert on.agents == (*before, *models, *after)
        assert plan(on, Path("nowhere")).evaluate
    assert without_unable(suite("testing").on("stable", {})).agents == suite("testing").agents
    assert capsys.readouterr().err == ""


def test_who_cannot_route_on_a_problem_is_left_out_before_any_work(
    capsys: pytest.CaptureFixture[str],
):
    standard = suite("standard")
    every = replace(standard, agents=(*standard.agents, "admission"))
    on = without_unable(every.on("stable", {"reject": True}))
    assert on.agents == every.agents
    assert without_unable(every.on("stable", {"load": 9.0})).agents == standard.agents
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "admission is left out: admission reject: got False; accepted: True: it turns requests away"
    ]
    nobody = replace(standard, agents=("admission",)).on("stable", {"load": 9.0})
    with pytest.raises(ConfigError, match="suite: got 'standard'; accepted: one with a router"):
        without_unable(nobody)


@pytest.mark.parametrize(
    ("name", "family", "unseen"),
    [("generalist", "any", "unseen"), ("generalist-world", "any-world", "unseen-world")],
)
def test_a_generalist_is_trained_once_and_meets_what_it_never_saw(name, family, unseen):
    general = suite(name)
    work = plan(general, Path("nowhere"))
    trained = {cell.output for cell in work.prepare if isinstance(cell, TrainRouter)}
    once = {output for output in trained if name in output}
    assert once == {f"trained/{family}/{name}-{seed}/weights.safetensors" for seed in range(5)}
    met = {cell.entry.id for cell in work.evaluate if cell.agent == name}
    assert met == set(general.entries) >= set(tagged(unseen))
    known = [what_differs(config) for config in configurations(family, {})]
    assert not [id for id in tagged(unseen) if what_differs(ENTRIES[id].config("train")) in known]


def what_differs(config: EnvConfig) -> tuple[Any, ...]:
    """What a generalist may not have met."""
    world = config.signals, config.failures, config.reject, config.defer
    return (config.gpus, config.deadline, config.profile, *world)


def test_some_routers_are_compared_on_main_entries_only():
    paper = suite("paper")
    work = plan(paper, Path("nowhere"))
    met = {cell.entry.id for cell in work.evaluate if cell.agent == "ddqn-pairs"}
    assert met < set(paper.entries)
    assert met == {id for id in tagged("main", "static") if not ENTRIES[id].only}


def test_what_is_shifted_in_the_matrices():
    there, home = ENTRIES["mix-knowledge-to-choice"], ENTRIES["mix-knowledge-to-knowledge"]
    assert there.trained_on == there.tuned_on == home.id
    assert there.config("test").mix != home.config("test").mix
    moved = ENTRIES["arrivals-azure-conv-to-unpredictable-1"]
    assert moved.trained_on == "azure-conv"
    assert moved.config("test") == ENTRIES["unpredictable-1"].config("test")


@pytest.mark.parametrize("name", SUITES)
def test_suites_name_entries(name: str):
    chosen = suite(name)
    assert set(chosen.entries) <= set(ENTRIES)
    models = {name for id in chosen.entries for name in ENTRIES[id].config("test").model_names}
    known = {*HEURISTICS, *models, *CONTROLS, *TUNED, *SETTINGS, *COMBINATIONS}
    assert set(chosen.agents) <= known
    assert set(chosen.rollout_on) <= set(chosen.entries)
    assert chosen.restricted((chosen.entries[0],)).entries == (chosen.entries[0],)
    assert chosen.restricted(()) == chosen
    with pytest.raises(ConfigError, match="entries: got 'nix'"):
        chosen.restricted(("nix",))


@pytest.mark.parametrize("name", ["seeds", "episodes", "rollout_episodes", "tuning_episodes"])
@pytest.mark.parametrize("count", [0, -1])
def test_counts_of_nothing_are_refused_before_any_work(name: str, count: int):
    with pytest.raises(ConfigError, match=f"{name}: got {count}; accepted: >= 1"):
        replace(suite("testing"), **{name: count})


def test_an_unknown_suite_is_refused():
    with pytest.raises(ConfigError, match="suite: got 'nix'; accepted: testing"):
        suite("nix")


def test_task_shift_shifts_where_the_test_split_begins():
    trace, _ = workload_trace(configure("task-shift", split="all"))
    assert SHIFTS.shifts_s[0] == pytest.approx(0.8 * trace.span_s)
    train, validation, test = trace.split((0.6, 0.2, 0.2))
    shares = [np.bincount(part.task, minlength=4) / len(part) for part in (train, validation, test)]
    np.testing.assert_allclose(shares[0], shares[1], atol=0.01)
    assert abs(shares[2] - shares[0]).max() > 0.15


def test_what_is_made_of_trainings_has_trainings_of_its_own():
    work = plan(suite("scaling"), Path("nowhere"))
    made = [
        (c.agent, c.seed, [m.algorithm for m in c.members], [m.seed for m in c.members])
        for c in work.combine
    ]
    assert made == [
        ("rollout-pi-of-2", 0, ["rollout-pi"] * 2, [0, 1]),
        ("rollout-pi-of-2", 1, ["rollout-pi"] * 2, [2, 3]),
        ("rollout-pi-of-5", 0, ["rollout-pi"] * 5, [0, 1, 2, 3, 4]),
        ("rollout-pi-student", 0, ["rollout-pi"] * 5, [0, 1, 2, 3, 4]),
        (
            "rollout-pi-fourfold-large-student",
            0,
            ["rollout-pi-fourfold-large"] * 5,
            [0, 1, 2, 3, 4],
        ),
    ]
    trained = {cell.output for cell in work.prepare}
    assert all(
        set(cell.needs) & trained == {m.output for m in cell.members} for cell in work.combine
    )
    rows = {cell.given: cell.output for cell in work.evaluate if cell.agent in COMBINATIONS}
    assert list(rows) == [cell.directory for cell in work.combine]
    assert rows["trained/unpredictable-1/rollout-pi-of-2-1"] == (
        "rows/unpredictable-1/rollout-pi-of-2-1.jsonl"
    )
    few = plan(replace(suite("scaling"), seeds=1), Path("nowhere"))
    assert few.combine == ()
    assert not {cell.agent for cell in few.evaluate} & COMBINATIONS.keys()


def test_a_suite_makes_ensembles_and_students(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pair, taught = Combination("rollout-pi", 2), Combination("rollout-pi", 2, is_taught=True)
    monkeypatch.setitem(COMBINATIONS, "rollout-pi-of-2", pair)
    monkeypatch.setitem(COMBINATIONS, "rollout-pi-student", taught)
    quick = replace(
        SETTINGS["rollout-pi"],
        follows="steep-pair",
        stress=1.0,
        cautions=(0.1,),
        states_per_round=128,
        batch_size=128,
        validations=1,
        validation_episodes=4,
    )
    monkeypatch.setitem(SETTINGS, "rollout-pi", quick)
    guards = "agents.learners.rollout_iteration.guards_in"
    monkeypatch.setattr(guards, lambda config: (quick.follows,))
    agents = ("rollout-pi", "rollout-pi-of-2", "rollout-pi-student")
    small = replace(suite("testing"), entries=("testing-stable",), agents=agents, seeds=2)
    small = replace(small, episodes=1, timesteps=10_000)
    ran = bench(small, tmp_path, Workers(count=0))
    assert ran == 1 + 2 + 2 + 4
    rows = read_rows(tmp_path)
    assert {(row["agent"], row["training_seed"]) for row in rows} == {
        *(("rollout-pi", seed) for seed in (0, 1)),
        *((name, 0) for name in agents[1:]),
    }
    card = json.loads(
        (tmp_path / "trained/testing-stable/rollout-pi-student-0" / CARD).read_bytes()
    )
    assert [run["run"] for run in card["origin"]["runs"]] == [
        f"trained/testing-stable/rollout-pi-{seed}" for seed in (0, 1)
    ]
    assert bench(small, tmp_path, Workers(count=0)) == 0
