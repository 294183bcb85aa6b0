"""From what a user calls a router to the router."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agents.base import Agent
from agents.heuristics import models as heuristics
from agents.heuristics import table as controls
from llmroute_env.config import EnvConfig
from llmroute_env.specs import ConfigError, require

if TYPE_CHECKING:
    from agents.runs.trained import Trained

PRETRAINED = "pretrained:"
"""What the names of routers that the package ships begin with."""

SHIPPED = Path(__file__).parent / "pretrained"
"""Their run directories, without checkpoints and logs."""


def load(name: str, config: EnvConfig) -> Agent:
    """The router that `name` means, to route for `config`.

    That is a heuristic, a trained router (`run_of`), or one in an ONNX file.

    Raises:
        ConfigError: `name` means nothing, or a heuristic that cannot route for `config`.
        CheckpointError: the directory or file is not of a router, or it does not fit `config`.
    """
    if is_heuristic(name, config):
        return controls.make(name, config)
    if name.endswith(".onnx"):
        from agents.serving.onnx import OnnxRouter

        router = OnnxRouter(Path(name))
        router.check_fit(config)
        return router
    if not name.startswith(PRETRAINED) and not Path(name).is_dir():
        models = config.model_names
        known = ", ".join([*heuristics.HEURISTICS, *models, *controls.CONTROLS, *shipped()])
        raise ConfigError(
            f"agent: got {name!r}; accepted: a run directory, or one of {known}, "
            "or a file that `llmroute export` wrote"
        )
    return load_trained(name, config)


def load_trained(name: str, config: EnvConfig | None = None) -> Trained:
    """The trained router of the run directory `name`, or a shipped one; see `load`.

    Raises:
        ConfigError: `name` is neither.
        CheckpointError: the directory is not that of a run, or its router does not fit `config`.
    """
    directory = run_of(name)
    # Here, because it imports torch.
    from agents.runs.trained import load_agent

    return load_agent(directory, config)


def run_of(name: str) -> Path:
    """The run directory `name`, or that of a shipped router: `pretrained:NAME`.

    Raises:
        ConfigError: it is neither.
    """
    names = shipped()
    if name in names:
        return SHIPPED / name.removeprefix(PRETRAINED)
    accepted = f"a trained router: a run directory, or one of {', '.join(names)}"
    require(Path(name).is_dir(), "agent", name, accepted)
    return Path(name)


def is_heuristic(name: str, config: EnvConfig) -> bool:
    """Whether `name` is that of a router without training: a model's name is one."""
    known = name in heuristics.HEURISTICS or name in controls.CONTROLS
    return known or heuristics.is_model(name, config)


def shipped() -> tuple[str, ...]:
    """Names of the routers that the package ships."""
    return tuple(f"{PRETRAINED}{path.parent.name}" for path in sorted(SHIPPED.glob("*/*.json")))
