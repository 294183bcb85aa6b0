"""The table of clients: pinned, told in docs/clients.md, and every script is somebody's."""

import re
import tomllib
from pathlib import Path

FOLDER = Path(__file__).parent
ROWS = tomllib.loads((FOLDER / "clients.toml").read_text())["client"]
TOLD = (FOLDER.parents[1] / "docs/clients.md").read_text()


def bare(name: str) -> str:
    """A distribution's name as pip compares it, without extras."""
    return re.sub(r"[-_.]+", "-", name.split("[")[0]).lower()


def pins(environment: str) -> dict[str, str]:
    lines = (FOLDER / "environments" / f"{environment}.txt").read_text().splitlines()
    return {bare(name): version for name, version in (line.split("==") for line in lines)}


def test_every_script_is_a_clients():
    scripts = {script for row in ROWS for script in row["scripts"]}
    assert scripts == {path.name for path in FOLDER.glob("test_*.py")} - {Path(__file__).name}


def test_environments_pin_what_their_clients_name():
    for row in ROWS:
        pinned = pins(row["environment"])
        for package in row["packages"]:
            name, version = package.split("==")
            assert pinned[bare(name)] == version, row["name"]


def test_environments_have_the_simulator_that_the_tests_have():
    """One numba and one NumPy, so that figures are the same and what was compiled is shared."""
    constraints = (FOLDER.parents[1] / "constraints.txt").read_text()
    for environment in {row["environment"] for row in ROWS}:
        for name in ("numba", "llvmlite", "numpy", "polars"):
            assert f"\n{name}=={pins(environment)[name]}\n" in constraints


def test_the_page_tells_every_client_and_its_version():
    told = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|", TOLD, re.M))
    for row in ROWS:
        assert row["name"] in told
        version = told[row["name"]]
        named = [*row["packages"], *row.get("without_requirements", [])]
        assert version == "ours" or f"=={version}" in "".join(named), row["name"]


def test_the_oldest_gymnasium_is_the_one_that_is_required():
    (row,) = (row for row in ROWS if row["name"] == "Gymnasium, the oldest")
    required = (FOLDER.parents[1] / "pyproject.toml").read_text()
    assert f'"gymnasium>={row["packages"][0].split("==")[1]},<2"' in required
