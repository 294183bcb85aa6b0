"""The heuristics that predict every (GPU, model) pair, and what routers over pairs read.

An action is a pair, GPU-major. What a pair is worth to the pending request is the utility it
promises, accuracy times the weight of its user, less the price of the GPU time that it takes from
the requests to come: joining a batch that waits is cheap, opening one is dear, and the more so the
more requests arrive. Choosing the GPU too keeps small batches from waiting behind large ones, which
no choice of model alone can. With continuous batching, where requests beside each other slow each
other down and no GPU time is one's own, the largest model with room is a better rule.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agents.base import Actions, Observations, read_in
from agents.columns import pair_columns, utilities
from agents.compiled.making import margins
from agents.compiled.rules import ROOT, PairRule, Price, best_pairs
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.features import PAIR_FEATURES
from llmroute_env.specs import require


class BestPair:
    """Common ground of rules over pairs: the one that is worth most to `rule`.

    Attributes:
        rule: what pairs are worth.
    """

    action = "gpu-model"
    rule: PairRule

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """Nothing to forget."""

    def act(self, observations: Observations) -> Actions:
        """The pair for every row of `observations`, shape (E, F) -> (E,)."""
        return choose_pairs(observations, self.rule)[0]


class PricedPair(BestPair):
    """The pair with the best utility x chance to be in time - price x GPU time that it adds.

    The chance is the predicted slack in units of SAFE_SLACK. The price is Price(price, growth), at
    the short-term arrival rate.
    """

    observation: tuple[str, ...] = PAIR_FEATURES

    def __init__(
        self, name: str, config: EnvConfig, price: float = 0.02, growth: float = ROOT
    ) -> None:
        require(price >= 0, f"{name} price", price, ">= 0")
        self.name = name
        self.observation = read_in(config, self.observation)
        columns = pair_columns(replace(config.layout, names=self.observation))
        self.rule = PairRule(columns, utilities(config), Price(price, growth))


class FeasiblePair(BestPair):
    """The largest model that a GPU is predicted to serve in time with a margin, where it has most.

    A pair is feasible if its predicted slack, 1 - latency / deadline, is at least `margin`; if none
    is, the one with the most slack is taken. It adds what it has sent since to signals that are
    late, and is then to `reckoned-feasible`, else to `largest-feasible`, what knows each GPU.
    """

    reckons = breaks_circuits = True

    def __init__(self, name: str, config: EnvConfig, margin: float = 0.2) -> None:
        require(-16 <= margin <= 1, f"{name} margin", margin, "a share of the deadline, -16 to 1")
        self.name = name
        self.observation = read_in(config, PAIR_FEATURES)
        columns = pair_columns(replace(config.layout, names=self.observation))
        self.rule = PairRule(columns, utilities(config), Price(0.0), margins(config, margin))


def choose_pairs(rows: Observations, rule: PairRule) -> tuple[Actions, NDArray[np.float64]]:
    """`best_pair` of every row, shape (B, F) -> (B,), and the worths of all, (B, pairs)."""
    actions, worths = np.empty(len(rows), np.int64), np.empty((len(rows), rule.columns.pairs))
    best_pairs(rows, rule, worths, actions)
    return actions, worths
