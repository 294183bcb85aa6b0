"""From what a user calls a router to the router."""

from __future__ import annotations

from pathlib import Path

from agents import controls, heuristics
from agents.base import Agent
from llmroute_env.config import EnvConfig
from llmroute_env.specs import ConfigError


def load(name: str, config: EnvConfig) -> Agent:
    """The heuristic called `name`, or the trained router of the run directory `name`.

    Raises:
        ConfigError: neither a heuristic's name nor a directory, or a heuristic that cannot route
            for `config`.
        CheckpointError: the directory is not that of a run, or its router does not fit `config`.
    """
    if name in heuristics.HEURISTICS or name in controls.CONTROLS:
        return controls.make(name, config)
    if not Path(name).is_dir():
        known = ", ".join([*heuristics.HEURISTICS, *controls.CONTROLS])
        raise ConfigError(f"agent: got {name!r}; accepted: a run directory, or one of {known}")
    from agents.run_directory import load_agent

    return load_agent(name, config)
