"""Settings of which some are a user's own: checked by name, type and range."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.settings.parts import Settings
from llmroute_env.specs import ConfigError
from traces.typed import conform, hints_of, nearest, shown


def changed(usual: Settings, changes: Mapping[str, Any]) -> Settings:
    """`usual` with some fields changed; lists stand for tuples, as in JSON and TOML.

    Raises:
        ConfigError: no such setting, or a value that it cannot have.
    """
    kind: Any = type(usual)
    hints = hints_of(kind)
    for name, value in changes.items():
        if name not in hints:
            accepted = f"{nearest(name, hints)}accepted: {', '.join(hints)}"
            raise ConfigError(f"{name}: got {shown(value)}, which is not a setting; {accepted}")
    return replace(
        usual, **{n: conform(tuples(v), hints[n], n, ConfigError) for n, v in changes.items()}
    )


def tuples(value: Any) -> Any:
    """Lists, and those within them, as tuples."""
    return tuple(map(tuples, value)) if isinstance(value, list) else value


def best_of(path: Path, algorithm: str) -> dict[str, Any]:
    """The settings that `llmroute tune` found best for an algorithm, from its best.json.

    Raises:
        ConfigError: no such file, or of another algorithm.
    """
    try:
        best = json.loads(path.read_text(encoding="utf-8"))
        tuned, settings = best["algorithm"], dict(best["settings"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        accepted = "a best.json of llmroute tune"
        raise ConfigError(f"settings {str(path)!r}: {error!r}; accepted: {accepted}") from error
    if tuned != algorithm:
        raise ConfigError(f"settings {str(path)!r}: got {tuned!r}; accepted: {algorithm!r}")
    return settings
