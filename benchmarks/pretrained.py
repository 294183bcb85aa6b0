"""Trains the routers that the package ships: `python -m benchmarks.pretrained [NAME ...]`.

Each is what one `llmroute train` command yields, without its checkpoints and logs; minutes each.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from agents.loading import SHIPPED
from agents.plan import Plan
from agents.run_directory import CARD, WEIGHTS
from agents.training import train
from llmroute_env.specs import require

ALGORITHM, SEED = "rollout-pi", 0

SCENARIOS = {
    "unpredictable": "unpredictable-1",
    "unpredictable-2": "unpredictable-2",
    "soft": "soft",
    "overload": "overload",
    "azure-conv": "azure-conv",
    "azure-code": "azure-code",
}
"""Name of a shipped router, and what it is trained on."""


def retrain(name: str, shipped: Path = SHIPPED, timesteps: int | None = None) -> None:
    """Train the router called `name` anew and replace the shipped one."""
    require(name in SCENARIOS, "name", name, ", ".join(SCENARIOS))
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / name
        train(Plan(run, SCENARIOS[name], seed=SEED, decisions=timesteps, algorithm=ALGORITHM))
        (shipped / name).mkdir(parents=True, exist_ok=True)
        for file in (CARD, WEIGHTS):
            shutil.copyfile(run / file, shipped / name / file)


def main(names: Sequence[str]) -> None:
    """Train those of `names`, or all."""
    for name in names or SCENARIOS:
        print(name)
        retrain(name)


if __name__ == "__main__":
    main(sys.argv[1:])
