"""The world: everything that the compiled dynamics read and change, as one thing to pass on."""

from __future__ import annotations

from typing import NamedTuple

from llmroute_env.dynamics.cluster import Cluster, Tape
from llmroute_env.dynamics.state import Log, State


class World(NamedTuple):
    """E envs on one cluster and one tape; `env e of a world` is what a compiled function moves."""

    cluster: Cluster  # read-only tables
    tape: Tape  # all arrivals of the workload
    state: State  # everything that changes
    log: Log  # where completions go
