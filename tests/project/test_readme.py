"""The README's tables and examples against the code."""

import dataclasses
import re
from pathlib import Path

import gymnasium
import pytest

from benchmarks.cli import COMMANDS, Group
from llmroute_env import SCENARIOS, EnvConfig
from llmroute_env.dynamics.actions import ACTIONS
from llmroute_env.dynamics.features import DEFAULT_FEATURES, FEATURES, PAPER_FEATURES
from llmroute_env.dynamics.reward import REWARD_TERMS
from llmroute_env.scenarios import rate_spread

README = (Path(__file__).parents[2] / "README.md").read_text()
PER = {"task": "T", "once": "1", "model": "M", "gpu": "G", "gpu-model": "G x M", "class": "C"}


def section(title: str) -> str:
    return re.split(r"^## ", README.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


def table(title: str) -> list[list[str]]:
    """Rows of a section's table, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip().replace("`", "") for cell in line.split("|")[1:-1]] for line in lines[2:]]


def test_observation():
    expected = [[f.name, PER[f.per], f"{f.low:g} to {f.high:g}", f.meaning] for f in FEATURES]
    assert table("Observation") == expected
    assert f"by default `{', '.join(DEFAULT_FEATURES)}`" in section("Observation")
    assert f"`{', '.join(PAPER_FEATURES)}`" in README.replace("\n", " ")


def test_action_and_reward():
    assert [row[0].removesuffix(" (default)") for row in table("Action")] == list(ACTIONS)
    assert [row[0] for row in table("Reward")] == list(REWARD_TERMS)


def test_scenarios():
    rows = {row[0]: row[1:] for row in table("Scenarios")}
    assert rows.keys() == SCENARIOS.keys()
    for name, (summary, load, rates) in rows.items():
        low, high = SCENARIOS[name].config.load_range
        assert summary == SCENARIOS[name].summary
        assert load == (f"{low:g}" if low == high else f"{low:g} to {high:g}")
        if low == high:
            assert rates == "{:.2f} to {:.2f}".format(*rate_spread(name))


def test_configuration():
    rows = {row[0]: row[1] for row in table("Configuration")}
    config = EnvConfig()
    assert list(rows) == [field.name for field in dataclasses.fields(EnvConfig)]
    for name in ("profile", "dispatcher", "action", "split"):
        assert rows[name] == getattr(config, name)
    for name in ("queue_capacity", "shed_expired", "deadline_aware_batching", "window_s"):
        assert rows[name] == str(getattr(config, name))
    assert rows["deadline"] == f"{config.deadline.deadline_s} s, {config.deadline.kind}"
    assert rows["rate_windows_s"] == ", ".join(map(str, config.rate_windows_s))


@pytest.mark.parametrize("model", EnvConfig().models, ids=lambda model: model.name)
def test_batch_limits(model):
    assert f"{EnvConfig().batch_limit(model)} for `{model.name}`" in README


def test_load_1():
    assert f"{EnvConfig().load_1_per_s:.0f} requests/s" in README


PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_quickstart_is_short():
    assert len(PROGRAMS[0].splitlines()) <= 22


@pytest.mark.parametrize("program", PROGRAMS, ids=["quickstart", "own-workload", "continuous"])
def test_programs_run_as_printed(program: str):
    # Whoever reads on has imported what the first one does.
    exec(compile(program, "README.md", "exec"), {"gymnasium": gymnasium})


def test_every_command_is_one():
    known = {" ".join(words[:2]) for words in every_command(COMMANDS)}
    for command in re.findall(r"^llmroute ((?:(?:trace|speed) )?[a-z]+)", README, re.MULTILINE):
        assert command in known


def every_command(commands: dict) -> list[list[str]]:
    found = []
    for name, command in commands.items():
        inner = command.commands if isinstance(command, Group) else None
        found += [[name, *words] for words in every_command(inner)] if inner else [[name]]
    return found


@pytest.mark.parametrize("name", ["paper", "paper-setting"])
def test_the_papers_table_is_that_of_the_committed_report(name: str):
    folder = Path(__file__).parents[2] / "benchmarks" / "results" / name
    kept = words((folder / "table.md").read_text())
    assert kept in words(section("Compare"))
    report = (folder / "report.md").read_text()
    assert kept in words(report)
    for figure in re.findall(r"\]\((figures/[^)]+)\)", report):
        assert (folder / figure).stat().st_size > 1000
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 1_000_000


def words(text: str) -> str:
    """What is said, in lines of any length."""
    return " ".join(text.split())
