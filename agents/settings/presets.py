"""Named settings of the learners: what `llmroute train ALGORITHM` trains with."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from agents.base import ELSE
from agents.settings.own import DoubleDQNSettings, RolloutSettings
from agents.settings.parts import Settings
from agents.settings.sb3 import SB3_PRESETS
from llmroute_env.dynamics.features import DEFAULT_FEATURES, GPU_FEATURES, PAPER_FEATURES
from llmroute_env.scenarios import USUAL

GENERALIST = RolloutSettings(
    observation=(*GPU_FEATURES, "deadline", "grace"),
    decisions=300_000_000,
    follows="priced-pair",
    capacity=800_000,
    states_per_round=2048,
    batch_size=2048,
    cautions=(0.0, 0.05, 0.1, 0.2, 0.4),
    validation_episodes=8,
)
OF_WORLDS = [name for why in ("late", "fails", "comes back") for name in ELSE[GPU_FEATURES][why]]

OVER_MODELS = RolloutSettings(action="model", observation=DEFAULT_FEATURES, hidden=(64, 64))

PRESETS: dict[str, Settings] = {
    "rollout-pi": RolloutSettings(),
    "rollout-pi-model": replace(OVER_MODELS, horizon=1.25, decisions=200_000_000),
    "generalist": GENERALIST,
    "generalist-world": replace(
        GENERALIST,
        observation=(*GENERALIST.observation, *OF_WORLDS),
        hidden=(256, 128),
        cautions=(0.05, 0.1, 0.2, 0.4, 0.8),
        validation_window_s=30.0,
    ),
    "rollout-pi-tokens": RolloutSettings(tries=7, huber_delta=5.0),
    "rollout-pi-model-tokens": replace(OVER_MODELS, huber_delta=5.0, decisions=60_000_000),
    "ddqn": DoubleDQNSettings(),
    "ddqn-paper": DoubleDQNSettings(
        decisions=1_000_000,
        observation=("task", "batch", "short_rate"),
        batch_size=128,
        dueling=False,
        demonstrators=0.0,
        guarded=False,
        subtracts_peak=False,
        discount_per_decision=0.99,
        discount_rate_per_s=0.0,
        n_step=1,
        target_rate=1.0,
        target_period=200,
        average_rate=1.0,
        validations=12,
        validation_window_s=30.0,
    ),
    "ddqn-pairs": DoubleDQNSettings(
        action="gpu-model", observation=GPU_FEATURES, envs=64, batch_size=2048
    ),
    **SB3_PRESETS,
}
"""`ddqn-paper` is the recipe of Jha et al. (arXiv 2401.07886): Double DQN on eight numbers, the
one-hot task, the requests of each model and the arrival rate, with a hard target and nothing that
guides it. What the paper leaves open is ours, chosen for the paper's setting (docs/routers.md).
`ddqn` is the improved one, `ddqn-pairs` the same over (GPU, model) pairs.
`rollout-pi` is rollout policy iteration over pairs, `rollout-pi-model` over models only; with
`-tokens`, for continuous batching: an instance hosts one model, so that all of the few pairs are
tried, and a decision that slows an instance down beyond a deadline costs all that run there, so
that large errors count in full.
`generalist` is for the family `any` (families.py): one router for all loads, deadlines and numbers
of GPUs, which it reads; `generalist-world` for `any-world`, where signals are late and machines
fail: in more worlds with a larger network, chosen in whole episodes and with no small caution, for
what is best in quiet beginnings of episodes loses in busy ones."""

SCENARIO = {"generalist": "any", "generalist-world": "any-world"}
"""What an algorithm is trained on unless a scenario is named; all others on `unpredictable-1`."""


def usual_scenario(algorithm: str) -> str:
    """What `algorithm` is trained on unless a scenario is named."""
    return SCENARIO.get(algorithm, USUAL)


ALONE = DoubleDQNSettings(guarded=False)
ABLATIONS: dict[str, Settings] = {
    "ddqn-alone": ALONE,
    "ddqn-alone-constant-discount": replace(
        ALONE, discount_per_decision=0.99, discount_rate_per_s=0.0
    ),
    "ddqn-alone-reward-at-completion": replace(ALONE, credit="completion"),
    "ddqn-alone-reward-not-centred": replace(ALONE, subtracts_peak=False),
    "ddqn-alone-without-logarithms": replace(ALONE, observation=(*PAPER_FEATURES, "slack")),
    "ddqn-alone-without-slack": replace(
        ALONE, observation=tuple(f for f in DEFAULT_FEATURES if f != "slack"), demonstrators=0.0
    ),
    "ddqn-alone-1-step": replace(ALONE, n_step=1),
    "ddqn-alone-not-dueling": replace(ALONE, dueling=False),
    "ddqn-alone-not-shown": replace(ALONE, demonstrators=0.0),
    "ddqn-alone-online-weights": replace(ALONE, average_rate=1.0),
    "ddqn-alone-last-weights": replace(ALONE, validations=1),
    "ddqn-alone-hard-target": replace(ALONE, target_rate=1.0, target_period=200),
    "ddqn-alone-many-envs": replace(ALONE, envs=64, batch_size=2048),
}
"""`ddqn` without its guard, which would hide differences, and then without one thing more each:
discounts by seconds, reward for the decision that earned it, rewards less the peak, features that
do not saturate in overload, predicted slack (and so no demonstrations), returns of 32 steps, a
dueling network, demonstrations, averaged weights, the best weights on validation episodes rather
than the last, a soft target, few envs and so small batches and updates often."""


def student_of(settings: RolloutSettings) -> RolloutSettings:
    """What a student of routers with `settings` learns with: a network of the usual size.

    What its teachers say is to be had at once, without rollouts, so that they are asked about ten
    times as many states in a fifth of the decisions.
    """
    usual = RolloutSettings() if settings.action == "gpu-model" else OVER_MODELS
    return replace(
        settings,
        hidden=usual.hidden,
        decisions=8_000_000,
        skipped_decisions=20,
        capacity=usual.capacity,
        batch_size=usual.batch_size,
    )


SCALING: dict[str, Settings] = {
    "rollout-pi-quarter": RolloutSettings(decisions=10_000_000),
    "rollout-pi-fourfold": RolloutSettings(decisions=160_000_000),
    "rollout-pi-small": RolloutSettings(hidden=(32, 16)),
    "rollout-pi-large": RolloutSettings(hidden=(256, 128)),
    "rollout-pi-fourfold-large": RolloutSettings(
        decisions=160_000_000, hidden=(256, 128), batch_size=4096, capacity=1_600_000
    ),
}
"""`rollout-pi` with a quarter of its decisions, and so of its states, and with four times as many;
with smaller and larger layers; and with four times the decisions in the larger network, all states
remembered, in large batches."""


class Combination(NamedTuple):
    """A router made of trained ones: of so many trainings of `algorithm`, which differ in the seed.

    If it `is_taught` it is a student of theirs, else their ensemble.
    """

    algorithm: str
    members: int
    is_taught: bool = False


COMBINATIONS = {
    "rollout-pi-of-2": Combination("rollout-pi", 2),
    "rollout-pi-of-5": Combination("rollout-pi", 5),
    "rollout-pi-student": Combination("rollout-pi", 5, is_taught=True),
    "rollout-pi-fourfold-large-student": Combination(
        "rollout-pi-fourfold-large", 5, is_taught=True
    ),
}
"""What the suite `scaling` makes of what it has trained."""

SETTINGS = PRESETS | ABLATIONS | SCALING
"""All that can be trained by name."""
