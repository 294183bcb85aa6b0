"""Run cards: an episode as one JSON file from which anybody can play it again, bit by bit.

A card holds the configuration, the seed and the actions, which determine the episode, and what came
of them: observations, rewards, times and completions, against which a replay is compared.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmroute_env.config import EnvConfig
from llmroute_env.recording.files import versions
from llmroute_env.recording.recording import (
    Difference,
    Recording,
    first_difference,
    follow,
    play,
)
from llmroute_env.recording.serialization import (
    config_sha256,
    pack,
    read_config,
    to_plain,
    trace_sha256,
    unpack,
)
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import ConfigError, require

FORMAT = 1
COMPUTED_WITH = ("llmroute", "gymnasium", "numba", "numpy")
"""Packages whose versions a card names."""
ENTRIES = ("config", "config_sha256", "trace", "seed", "actions", "recording_sha256", "recording")


def make_card(
    config: EnvConfig, seed: int, actions: Sequence[int] | NDArray[np.int64], **notes: str
) -> dict[str, Any]:
    """The run card of the episode that `env.reset(seed=seed)` and `actions` give.

    Args:
        config: of the env, `env.unwrapped.config`.
        seed: of `reset`.
        actions: one per step; fewer than the episode has requests are its beginning.
        **notes: texts to keep with it, such as scenario="overload" or agent="random".

    Raises:
        ConfigError: no action, one out of range, or more than the episode has requests.
    """
    require(len(actions) > 0, "actions", actions, "at least one")
    recording = play(config, seed, follow(actions), len(actions))
    accepted = f"{len(recording.actions)}, as many as the episode has requests"
    require(len(recording.actions) == len(actions), "number of actions", len(actions), accepted)
    return card_of(recording, config, seed, **notes)


def card_of(recording: Recording, config: EnvConfig, seed: int, **notes: str) -> dict[str, Any]:
    """The run card of a recording."""
    trace = Simulation(config).trace
    arrays = {name: pack(array) for name, array in recording.arrays.items() if name != "actions"}
    return {
        "llmroute_run_card": FORMAT,
        **notes,
        "versions": versions(*COMPUTED_WITH),
        "config": to_plain(config),
        "config_sha256": config_sha256(config),
        "trace": {
            "source": trace.provenance.source,
            "requests": len(trace),
            "sha256": trace_sha256(trace),
        },
        "seed": seed,
        "actions": recording.actions.tolist(),
        "recording_sha256": recording.sha256,
        "recording": arrays,
    }


def write_card(card: dict[str, Any], path: Path) -> None:
    """Write a card; each entry has a line of its own."""
    lines = [f"{json.dumps(k)}: {json.dumps(v, allow_nan=False)}" for k, v in card.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def read_card(path: Path) -> dict[str, Any]:
    """Read a card.

    Raises:
        ConfigError: no such file, no run card, or one of another format.
    """
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"run card {path}: cannot be read: {error}") from error
    found = card.get("llmroute_run_card") if isinstance(card, dict) else None
    require(found == FORMAT, f"run card {path} llmroute_run_card", found, str(FORMAT))
    missing = [entry for entry in ENTRIES if entry not in card]
    require(not missing, f"run card {path} lacks", missing, f"cards with {', '.join(ENTRIES)}")
    require(isinstance(card["seed"], int), f"run card {path} seed", card["seed"], "an integer")
    accepted = "an object with the sha256 of the requests"
    valid = isinstance(card["trace"], dict) and "sha256" in card["trace"]
    require(valid, f"run card {path} trace", card["trace"], accepted)
    return dict(card)


def recording_of(card: dict[str, Any]) -> Recording:
    """What a card says about its episode.

    Raises:
        ConfigError: an entry is missing or damaged.
    """
    try:
        arrays = {name: unpack(data) for name, data in card["recording"].items()}
        recording = Recording(actions=np.array(card["actions"], np.int64), **arrays)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"run card: its recording cannot be read: {error!r}") from error
    accepted = f"{card['recording_sha256']}, as the card says of itself"
    intact = recording.sha256 == card["recording_sha256"]
    require(intact, "run card: recording sha256", recording.sha256, accepted)
    return recording


def replay(card: dict[str, Any]) -> Difference | None:
    """Play a card's episode again; None if every bit is the same, else the first difference.

    Raises:
        ConfigError: the card is damaged, or its configuration no longer accepted.
    """
    recorded = recording_of(card)
    config = read_config(card["config"])
    trace = trace_sha256(Simulation(config).trace)
    for field, before, now in (
        ("config_sha256", card["config_sha256"], config_sha256(config)),
        ("trace sha256", card["trace"]["sha256"], trace),
    ):
        if before != now:
            return Difference(None, field, before, now)
    steps = len(recorded.actions)
    return first_difference(recorded, play(config, card["seed"], follow(recorded.actions), steps))
