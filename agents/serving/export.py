"""A trained router as an ONNX file, which any runtime can serve without this package.

The file holds the whole decision, from observations to actions; the run card is its metadata.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from agents.routers.networks import QNetwork, Router
from agents.runs.trained import Trained, TrainedRouter, memoryless
from agents.serving.guards import Feasible, Priced, heuristic
from llmroute_env.recording.files import write_atomically
from llmroute_env.specs import require
from traces.errors import InputError

SUFFIX = ".onnx"
OBSERVATIONS, ACTIONS, VALUES = "observations", "actions", "values"
"""Names of the graph's input, shape (B, F), and outputs, shapes (B,) and (B, actions)."""

OPSET = 17


class Decision(nn.Module):
    """A router's decision in torch alone: (B, F) to actions (B,) and their values (B, actions).

    What a router's own `greedy` does in NumPy; a new network needs only its `forward`.
    """

    caution: Tensor
    busiest: Tensor

    def __init__(self, router: Router) -> None:
        super().__init__()
        self.rate = -1
        self.heuristic: Feasible | Priced | None = None
        self.network = router if isinstance(router, QNetwork) else router.network
        if isinstance(router, QNetwork):
            return
        self.rate = int(router.rate)
        self.register_buffer("caution", router.caution)
        self.register_buffer("busiest", router.busiest)
        self.heuristic = heuristic(router)

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """The actions, and the values that the network gives to all of them."""
        values: Tensor = self.network(observations)
        if self.heuristic is None:
            return self.best(values), values
        usual, left_out = self.heuristic(observations)
        taken = values if left_out is None else torch.where(left_out, -torch.inf, values)
        best = self.best(taken)
        promised = values.gather(1, torch.stack([best, usual], dim=1))
        overrules = promised[:, 0] - promised[:, 1] > self.caution + self.network.tie
        if self.rate >= 0:
            overrules = overrules & (observations[:, self.rate] <= self.busiest)
        return torch.where(overrules, best, usual), values

    def best(self, values: Tensor) -> Tensor:
        """The largest of every row; of those that tie with it, the first."""
        largest = values.amax(dim=1, keepdim=True) - self.network.tie
        # argmax of truth values finds the first, but ONNX knows it for numbers only.
        return (values >= largest).int().argmax(dim=1)


def export(agent: Trained, path: Path) -> None:
    """Write `agent` as an ONNX model.

    Raises:
        ConfigError: the name does not end with .onnx, or the router remembers.
        InputError: ONNX is not installed.
    """
    agent = memoryless(agent, "export to ONNX")
    accepted = f"a name that ends with {SUFFIX}"
    require(path.suffix == SUFFIX, "out", str(path), accepted)
    try:
        import onnx
    except ModuleNotFoundError:
        raise InputError(
            "export: ONNX is not installed; accepted: after `pip install 'llmroute[export]'`"
        ) from None
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "draft.onnx"
        trace(agent, draft)
        model = onnx.load(draft)
    onnx.helper.set_model_props(model, metadata(agent))
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, model.SerializeToString())


def trace(agent: TrainedRouter, path: Path) -> None:
    """Write the decision with torch's exporter."""
    names = {name: {0: "requests"} for name in (OBSERVATIONS, ACTIONS, VALUES)}
    with warnings.catch_warnings():
        # The exporter that torch recommends instead needs another package, for the same graph.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            Decision(agent.network).eval(),
            (torch.zeros(2, agent.columns),),
            path,
            input_names=[OBSERVATIONS],
            output_names=[ACTIONS, VALUES],
            dynamic_axes=names,
            opset_version=OPSET,
            dynamo=False,
        )


def metadata(agent: TrainedRouter) -> dict[str, str]:
    """The run card as the texts that ONNX keeps: JSON, but for what is a text by itself.

    `columns` and `actions` are those of the network, which may be for other GPUs than the card's.
    """
    entries: dict[str, Any] = {**agent.card.to_json(), "observation": list(agent.observation)}
    entries |= {"action": agent.action, "columns": agent.columns, "actions": agent.actions}
    if agent.action == "gpu-model":
        entries["gpus"] = agent.actions // len(agent.card.models)
    return {name: e if isinstance(e, str) else json.dumps(e) for name, e in entries.items()}
