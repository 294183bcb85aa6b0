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

from agents.compiled.rules import (
    IS_DOWN,
    LEAST_WORTH,
    NOWHERE,
    ROOT,
    SAFE_SLACK,
    TIE_WEIGHT,
)
from agents.routers.networks import Guarded, GuardedNetwork, GuardedPairs, QNetwork, Router
from agents.runs.card import Trained, TrainedRouter, memoryless
from llmroute_env.dynamics.features import MOST_LOG
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


def heuristic(router: Guarded) -> Feasible | Priced:
    """What guards `router`, in torch."""
    if not isinstance(router, GuardedPairs):
        return Feasible(router)
    if float(router.held_s) > 0:
        return Limited(router)
    return FeasiblePairs(router) if len(router.order) > 0 else Priced(router)


class Feasible(nn.Module):
    """What a guarded network begins with, in torch: compiled.rules.most_feasible."""

    margin: Tensor
    order: Tensor
    columns: Tensor

    def __init__(self, guarded: GuardedNetwork) -> None:
        super().__init__()
        self.register_buffer("margin", guarded.margin)
        self.register_buffer("order", guarded.order)
        # Of the slack of each model, largest model first.
        self.register_buffer("columns", guarded.slack + guarded.order)

    def forward(self, observations: Tensor) -> tuple[Tensor, None]:
        """The heuristic's actions, shape (B,); any model may be taken."""
        slack = observations.index_select(1, self.columns)
        feasible = slack >= self.margin
        rank = torch.where(feasible.any(dim=1), feasible.int().argmax(dim=1), slack.argmax(dim=1))
        return self.order[rank], None


class Priced(nn.Module):
    """What a guarded network over pairs begins with, in torch: compiled.rules.best_priced_pair.

    In float64, as there: rounded otherwise, pairs that are worth almost the same change places.
    """

    price: Tensor
    utility: Tensor

    def __init__(self, guarded: GuardedPairs) -> None:
        super().__init__()
        self.register_buffer("price", guarded.price)
        self.columns, self.tries, self.growth = (
            guarded.columns,
            guarded.tries,
            float(guarded.growth),
        )
        # Of every class and task on every pair.
        pairs = self.columns.pairs // guarded.accuracy.shape[1]
        self.register_buffer("utility", guarded.accuracy.repeat(1, pairs))

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor | None]:
        """The heuristic's actions, shape (B,), and which pairs are never taken, (B, pairs).

        The latter as compiled.rules.leave_out; None if any may be taken.
        """
        worth = self.worth(observations)
        usual = worth.argmax(dim=1)
        if self.tries == 0:
            return usual, None
        bar = torch.full_like(worth[:, :1], torch.inf)
        for _ in range(self.tries):
            below = torch.where(worth < bar, worth, -torch.inf).amax(dim=1, keepdim=True)
            bar = torch.where((below < LEAST_WORTH) & (bar < torch.inf), bar, below)
        return usual, worth < bar

    def worth(self, observations: Tensor) -> Tensor:
        """What every pair is worth, shape (B, pairs)."""
        c = self.columns
        kind = observations[:, c.task : c.task + c.tasks].argmax(dim=1)
        if c.classes > 1:
            user_class = observations[:, c.user_class : c.user_class + c.classes].argmax(dim=1)
            kind = user_class * c.tasks + kind
        exact = observations.double()
        load = exact[:, c.rate : c.rate + 1].exp() - 1.0
        load = load.clamp(min=0.0)
        price_now = self.price * (load.sqrt() if self.growth == ROOT else load**self.growth)
        slack = exact[:, c.slack : c.slack + c.pairs]
        work = exact[:, c.work : c.work + c.pairs]
        chance = (slack / SAFE_SLACK).clamp(0.0, 1.0)
        worth = self.utility[kind] * chance - price_now * work + TIE_WEIGHT * slack
        return torch.where(work >= MOST_LOG, worth - NOWHERE, worth)


class Limited(Priced):
    """The same of compiled.rules.least_full_pair."""

    limit: Tensor
    wanted: Tensor
    gpu: Tensor

    def __init__(self, guarded: GuardedPairs) -> None:
        super().__init__(guarded)
        limits, models = guarded.rule.limits, len(guarded.order)
        self.register_buffer("limit", torch.tensor(limits.held_s * limits.per_s))
        self.register_buffer("wanted", wanted(guarded))
        self.register_buffer("gpu", torch.arange(self.columns.pairs) // models)

    def worth(self, observations: Tensor) -> Tensor:
        """What every pair is worth, shape (B, pairs)."""
        c = self.columns
        seen = observations[:, c.in_flight : c.in_flight + c.pairs].double()
        held = (seen.exp() - 1.0).round()
        is_hosted = self.limit > 0
        share = (held + 1.0) / torch.where(is_hosted, self.limit, 1.0)
        worth = torch.where(share <= 1.0, self.wanted, 0.0) - share
        if c.up >= 0:
            up = observations[:, c.up + self.gpu] > 0
            worth = torch.where(up, worth, -IS_DOWN - share)
        return torch.where(is_hosted, worth, -NOWHERE)


class FeasiblePairs(Priced):
    """The same of compiled.rules.most_feasible_pair."""

    margin: Tensor
    wanted: Tensor

    def __init__(self, guarded: GuardedPairs) -> None:
        super().__init__(guarded)
        self.register_buffer("margin", guarded.least_slack)
        self.register_buffer("wanted", wanted(guarded))

    def worth(self, observations: Tensor) -> Tensor:
        """What every pair is worth, shape (B, pairs)."""
        c = self.columns
        slack = observations[:, c.slack : c.slack + c.pairs].double()
        work = observations[:, c.work : c.work + c.pairs]
        worth = slack / (1.0 + slack.abs())
        worth = worth + torch.where(slack >= self.margin, self.wanted, 0.0)
        return torch.where(work >= MOST_LOG, -NOWHERE, worth)


def wanted(guarded: GuardedPairs) -> Tensor:
    """What the model of every pair is worth where there is room, shape (pairs,)."""
    models = len(guarded.order)
    by_model = torch.empty(models, dtype=torch.float64)
    by_model[guarded.order] = 2.0 * (models - torch.arange(models, dtype=torch.float64))
    return by_model.repeat(guarded.columns.pairs // models)


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
