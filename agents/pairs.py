"""The heuristic that predicts every (GPU, model) pair, and what routers over pairs read.

An action is a pair, GPU-major. What a pair is worth to the pending request is the accuracy it
promises, less the price of the GPU time that it takes from the requests to come: joining a batch
that waits is cheap, opening one is dear, and the more so the more requests arrive. Choosing the
GPU too keeps small batches from waiting behind large ones, which no choice of model alone can.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.base import Actions, Observations
from llmroute_env._compiled import compiled
from llmroute_env.config import EnvConfig
from llmroute_env.observation import FEATURE_NAMES, FEATURES, PAIR_FEATURES, bounds, layout
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
    """The pair with the best accuracy x chance to be in time - price x GPU time that it adds.

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
        self.columns = pair_columns(self.observation, *shape_of(config)[1:])
        self.accuracy = accuracies(config)

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """See Agent."""

    def act(self, observations: Observations) -> Actions:
        """See Agent."""
        actions, _ = choose_pairs(observations, self.columns, self.accuracy, self.price)
        return actions


def pair_columns(names: tuple[str, ...], tasks: int, gpus: int, models: int) -> NDArray[np.int64]:
    """First columns of PAIR_FEATURES in an observation of `names`, and the number of pairs."""
    starts = layout(names, tasks, gpus, models)
    found = [int(starts[FEATURE_NAMES.index(name)]) for name in PAIR_FEATURES]
    accepted = f"{', '.join(PAIR_FEATURES)} among them"
    require(min(found) >= 0, "observation", names, accepted)
    return np.array([*found, gpus * models], np.int64)


def accuracies(config: EnvConfig) -> NDArray[np.float64]:
    """Accuracy of every model on every task, shape (T, M)."""
    return np.array([model.accuracy for model in config.models]).T.copy()


def gpu_inputs(names: tuple[str, ...], tasks: int, gpus: int, models: int) -> NDArray[np.int64]:
    """What a network reads for each GPU in an observation of `names`: columns, shape (G, I).

    All that does not belong to a GPU comes first, the same in every row; then what is the GPU's.
    """
    starts = layout(names, tasks, gpus, models)
    first = [starts[i] for i, f in enumerate(FEATURES) if f.per == "gpu-model" and starts[i] >= 0]
    own = np.add.outer(np.arange(gpus) * models, np.add.outer(first, np.arange(models)))
    own = own.reshape(gpus, -1).astype(np.int64)
    low, _ = bounds(names, tasks, gpus, models)
    shared = np.setdiff1d(np.arange(len(low)), own)
    return np.hstack([np.tile(shared, (gpus, 1)), own])


def shape_of(config: EnvConfig) -> tuple[tuple[str, ...], int, int, int]:
    """What the columns of an observation depend on: names of features, tasks, GPUs and models."""
    return config.observation, len(config.tasks), config.gpus, len(config.models)


@compiled
def price_at(price: Price, load: float) -> float:
    """Of 1 / load 1 of GPU time at a short-term arrival rate of `load`."""
    load = max(load, 0.0)
    # A root is quicker than the general power, and this is asked for every request.
    growth = math.sqrt(load) if price.growth == ROOT else load**price.growth
    return price.at_load_1 * growth


@compiled
def best_pair(
    row: NDArray[np.float32],
    columns: NDArray[np.int64],
    accuracy: NDArray[np.float64],
    price: Price,
    worths: NDArray[np.float64],
) -> int:
    """The pair that PricedPair takes for the observation `row`; ties go to the lowest number.

    What every pair is worth is written into `worths`.
    """
    slack, work = columns[2], columns[3]
    task = 0
    for k in range(len(accuracy)):
        if row[columns[0] + k] > 0.0:
            task = k
    # In float64 everywhere, so that other runtimes come to the same decisions.
    price_now = price_at(price, math.exp(np.float64(row[columns[1]])) - 1.0)
    best = 0
    for pair in range(columns[4]):
        predicted = np.float64(row[slack + pair])
        chance = min(max(predicted / SAFE_SLACK, 0.0), 1.0)
        worth = accuracy[task, pair % accuracy.shape[1]] * chance - price_now * row[work + pair]
        worths[pair] = worth + TIE_WEIGHT * predicted
        if worths[pair] > worths[best]:
            best = pair
    return best


@compiled
def best_pairs(
    rows: NDArray[np.float32],
    columns: NDArray[np.int64],
    accuracy: NDArray[np.float64],
    price: Price,
    worths: NDArray[np.float64],
    actions: NDArray[np.int64],
) -> None:
    """Write `best_pair` of every row into `actions`, and what every pair is worth into `worths`."""
    for e in range(len(rows)):
        actions[e] = best_pair(rows[e], columns, accuracy, price, worths[e])


def choose_pairs(
    rows: Observations,
    columns: NDArray[np.int64],
    accuracy: NDArray[np.float64],
    price: Price,
) -> tuple[Actions, NDArray[np.float64]]:
    """`best_pair` of every row, shape (B, F) -> (B,), and the worths of all, (B, pairs)."""
    actions, worths = np.empty(len(rows), np.int64), np.empty((len(rows), columns[4]))
    best_pairs(rows, columns, accuracy, price, worths, actions)
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
