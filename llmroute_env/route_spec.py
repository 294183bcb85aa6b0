"""How an environment is written down by gymnasium, so that JSON can make it again."""

from __future__ import annotations

import dataclasses
from typing import Any

from gymnasium.envs.registration import EnvSpec

from llmroute_env.config import EnvConfig
from llmroute_env.recording.serialization import to_plain
from traces.typed import hints_of


class RouteSpec(EnvSpec):
    """An EnvSpec whose fields of EnvConfig JSON keeps: tuples, deadlines, pools, profiles."""

    @classmethod
    def of(cls, spec: EnvSpec) -> RouteSpec:
        """The same specification."""
        return cls(**told(spec))

    def to_json(self) -> str:
        """As JSON, from which `EnvSpec.from_json` and `gymnasium.make` make the environment again.

        Raises:
            ConfigError: a value that JSON cannot hold, such as a recipe of a user's own.
        """
        own: dict[str, Any] = {n: v for n, v in self.kwargs.items() if n in hints_of(EnvConfig)}
        others = {n: v for n, v in self.kwargs.items() if n not in own}
        spec = EnvSpec(
            **{f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}
        )
        spec.kwargs = others | ({"plain": to_plain(own, "kwargs")} if own else {})
        return spec.to_json()


def told(spec: EnvSpec) -> dict[str, Any]:
    """What a specification is made from."""
    return {f.name: getattr(spec, f.name) for f in dataclasses.fields(spec) if f.init}
