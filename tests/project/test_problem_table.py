"""Every field of EnvConfig has a row that says how it is set, and every row works."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from benchmarks.cli import parse
from benchmarks.shipping.problem_table import (
    BASES,
    DOCUMENT,
    EXAMPLES,
    assignment,
    generated,
    rows,
    toml_of,
)
from llmroute_env import EnvConfig, configure
from llmroute_env.problem import arguments
from traces.typed import hints_of


def test_every_field_has_a_row() -> None:
    assert list(EXAMPLES) == list(hints_of(EnvConfig)), "a field was added without an example"


def test_the_document_has_the_table_of_today() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert generated() in text, "run `python -m benchmarks.shipping.problem_table`"


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_row_sets_its_field_alike_everywhere(name: str) -> None:
    scenario = BASES.get(name, "stable")
    base = configure(scenario)
    from_toml = arguments({"scenario": scenario} | toml_of(name))
    # There is one service model to choose from.
    differs = name != "service"
    assert (getattr(configured(from_toml), name) != getattr(base, name)) == differs
    said = [f"{key}" for key in (["classes"] if name == "class_mix" else []) + [name]]
    words = ["--set", *(assignment(EXAMPLES[key]) for key in said)]
    command = parse(["record", "random", "--scenario", scenario, *words])
    problem = command.episode.environment.problem()
    assert configured({"scenario": problem.scenario} | problem.fields) == configured(from_toml)
    row = next(row for row in rows() if row.startswith(f"| `{name}` |"))
    assert shlex.quote(assignment(EXAMPLES[name])) in row


def configured(fields: dict[str, Any]) -> EnvConfig:
    own = {key: value for key, value in fields.items() if key != "scenario"}
    return configure(fields["scenario"], **own)
