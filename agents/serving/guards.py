"""The heuristics that guard networks, in torch, so that ONNX can hold them."""

from __future__ import annotations

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
from agents.routers.networks import Guarded, GuardedNetwork, GuardedPairs
from llmroute_env.dynamics.features import MOST_LOG


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
