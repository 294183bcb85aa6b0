"""The commands as tyro parses them."""

import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import tyro

from agents.runs.plan import Plan
from agents.training.training import Result
from benchmarks.commands.bench import Bench, Report, Validate
from benchmarks.commands.train import Train, Tune
from benchmarks.evaluation.row_files import read_rows
from benchmarks.reference_levels import Reference

COMMANDS = {"bench": Bench, "report": Report, "validate": Validate, "tune": Tune, "train": Train}


def parse(name: str, *arguments: str):
    return tyro.cli(COMMANDS[name], args=arguments, config=(tyro.conf.FlagCreatePairsOff,))


def test_options_reach_the_commands():
    command = parse(
        "bench", "paper", "--out", "x", "--runner", "ray", "--ray-address", "a:1", "--seeds", "2"
    )
    assert (command.suite, command.out, command.seeds) == ("paper", Path("x"), 2)
    assert (command.work.runner, command.work.ray_address) == ("ray", "a:1")
    assert parse("validate", "x", "--cells", "3", "--workers", "0").work.workers == 0
    assert parse("report", "x").directory == Path("x")
    assert parse("tune", "ddqn", "--trials", "4").trials == 4


@pytest.mark.usefixtures("hasty", "unplaced")
def test_bench_runs_the_entries_and_episodes_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    options = ("--entries", "testing-overload", "--episodes", "1", "--timesteps", "1024")
    command = parse("bench", "testing", "--out", str(tmp_path), *options, "--workers", "0")
    assert command.run() == 0
    rows = read_rows(tmp_path)
    assert {row["entry"] for row in rows} == {"testing-overload"}
    assert {row["episode"] for row in rows} == {0}
    printed = capsys.readouterr().out
    assert f"{tmp_path}: 7 cells were run" in printed
    assert (tmp_path / "report.html").exists()


def test_training_is_compared_with_levels_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    plans = []

    def train(plan: Plan, resume: bool) -> Result:
        plans.append(plan)
        return Result(plan.directory, 10**9, 0.85, interrupted=False)

    def levels(plan: Plan) -> Reference:
        return Reference(tmp_path / "reference", {"bound": 0.9})

    monkeypatch.setattr("agents.training.training.train", train)
    monkeypatch.setattr("agents.training.outcome.load_agent", lambda run: Mock(network=None))
    monkeypatch.setattr("benchmarks.reference_levels.reference_of", levels)
    for options in ((), ("--no-reference",)):
        assert parse("train", "ddqn", "--out", str(tmp_path / "run"), *options).run() == 0
    assert [plan.levels for plan in plans] == [{"bound": 0.9}, {}]
    printed = capsys.readouterr().out
    assert printed.count("bound: 0.9000") == 1
    assert printed.count("1,000,000,000 decisions, as the last round that began was finished") == 2
    assert (tmp_path / "reference" / "levels.json").exists()


def test_the_module_is_light():
    program = (
        "import sys, benchmarks.commands.bench\n"
        "print([m for m in ('numba', 'torch', 'gymnasium', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
