"""An environment outside the tree that holds the wheel and what the base install asks for, alone.

Nothing is downloaded: the dependencies are links to the packages that run the tests.
"""

import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Clean:
    """The environment: where it is, and a folder that programs run in."""

    place: Path
    folder: Path

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of its programs, which sees nothing of the environment of the tests."""
        own = {"PATH": "", "HOME": str(self.folder), "LLMROUTE_QUIET": "1", "COLUMNS": "100"}
        command = [str(self.place / "bin" / program), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env=own, cwd=self.folder, timeout=900
        )


def build(folder: Path) -> Clean:
    """Make the environment in `folder`."""
    place, empty = folder / "clean", folder / "empty"
    empty.mkdir()
    venv.create(place, with_pip=False, symlinks=True)
    packages = next(place.glob("lib/python*/site-packages"))
    for dependency in needed(Path(built(folder))):
        link(dependency, packages)
    install = ["install", "--quiet", "--no-deps", "--no-index", built(folder)]
    command = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), *install]
    subprocess.run(command, check=True, timeout=120)
    return Clean(place, empty)


def built(folder: Path) -> str:
    """The wheel, made once."""
    found = next(folder.glob("*.whl"), None)
    return str(found or next(iter(WheelBuilder(str(ROOT)).build(directory=str(folder)))))


def needed(wheel: Path) -> list[Distribution]:
    """What the base install asks for, and what that asks for in turn."""
    found: dict[str, Distribution] = {}
    waiting = list(base_of(WheelBuilder(str(ROOT)).metadata.core.dependencies))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = distribution(name)
            waiting += base_of(found[name].requires or [])
    return list(found.values())


def base_of(requirements: list[str]) -> Iterator[str]:
    """Names of those that no extra asks for, and this Python needs."""
    for requirement in map(Requirement, requirements):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement.name


def link(dependency: Distribution, packages: Path) -> None:
    """Links to all that a distribution installed beside its packages."""
    for top in {file.parts[0] for file in dependency.files or () if file.parts[0] != ".."}:
        target = packages / top
        if not target.exists():
            target.symlink_to(Path(str(dependency.locate_file(top))).resolve())
