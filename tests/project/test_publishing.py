"""What others read of the project first: metadata, citation, templates, workflows."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()
PINS = dict(
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if not line.startswith("#")
)
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def test_the_same_authors_everywhere():
    names = [author["name"] for author in PROJECT["authors"]]
    assert [author["name"] for author in CITATION["authors"]] == names
    assert f"Copyright (c) 2026 {' and '.join(names)}" in (ROOT / "LICENSE").read_text()


def test_the_citation_says_what_the_package_says():
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["version"] == PROJECT["version"] == version("llmroute")
    for name in ("license", "keywords"):
        assert CITATION[name] == PROJECT[name]
    needed = {"message", "type", "title", "abstract", "references"}
    assert needed <= CITATION.keys()
    # Where the code is published is said in one place, and here the same.
    urls = PROJECT["urls"]
    assert CITATION.get("repository-code") == urls.get("Repository")
    assert [reference["url"] for reference in CITATION["references"]] == [urls["Paper"]]


def test_every_address_is_one_that_anybody_reaches():
    assert all(
        re.fullmatch(r"https://[\w.-]+\.\w+(/\S*)?", url) for url in PROJECT["urls"].values()
    )


def test_everything_that_can_be_published_passes_the_index(tmp_path: Path):
    for builder in (WheelBuilder, SdistBuilder):
        list(builder(str(ROOT)).build(directory=str(tmp_path)))
    made = [str(path) for path in tmp_path.iterdir()]
    assert len(made) == 2
    command = [sys.executable, "-m", "twine", "check", "--strict", *made]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.count("PASSED") == 2, done.stdout + done.stderr


def test_whatever_is_asked_for_is_pinned():
    asked = chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    names = {re.split(r"[\[<>=]", name)[0] for name in asked} - {"llmroute"}
    assert {name.replace("_", "-").lower() for name in names} <= {
        name.replace("_", "-").lower() for name in PINS
    }


def steps_of(workflow: Path) -> list[str]:
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    return [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]


def test_the_workflow_runs_what_the_makefile_has():
    targets = set(re.findall(r"^([\w./-]+):", MAKEFILE, re.MULTILINE))
    runs = [run for workflow in WORKFLOWS for run in steps_of(workflow)]
    made = {word for run in runs for word in re.findall(r"\bmake ([\w./-]+)", run)}
    assert {"docs", "lint", "test", "wheel"} <= made <= targets


def test_the_workflow_tests_every_python_that_the_package_names():
    (workflow,) = WORKFLOWS
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    tested = jobs["tests"]["strategy"]["matrix"]["python-version"]
    named = [c.split(" :: ")[-1] for c in PROJECT["classifiers"] if ":: Python :: 3." in c]
    assert tested == named
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_the_workflow_can_change_nothing_and_knows_no_secret():
    for workflow in WORKFLOWS:
        content = yaml.safe_load(workflow.read_text())
        assert content["permissions"] == {"contents": "read"}
        assert "secrets." not in workflow.read_text()
        for job in content["jobs"].values():
            assert all(
                re.fullmatch(r"actions/[\w-]+@v\d+", s["uses"]) for s in job["steps"] if "uses" in s
            )


@pytest.mark.parametrize("form", [f for f in FORMS if f.stem != "config"], ids=lambda f: f.stem)
def test_forms_ask_for_something(form: Path):
    content = yaml.safe_load(form.read_text())
    assert {"name", "description", "body"} <= content.keys()
    asked = [part for part in content["body"] if part["type"] != "markdown"]
    assert all(part["attributes"]["label"] for part in asked)
    assert len({part["id"] for part in asked}) == len(asked)
    assert any(part.get("validations", {}).get("required") for part in asked)


def test_a_pull_request_is_asked_for_what_contributing_asks():
    asked = (ROOT / ".github" / "pull_request_template.md").read_text()
    for word in ("`make test`", "`make verify`", "`CHANGELOG.md`"):
        assert word in asked
        assert word in (ROOT / "CONTRIBUTING.md").read_text()


@pytest.mark.parametrize(
    "document", [*WORKFLOWS, *FORMS, ROOT / ".github" / "pull_request_template.md"]
)
def test_commands_that_templates_name_exist(document: Path):
    from benchmarks.cli import COMMANDS

    named = re.findall(r"llmroute ([a-z]+)(?= )", document.read_text())
    assert set(named) <= COMMANDS.keys()
