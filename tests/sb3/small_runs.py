"""Small training runs that the tests share."""

from dataclasses import replace
from pathlib import Path

from agents.runs.plan import Plan
from agents.settings.presets import PRESETS
from agents.settings.sb3 import OffPolicySettings, RecurrentSettings

ALGORITHMS = ("sb3-dqn", "qrdqn", "ppo", "a2c", "maskable-ppo", "recurrent-ppo")
MEMORYLESS = ALGORITHMS[:-1]
CROWDED = {"load": 8.0, "window_s": 1.0}


def small_plan(directory: Path, algorithm: str, decisions: int = 4096, **changes) -> Plan:
    """A run of seconds on a cluster that only the smallest model can save."""
    settings = PRESETS[algorithm]
    small = {"hidden": (32,), "envs": 32, "validations": 2, "validation_episodes": 8}
    # Pinned, so that tuning the presets changes no test.
    small |= {"learning_rate": 1e-3, "discount_rate_per_s": 2.0}
    if isinstance(settings, OffPolicySettings):
        small |= {"warmup_decisions": 1024, "batch_size": 256, "target_period": 512, "n_step": 4}
        small |= {"reward_scale": 1.0}
    else:
        small |= {"collect_steps": 64, "batch_size": 512, "uses": 2, "look_ahead_steps": 16}
    if isinstance(settings, RecurrentSettings):
        small |= {"lstm_width": 16}
    small |= {key: value for key, value in changes.items() if key != "fields"}
    fields = changes.get("fields", CROWDED)
    return Plan(
        directory=directory,
        scenario="stable",
        fields=fields,
        decisions=decisions,
        algorithm=algorithm,
        settings=replace(settings, **small),
        checkpoint_decisions=2048,
    )
