"""Trains the routers that the package ships: `python -m benchmarks.shipping.pretrained [NAME ...]`.

Each is what one `llmroute train` command yields, without its checkpoints and logs; minutes each,
and half an hour for `generalist-world`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from agents.loading import SHIPPED
from agents.runs.card import CARD, WEIGHTS
from agents.runs.plan import Plan
from agents.training.training import train
from llmroute_env.specs import require

SEED = 0


class Recipe(NamedTuple):
    """What a shipped router is trained on, and how."""

    scenario: str
    algorithm: str = "rollout-pi"


RECIPES = {
    "unpredictable": Recipe("unpredictable-1"),
    "unpredictable-2": Recipe("unpredictable-2"),
    "soft": Recipe("soft"),
    "overload": Recipe("overload"),
    "azure-conv": Recipe("azure-conv"),
    "azure-code": Recipe("azure-code"),
    "paper": Recipe("paper", "ddqn-paper"),
    "generalist": Recipe("any", "generalist"),
    "generalist-world": Recipe("any-world", "generalist-world"),
    "burst": Recipe("burst", "rollout-pi-tokens"),
    "kv-pressure": Recipe("kv-pressure", "rollout-pi-tokens"),
    "long-context": Recipe("long-context", "rollout-pi-tokens"),
    "tokens-mixed-gpus": Recipe("tokens-mixed-gpus", "rollout-pi-model-tokens"),
    "tokens-admission": Recipe("tokens-admission", "rollout-pi-model-tokens"),
}
"""By the name of the router."""


def retrain(name: str, shipped: Path = SHIPPED, timesteps: int | None = None) -> None:
    """Train the router called `name` anew and replace the shipped one."""
    require(name in RECIPES, "name", name, ", ".join(RECIPES))
    scenario, algorithm = RECIPES[name]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / name
        train(Plan(run, scenario, seed=SEED, decisions=timesteps, algorithm=algorithm))
        (shipped / name).mkdir(parents=True, exist_ok=True)
        for file in (CARD, WEIGHTS):
            shutil.copyfile(run / file, shipped / name / file)


def main(names: Sequence[str]) -> None:
    """Train those of `names`, or all."""
    for name in names or RECIPES:
        print(name)
        retrain(name)


if __name__ == "__main__":
    main(sys.argv[1:])
