"""The README is short, and what it says runs."""

import re

import pytest

from llmroute_env import EnvConfig

from .pages import ROOT, commands, programs, rows, section, text_of

LINES = 75
"""A screen and a half, with a picture."""


def test_is_short():
    assert len(text_of("README.md").splitlines()) <= LINES
    assert len(programs("README.md")[0].splitlines()) <= 22


def test_shows_one_table_of_results():
    routers = rows(section("README.md", "What the demo shows"))
    scores = [float(row[1].strip("*")) for row in routers]
    assert scores == sorted(scores, reverse=True)
    assert {f"{model.name} alone" for model in EnvConfig().models} <= {
        row[0].split(",")[0] for row in routers
    }
    every = rows(section("docs/routers.md", "What the demo shows"))
    told = {row[0].split(":")[0]: row[1:] for row in every}
    assert {row[0].split(":")[0]: row[1:] for row in routers}.items() <= told.items()


def test_begins_with_a_small_moving_picture():
    image = pytest.importorskip("PIL.Image")
    (named,) = re.findall(r"!\[[^]]+\]\(([^)]+\.gif)\)", text_of("README.md"))
    assert (ROOT / named).stat().st_size < 600_000
    assert image.open(ROOT / named).n_frames > 20


def test_commands_of_the_quickstart():
    words = {command.split()[1] for command in commands("README.md")}
    assert {"train", "evaluate"} <= words
