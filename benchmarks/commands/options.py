"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tyro

if TYPE_CHECKING:
    from benchmarks.suites.workers import Workers


@dataclass(frozen=True)
class EnvOptions:
    """What differs from the scenario."""

    load: float | None = None
    """Mean arrival rate in units of load 1, instead of the scenario's."""
    profile: str | None = None
    """Latencies and accuracies: opt-a100 unless named, opt-h100 or a .toml file."""

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of EnvConfig that were given."""
        return {name: value for name, value in vars(self).items() if value is not None}


Environment = tyro.conf.OmitArgPrefixes[EnvOptions]
UNCHANGED = EnvOptions()


@dataclass(frozen=True)
class WorkerOptions:
    """Options that say who runs the cells of a suite, and how many at once."""

    runner: str = "local"
    """local: a pool of processes; ray: a Ray cluster."""
    workers: int = 2
    """Processes side by side; 0 for this process itself."""
    ray_address: str | None = None
    """Of a running Ray cluster; a local one is started if there is none."""


Options = tyro.conf.OmitArgPrefixes[WorkerOptions]
USUAL = WorkerOptions()


def workers_of(options: WorkerOptions) -> Workers:
    """The options as suites take them."""
    from benchmarks.suites.workers import Workers

    return Workers(options.runner, options.workers, options.ray_address)
