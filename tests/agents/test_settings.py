"""Settings: every field stands once, bad values are named, and run cards keep their bytes."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace

import pytest

from agents.loading import SHIPPED
from agents.runs.card import CARD, plain, read_card
from agents.settings.checks import COUNTS, POSITIVE, RATES, SHARES
from agents.settings.order import ORDER
from agents.settings.own import DoubleDQNSettings, RolloutSettings
from agents.settings.parts import Settings
from agents.settings.presets import PRESETS, SETTINGS
from agents.settings.sb3 import OffPolicySettings, OnPolicySettings, RecurrentSettings
from llmroute_env.specs import ConfigError

KINDS = (
    DoubleDQNSettings,
    RolloutSettings,
    OffPolicySettings,
    OnPolicySettings,
    RecurrentSettings,
)
WRITTEN = {
    DoubleDQNSettings: "decisions action observation hidden dueling envs collect_steps "
    "warmup_decisions exploration_start exploration_end exploration_fraction demonstrators guarded "
    "cautions subtracts_peak credit discount_per_decision discount_rate_per_s n_step "
    "replay_capacity batch_size replay_ratio learning_rate learning_rate_end largest_gradient "
    "target_rate target_period average_rate validations validation_episodes validation_window_s "
    "stress",
    RolloutSettings: "decisions action observation hidden envs skipped_decisions tries follows "
    "horizon on_policy_share states_per_round capacity batch_size uses_per_state huber_delta "
    "learning_rate learning_rate_end average_rate cautions validations validation_episodes "
    "validation_window_s stress",
    OffPolicySettings: "decisions observation hidden envs collect_steps warmup_decisions "
    "exploration_start exploration_end exploration_fraction credit discount_per_decision "
    "discount_rate_per_s n_step reward_centre reward_scale replay_capacity batch_size replay_ratio "
    "learning_rate learning_rate_end largest_gradient target_rate target_period quantiles "
    "validations validation_episodes validation_window_s",
    OnPolicySettings: "decisions observation hidden envs collect_steps credit look_ahead_steps "
    "discount_per_decision discount_rate_per_s trace_decay reward_centre reward_scale "
    "entropy_weight value_weight learning_rate learning_rate_end largest_gradient batch_size uses "
    "clip_range validations validation_episodes validation_window_s",
    RecurrentSettings: "decisions observation lstm_width lstm_layers hidden envs collect_steps "
    "credit look_ahead_steps discount_per_decision discount_rate_per_s trace_decay reward_centre "
    "reward_scale entropy_weight value_weight learning_rate learning_rate_end largest_gradient "
    "batch_size uses clip_range validations validation_episodes validation_window_s",
}
"""The order in which run cards have always held them."""


@pytest.mark.parametrize("name", SETTINGS)
def test_cards_hold_settings_in_the_order_they_always_had(name: str) -> None:
    assert list(SETTINGS[name].to_json()) == WRITTEN[type(SETTINGS[name])].split()


@pytest.mark.parametrize("path", sorted(SHIPPED.glob(f"*/{CARD}")), ids=lambda p: p.parent.name)
def test_settings_of_shipped_cards_are_written_as_they_are(path) -> None:
    was = json.loads(path.read_text())["settings"]
    now = plain(read_card(path.parent).settings.to_json())
    # Some are older than some fields.
    assert json.dumps({n: v for n, v in now.items() if n in was}) == json.dumps(was)


def test_what_the_order_does_not_know_comes_last() -> None:
    assert {field.name for kind in KINDS for field in fields(kind)} == set(ORDER)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_explained_once(kind: type[Settings]) -> None:
    explained = [
        name
        for part in kind.__mro__[:-1]
        for name in re.findall(r"^        (\w+): ", part.__dict__["__doc__"], re.MULTILINE)
    ]
    assert sorted(explained) == sorted(field.name for field in fields(kind))


def bad_values() -> list[tuple[str, object]]:
    cases: list[tuple[str, object]] = [(name, 0) for name in (*COUNTS, *RATES, *POSITIVE)]
    cases += [(name, value) for name in SHARES for value in (-0.1, 1.1)]
    cases += [(name, 1.1) for name in RATES]
    cases += [("discount_rate_per_s", -1.0), ("stress", 0.5), ("credit", "luck")]
    return [*cases, ("cautions", ()), ("cautions", (-0.1,)), ("observation", ("task", "task"))]


@pytest.mark.parametrize("kind", KINDS)
def test_bad_values_are_named_wherever_the_field_is(kind: type[Settings]) -> None:
    names = {field.name for field in fields(kind)}
    tried = [(name, value) for name, value in bad_values() if name in names]
    assert len(tried) > 10
    for name, value in tried:
        with pytest.raises(ConfigError, match=rf"{name}: got {re.escape(repr(value))}; accepted: "):
            kind(**{name: value})  # type: ignore[call-arg]


def test_settings_answer_what_others_ask() -> None:
    answers = {
        name: (s.action, s.dueling, s.guarded, s.tries, s.reads_gpus_alike, s.learns_together)
        for name, s in PRESETS.items()
    }
    assert answers == {
        "rollout-pi": ("gpu-model", False, True, 3, True, True),
        "rollout-pi-model": ("model", False, True, 3, False, True),
        "generalist": ("gpu-model", False, True, 3, True, True),
        "generalist-world": ("gpu-model", False, True, 3, True, True),
        "rollout-pi-tokens": ("gpu-model", False, True, 7, True, True),
        "rollout-pi-model-tokens": ("model", False, True, 3, False, True),
        "ddqn": ("model", True, True, 0, False, False),
        "ddqn-paper": ("model", False, False, 0, False, False),
        "ddqn-pairs": ("gpu-model", True, True, 0, True, False),
        **dict.fromkeys(
            ("sb3-dqn", "qrdqn", "ppo", "a2c", "maskable-ppo", "recurrent-ppo"),
            (None, False, False, 0, False, False),
        ),
    }


def test_step_sizes_decline_linearly_and_stay_at_the_end() -> None:
    settings = DoubleDQNSettings(learning_rate=0.5, learning_rate_end=0.25)
    assert [settings.learning_rate_at(n, 100) for n in (0, 50, 100, 120)] == [
        0.5,
        0.375,
        0.25,
        0.25,
    ]


def test_settings_decide_fields_of_the_environment() -> None:
    assert set(PRESETS["ddqn"].env_fields) == {"observation", "action"}
    assert set(PRESETS["ppo"].env_fields) == {"observation"}
    assert replace(PRESETS["ddqn-pairs"], envs=2).env_fields["action"] == "gpu-model"
