"""What rules over pairs decide, compiled: what every (GPU, model) pair is worth to a request."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.columns import PairColumns
from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.features import MOST_LOG

SAFE_SLACK = 0.5
"""Predicted slack from which a request counts as sure to be in time; below, proportionally less:
what arrives later delays it, and deadlines are missed by predictions that were almost true."""


ROOT, STEEP = 0.5, 0.75
"""Powers of the load by which the price of GPU time rises in `priced-pair` and `steep-pair`."""


TIE_WEIGHT = 1e-3
"""What the slack adds to a pair's worth: it decides between pairs that are otherwise alike."""


NOWHERE = 1e6
"""What a pair is worth less that leads to no GPU that serves the model, as far as is known."""

LEAST_WORTH = -NOWHERE / 2
"""Worth less is only what leads nowhere, by itself or beside what leads somewhere."""

IS_DOWN = NOWHERE * 3 / 4
"""What a pair is worth less that leads to a GPU that is down, by limits."""


class Price(NamedTuple):
    """Of GPU time: `at_load_1` for 1 / load 1 of it at load 1, and load to the power of `growth`.

    The burstier the arrivals, the sooner they exceed the rate that is observed, and the less the
    price should depend on it: a steep one loses 0.008 on `azure-code`. But one price for many
    environments needs it: the best single one costs the root 0.009 on `unpredictable-2`.
    """

    at_load_1: float
    growth: float = ROOT


class Limits(NamedTuple):
    """Where there is room: a pair holds at most what it works off in `held_s` seconds.

    Or, if that is 0, its predicted slack is at least `margin`.
    """

    held_s: float
    per_s: NDArray[np.float64]  # (pairs,): what the model alone sustains there; 0: not hosted
    order: NDArray[np.int64]  # (M,) models, the most wanted first; (0,): there are no limits
    margin: float = 0.0


NO_LIMITS = Limits(0.0, np.zeros(0), np.zeros(0, np.int64))
"""For rules that price GPU time."""


class PairRule(NamedTuple):
    """What pairs are worth: where an observation says it, utilities, and the price of GPU time.

    With `limits` they say it alone: the most wanted model of those with room, where it has most.
    """

    columns: PairColumns
    utility: NDArray[np.float64]  # (C x T, M): columns.utilities
    price: Price
    limits: Limits = NO_LIMITS


@compiled
def price_at(price: Price, load: float) -> float:
    """Price of 1 / load 1 of GPU time at a short-term arrival rate of `load`."""
    load = max(load, 0.0)
    # A root is quicker than the general power, and this is asked for every request.
    growth = math.sqrt(load) if price.growth == ROOT else load**price.growth
    return price.at_load_1 * growth


@compiled
def most_feasible(
    row: NDArray[np.float32], slack: int, margin: np.float32, order: NDArray[np.int64]
) -> int:
    """The first model in `order` whose slack in the observation reaches `margin`, else the most.

    The slacks of the models begin at column `slack`; of equals the first in `order` is taken.
    """
    hopeful = order[0]
    for model in order:
        if row[slack + model] >= margin:
            return int(model)
        if row[slack + model] > row[slack + hopeful]:
            hopeful = model
    return int(hopeful)


@compiled
def most_feasible_of_rows(
    rows: NDArray[np.float32],
    slack: int,
    margin: np.float32,
    order: NDArray[np.int64],
    actions: NDArray[np.int64],
) -> None:
    """Write `most_feasible` of every row into `actions`."""
    for e in range(len(rows)):
        actions[e] = most_feasible(rows[e], slack, margin, order)


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
def best_pair(row: NDArray[np.float32], rule: PairRule, worths: NDArray[np.float64]) -> int:
    """The pair that is worth most for the observation `row`; ties go to the lowest number.

    What every pair is worth is written into `worths`.
    """
    if rule.limits.held_s > 0.0:
        return least_full_pair(row, rule, worths)
    if len(rule.limits.order) > 0:
        return most_feasible_pair(row, rule, worths)
    return best_priced_pair(row, rule, worths)


@compiled
def first_largest(worths: NDArray[np.float64]) -> int:
    """Number of the largest; of equals the first."""
    best = 0
    for pair in range(len(worths)):
        if worths[pair] > worths[best]:
            best = pair
    return best


@compiled
def least_full_pair(row: NDArray[np.float32], rule: PairRule, worths: NDArray[np.float64]) -> int:
    """`best_pair` by limits: heuristics.late.ConcurrencyLimit."""
    columns, limits = rule.columns, rule.limits
    models = len(limits.order)
    for pair in range(columns.pairs):
        worths[pair] = -NOWHERE
    for rank in range(models):
        for gpu in range(columns.pairs // models):
            pair = gpu * models + limits.order[rank]
            limit = limits.held_s * limits.per_s[pair]
            if limit <= 0.0:
                continue
            # Features are rounded, and requests are whole.
            held = np.rint(math.expm1(np.float64(row[columns.in_flight + pair])))
            share = (held + 1.0) / limit
            worths[pair] = (2.0 * (models - rank) if share <= 1.0 else 0.0) - share
            if columns.up >= 0 and row[columns.up + gpu] <= 0.0:
                worths[pair] = -IS_DOWN - share
    return first_largest(worths)


@compiled
def most_feasible_pair(
    row: NDArray[np.float32], rule: PairRule, worths: NDArray[np.float64]
) -> int:
    """`best_pair` by predicted slack: heuristics.pairs.FeasiblePair."""
    columns, limits = rule.columns, rule.limits
    models = len(limits.order)
    for rank in range(models):
        for gpu in range(columns.pairs // models):
            pair = gpu * models + limits.order[rank]
            predicted = np.float64(row[columns.slack + pair])
            # Above -1 and below 1, in the order of the slack.
            worths[pair] = predicted / (1.0 + abs(predicted))
            if predicted >= limits.margin:
                worths[pair] += 2.0 * (models - rank)
            if row[columns.work + pair] >= MOST_LOG:
                worths[pair] = -NOWHERE
    return first_largest(worths)


@compiled
def best_priced_pair(row: NDArray[np.float32], rule: PairRule, worths: NDArray[np.float64]) -> int:
    """`best_pair` by the price of GPU time: heuristics.pairs.PricedPair."""
    columns, utility = rule.columns, rule.utility
    kind = kind_of(row, columns)
    # In float64 everywhere, so that other runtimes come to the same decisions.
    price_now = price_at(rule.price, math.exp(np.float64(row[columns.rate])) - 1.0)
    best = 0
    for pair in range(columns.pairs):
        predicted = np.float64(row[columns.slack + pair])
        chance = min(max(predicted / SAFE_SLACK, 0.0), 1.0)
        promised = utility[kind, pair % utility.shape[1]] * chance
        worth = promised - price_now * row[columns.work + pair]
        worths[pair] = worth + TIE_WEIGHT * predicted
        if row[columns.work + pair] >= MOST_LOG:
            worths[pair] -= NOWHERE
        if worths[pair] > worths[best]:
            best = pair
    return best


@compiled
def best_pairs(
    rows: NDArray[np.float32],
    rule: PairRule,
    worths: NDArray[np.float64],
    actions: NDArray[np.int64],
) -> None:
    """Write `best_pair` of every row into `actions`, and what every pair is worth into `worths`."""
    for e in range(len(rows)):
        actions[e] = best_pair(rows[e], rule, worths[e])


@compiled
def leave_out(values: NDArray[np.float32], worths: NDArray[np.float64], tries: int) -> None:
    """Make the value of every pair -inf but of the `tries` most worth; pairs that tie are one.

    What leads nowhere is not among them, unless all do. Where others are never tried, what a
    network makes of them was never learned: in a state that no router visits, it once sent
    everything to one GPU while the other was idle.
    """
    bar = np.inf
    for _ in range(tries):
        below = -np.inf
        for pair in range(len(worths)):
            if below < worths[pair] < bar:
                below = worths[pair]
        if below < LEAST_WORTH and bar < np.inf:
            break
        bar = below
    for pair in range(len(worths)):
        if worths[pair] < bar:
            values[pair] = -np.inf


@compiled
def leave_out_of_rows(values: NDArray[np.float32], worths: NDArray[np.float64], tries: int) -> None:
    """`leave_out` of every row, shape (B, pairs) of both."""
    for e in range(len(values)):
        leave_out(values[e], worths[e], tries)
