"""A trained router of a run directory, checked against where it is to route."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from agents.base import Actions, Learned, Observations
from agents.columns import gpu_inputs, pair_columns, sustained_by_pair
from agents.compiled.policies import CompiledPolicy
from agents.compiled.rules import Limits, PairRule, Price
from agents.routers.build import compiled_router
from agents.routers.networks import GuardedNetwork, GuardedPairs, QNetwork, Router
from agents.routers.recurrent import AnyRouter, RecurrentNetwork, RecurrentRouter
from agents.runs.card import WEIGHTS, Card, read_card
from agents.runs.checkpoint import CheckpointError, load_weights, read_tensors
from agents.settings.sb3 import RecurrentSettings
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.actions import number_of_actions
from llmroute_env.dynamics.features import Layout
from llmroute_env.specs import ConfigError


class TrainedRouter(Learned):
    """What a training run yielded: an Agent."""

    def __init__(self, card: Card, network: Router) -> None:
        self.name = card.algorithm
        self.observation = card.settings.observation
        self.action = card.action
        self.card = card
        self.network = network
        values = network if isinstance(network, QNetwork) else network.network
        self.columns, self.actions = values.columns, values.actions

    def act(self, observations: Observations) -> Actions:
        """The action for every row of `observations`, shape (E, F) -> (E,)."""
        return self.network.greedy(observations)

    def compiled(self, config: EnvConfig) -> CompiledPolicy:
        """The router as compiled code that decides for `config` alike."""
        return compiled_router(self.network, config)


Trained = TrainedRouter | RecurrentRouter
"""What `load_agent` loads."""


def load_agent(directory: Path | str, config: EnvConfig | None = None) -> Trained:
    """The trained router of a run directory.

    `config` is where it is to route, checked against what it was trained for.

    Raises:
        CheckpointError: not a run directory, a file is missing or damaged, or the weights do not
            fit the run card or `config`.
    """
    directory = Path(directory)
    card = read_card(directory)
    if config is not None:
        check_fit(card, config)
    network = make_router(card, None if config is None else config.gpus)
    tensors = read_tensors(directory / WEIGHTS)
    make_room(network, tensors, config)
    load_weights(network, tensors, directory / WEIGHTS)
    if isinstance(network, RecurrentNetwork):
        return RecurrentRouter(network, card.algorithm, card.settings.observation, card.action)
    return TrainedRouter(card, network)


def memoryless(agent: Trained, way: str) -> TrainedRouter:
    """`agent`, which `way` asks for decisions by an observation alone.

    Raises:
        ConfigError: it remembers the observations before.
    """
    if isinstance(agent, RecurrentRouter):
        raise ConfigError(
            f"agent: got {agent.name!r}, which remembers the observations of its episode; accepted "
            f"by {way}: a router that decides by one observation, as all other learners train"
        )
    return agent


def make_router(card: Card, gpus: int | None = None) -> AnyRouter:
    """The router of `card`, before its weights are loaded; over pairs, for so many GPUs."""
    s, models = card.settings, len(card.models)
    if isinstance(s, RecurrentSettings):
        lstm = s.lstm_width, s.lstm_layers
        return RecurrentNetwork(card.columns, *lstm, s.hidden, card.actions)
    if not s.reads_gpus_alike:
        network = QNetwork(card.columns, s.hidden, card.actions, s.dueling, seed=0)
        order = list(range(models))
        return GuardedNetwork(network, 0.0, slack=0, rate=0, order=order) if s.guarded else network
    trained_for = card.actions // models
    classes = max(len(card.classes), 1)
    rest = Layout(s.observation, 0, trained_for, models, classes).width
    layout = Layout(s.observation, card.columns - rest, gpus or trained_for, models, classes)
    network = QNetwork(gpu_inputs(layout), s.hidden, models, s.dueling, 0, s.attention)
    utility = np.zeros((classes * layout.tasks, models))
    if not s.guarded:
        return network
    return GuardedPairs(network, PairRule(pair_columns(layout), utility, Price(0.0)), s.tries)


def make_room(router: AnyRouter, tensors: dict[str, Tensor], config: EnvConfig | None) -> None:
    """Let `router` have limits if `tensors` have; they are made those of the GPUs of `config`.

    Raises:
        CheckpointError: they name models that there are not.
    """
    if not isinstance(router, GuardedPairs) or not {"held_s", "least_slack"} & tensors.keys():
        return
    models = router.accuracy.shape[1]
    order = tensors.get("order", torch.zeros(0)).tolist()
    if sorted(order) != list(range(models)):
        raise CheckpointError(f"{WEIGHTS}: order: got {order}; accepted: 0 to {models - 1}, each")
    holds = "held_s" in tensors
    if holds and config is not None:
        tensors["per_s"] = torch.tensor(sustained_by_pair(config))
    per_s = np.zeros(router.columns.pairs if holds else 0)
    router.limit(Limits(float(holds), per_s, np.zeros(models, np.int64)))


def check_fit(card: Card, config: EnvConfig) -> None:
    """Raise a CheckpointError unless the router of `card` can route for `config`.

    A router over pairs that reads every GPU alike can do so for any number of them.
    """
    gpus, models = config.gpus, config.model_names
    if card.settings.reads_gpus_alike:
        gpus = card.actions // len(card.models)
    # Who reads GPUs alike never rejects or defers.
    more = () if card.settings.reads_gpus_alike else (config.reject, config.defer is not None)
    actions = number_of_actions(card.action, gpus, len(models), *more)
    if actions != card.actions or models != card.models:
        raise CheckpointError(
            f"models: got {models!r} and {actions} actions; "
            f"accepted by this router: {card.models!r} and {card.actions} actions"
        )
    if config.class_names != card.classes:
        raise CheckpointError(
            f"classes: got {config.class_names!r}; accepted by this router: {card.classes!r}"
        )
    if card.tasks and config.tasks != card.tasks:
        raise CheckpointError(
            f"tasks: got {config.tasks!r}; accepted by this router, in this order: {card.tasks!r}"
        )
    seen = replace(config.layout, names=card.settings.observation, gpus=gpus)
    if seen.width != card.columns:
        raise CheckpointError(
            f"observation: got {seen.width} columns of {card.settings.observation!r}; "
            f"accepted by this router: {card.columns}"
        )
