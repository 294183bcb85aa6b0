"""The heuristic that predicts every (GPU, model) pair, and what routers over pairs read.

An action is a pair, GPU-major. What a pair is worth to the pending request is the utility it
promises, accuracy times the weight of its user, less the price of the GPU time that it takes from
the requests to come: joining a batch that waits is cheap, opening one is dear, and the more so the
more requests arrive. Choosing the GPU too keeps small batches from waiting behind large ones, which
no choice of model alone can.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.base import Actions, Observations, read_in
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.features import FEATURES, PAIR_FEATURES, Layout
from llmroute_env.specs import require

SAFE_SLACK = 0.5
"""Predicted slack from which a request counts as sure to be in time; below, proportionally less:
what arrives later delays it, and deadlines are missed by predictions that were almost true."""

ROOT, STEEP = 0.5, 0.75
"""Powers of the load by which the price of GPU time rises in `priced-pair` and `steep-pair`."""

TIE_WEIGHT = 1e-3
"""What the slack adds to a pair's worth: it decides between pairs that are otherwise alike."""


class Price(NamedTuple):
    """Of GPU time: `at_load_1` for 1 / load 1 of it at load 1, and load to the power of `growth`.

    The burstier the arrivals, the sooner they exceed the rate that is observed, and the less the
    price should depend on it: a steep one loses 0.008 on `azure-code`. But one price for many
    environments needs it: the best single one costs the root 0.009 on `unpredictable-2`.
    """

    at_load_1: float
    growth: float = ROOT


class PricedPair:
    """The pair with the best utility x chance to be in time - price x GPU time that it adds.

    The chance is the predicted slack in units of SAFE_SLACK. The price is Price(price, growth), at
    the short-term arrival rate.
    """

    observation: tuple[str, ...] = PAIR_FEATURES
    action = "gpu-model"

    def __init__(
        self, name: str, config: EnvConfig, price: float = 0.02, growth: float = ROOT
    ) -> None:
        require(price >= 0, f"{name} price", price, ">= 0")
        self.name, self.price = name, Price(price, growth)
        self.observation = read_in(config, self.observation)
        self.columns = pair_columns(replace(config.layout, names=self.observation))
        self.utility = utilities(config)

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """See Agent."""

    def act(self, observations: Observations) -> Actions:
        """See Agent."""
        actions, _ = choose_pairs(observations, self.columns, self.utility, self.price)
        return actions


class PairColumns(NamedTuple):
    """Where an observation has what priced pairs read, and how much of it there is."""

    task: int
    tasks: int
    rate: int
    slack: int
    work: int
    pairs: int
    user_class: int
    classes: int


NO_PAIRS = PairColumns(-1, 0, -1, -1, -1, 0, -1, 1)
"""For routers that do not decide pairs."""


def pair_columns(layout: Layout) -> PairColumns:
    """First columns of PAIR_FEATURES, and of the class where there are several, in an observation.

    Raises:
        ConfigError: the observation lacks one of them.
    """
    needed = PAIR_FEATURES if layout.classes < 2 else (*PAIR_FEATURES, "class")
    accepted = f"{', '.join(needed)} among them"
    require(set(needed) <= set(layout.names), "observation", layout.names, accepted)
    task, rate, slack, work = map(layout.first, PAIR_FEATURES)
    pairs, user_class = layout.gpus * layout.models, layout.first("class")
    return PairColumns(task, layout.tasks, rate, slack, work, pairs, user_class, layout.classes)


def utilities(config: EnvConfig) -> NDArray[np.float64]:
    """Utility in time of every class and task, class-major, from every model; shape (C x T, M)."""
    return config.utility.reshape(-1, len(config.models))


def gpu_inputs(layout: Layout) -> NDArray[np.int64]:
    """What a network reads for each GPU in an observation: columns, shape (G, I).

    All that does not belong to a GPU comes first, the same in every row; then what is the GPU's.
    """
    gpus, models = layout.gpus, layout.models
    per_pair = [feature.name for feature in FEATURES if feature.per == "gpu-model"]
    first = [layout.first(name) for name in per_pair if name in layout.names]
    own = np.add.outer(np.arange(gpus) * models, np.add.outer(first, np.arange(models)))
    own = own.reshape(gpus, -1).astype(np.int64)
    shared = np.setdiff1d(np.arange(layout.width), own)
    return np.hstack([np.tile(shared, (gpus, 1)), own])


@compiled
def price_at(price: Price, load: float) -> float:
    """Of 1 / load 1 of GPU time at a short-term arrival rate of `load`."""
    load = max(load, 0.0)
    # A root is quicker than the general power, and this is asked for every request.
    growth = math.sqrt(load) if price.growth == ROOT else load**price.growth
    return price.at_load_1 * growth


@compiled
def kind_of(row: NDArray[np.float32], columns: PairColumns) -> int:
    """Class and task of the pending request in the observation `row`: a row of `utilities`."""
    task, user_class = 0, 0
    for k in range(columns.tasks):
        if row[columns.task + k] > 0.0:
            task = k
    if columns.classes > 1:
        for k in range(columns.classes):
            if row[columns.user_class + k] > 0.0:
                user_class = k
    return user_class * columns.tasks + task


@compiled
def best_pair(
    row: NDArray[np.float32],
    columns: PairColumns,
    utility: NDArray[np.float64],
    price: Price,
    worths: NDArray[np.float64],
) -> int:
    """The pair that PricedPair takes for the observation `row`; ties go to the lowest number.

    What every pair is worth is written into `worths`.
    """
    kind = kind_of(row, columns)
    # In float64 everywhere, so that other runtimes come to the same decisions.
    price_now = price_at(price, math.exp(np.float64(row[columns.rate])) - 1.0)
    best = 0
    for pair in range(columns.pairs):
        predicted = np.float64(row[columns.slack + pair])
        chance = min(max(predicted / SAFE_SLACK, 0.0), 1.0)
        promised = utility[kind, pair % utility.shape[1]] * chance
        worth = promised - price_now * row[columns.work + pair]
        worths[pair] = worth + TIE_WEIGHT * predicted
        if worths[pair] > worths[best]:
            best = pair
    return best


@compiled
def best_pairs(
    rows: NDArray[np.float32],
    columns: PairColumns,
    utility: NDArray[np.float64],
    price: Price,
    worths: NDArray[np.float64],
    actions: NDArray[np.int64],
) -> None:
    """Write `best_pair` of every row into `actions`, and what every pair is worth into `worths`."""
    for e in range(len(rows)):
        actions[e] = best_pair(rows[e], columns, utility, price, worths[e])


def choose_pairs(
    rows: Observations,
    columns: PairColumns,
    utility: NDArray[np.float64],
    price: Price,
) -> tuple[Actions, NDArray[np.float64]]:
    """`best_pair` of every row, shape (B, F) -> (B,), and the worths of all, (B, pairs)."""
    actions, worths = np.empty(len(rows), np.int64), np.empty((len(rows), columns.pairs))
    best_pairs(rows, columns, utility, price, worths, actions)
    return actions, worths


@compiled
def leave_out(values: NDArray[np.float32], worths: NDArray[np.float64], tries: int) -> None:
    """Make the value of every pair -inf but of the `tries` most worth; pairs that tie are one.

    Where others are never tried, what a network makes of them was never learned: in a state that
    no router visits, it once sent everything to one GPU while the other was idle.
    """
    bar = np.inf
    for _ in range(tries):
        below = -np.inf
        for pair in range(len(worths)):
            if below < worths[pair] < bar:
                below = worths[pair]
        if below == -np.inf:
            return
        bar = below
    for pair in range(len(worths)):
        if worths[pair] < bar:
            values[pair] = -np.inf


@compiled
def leave_out_of_rows(values: NDArray[np.float32], worths: NDArray[np.float64], tries: int) -> None:
    """`leave_out` of every row, shape (B, pairs) of both."""
    for e in range(len(values)):
        leave_out(values[e], worths[e], tries)
