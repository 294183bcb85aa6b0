"""Builds the environments of clients.toml and runs each client's script in its own.

    python tests/clients/environments.py [ENVIRONMENT ...]

Wheels only. Environments lie in `.clients/` and are kept; they are built anew when their packages
change.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
MADE = ROOT / ".clients"


@dataclass(frozen=True)
class Client:
    """A row of clients.toml."""

    name: str
    environment: str
    packages: tuple[str, ...]
    scripts: tuple[str, ...]
    extras: tuple[str, ...] = ()
    without_requirements: tuple[str, ...] = ()


def clients() -> list[Client]:
    """All rows, in their order."""
    rows = tomllib.loads((FOLDER / "clients.toml").read_text())["client"]
    return [
        Client(**{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()})
        for row in rows
    ]


def pins_of(environment: str) -> Path:
    """The file that pins all that an environment holds."""
    return FOLDER / "environments" / f"{environment}.txt"


def run(*words: str | Path, **environment: str) -> int:
    """The exit status of a command that runs in the project's folder."""
    told = {**os.environ, **environment}
    return subprocess.run([str(word) for word in words], cwd=ROOT, env=told).returncode


def build(environment: str, its: list[Client]) -> Path:
    """The interpreter of an environment, made if it is not there as its rows have it.

    Raises:
        SystemExit: something cannot be installed.
    """
    folder, pins = MADE / environment, pins_of(environment)
    python, stamp = folder / "bin/python", folder / "built.txt"
    wanted = f"{its}\n{pins.read_text()}\n{(ROOT / 'pyproject.toml').read_text()}"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    extras = ",".join(sorted({extra for client in its for extra in client.extras}))
    packages = sorted({package for client in its for package in client.packages})
    alone = [package for client in its for package in client.without_requirements]
    install = (python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:")
    ours = f".[{extras}]" if extras else "."
    commands = [
        (sys.executable, "-m", "venv", "--clear", folder),
        (*install, "--upgrade", "pip"),
        (*install, "--editable", ours, "pytest", *packages),
        *[(*install, "--no-deps", package) for package in alone],
    ]
    for command in commands:
        if run(*command, PIP_CONSTRAINT=str(pins)):
            sys.exit(f"{environment}: cannot be built")
    stamp.write_text(wanted)
    return python


def check(python: Path, client: Client) -> bool:
    """Whether a client's scripts pass, without a test that is skipped."""
    scripts = [FOLDER / script for script in client.scripts]
    pytest = (python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "", *scripts)
    return run(*pytest, LLMROUTE_CLIENTS=client.environment) == 0


def main(chosen: list[str]) -> None:
    """Run all clients of the chosen environments, of all if none is; exit with 1 if one fails."""
    rows = clients()
    environments = chosen or sorted({client.environment for client in rows})
    failed = []
    for environment in environments:
        its = [client for client in rows if client.environment == environment]
        python = build(environment, its)
        for client in its:
            print(f"== {client.name} ({environment})", flush=True)
            if not check(python, client):
                failed.append(client.name)
    print(f"{len(failed)} clients failed{': ' if failed else ''}{', '.join(failed)}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main(sys.argv[1:])
