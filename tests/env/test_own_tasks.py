"""A profile's own tasks: as many as it has can be mixed."""

from dataclasses import replace

import numpy as np
import pytest

from llmroute_env import ConfigError, EnvConfig, profiles
from llmroute_env.simulation.simulation import Simulation
from traces import TaskMix
from traces.errors import InputError
from traces.tasks import AbruptMix, DriftingMix, PeriodicMix

OPT = profiles.load("opt-a100")
FIVE = replace(
    OPT,
    tasks=("a", "b", "c", "d", "e"),
    models=tuple(replace(m, accuracy=(*m.accuracy, 0.5)) for m in OPT.models),
)


def shares(config: EnvConfig) -> np.ndarray:
    task = Simulation(config).tape.task
    return np.bincount(task, minlength=len(config.tasks)) / len(task)


def test_the_default_mix_is_equal_over_the_profiles_tasks():
    np.testing.assert_allclose(shares(EnvConfig(profile=FIVE)), 0.2, atol=0.01)


def test_five_tasks_take_five_weights():
    weighed = EnvConfig(profile=FIVE, mix=TaskMix((1.0, 0.0, 0.0, 1.0, 2.0)))
    np.testing.assert_allclose(shares(weighed), [0.25, 0, 0, 0.25, 0.5], atol=0.01)


@pytest.mark.parametrize(
    "mix",
    [
        TaskMix((1.0, 1.0, 1.0)),
        PeriodicMix((1.0,) * 6, (2.0,) * 6, 5.0),
        DriftingMix((1.0,) * 4, (2.0,) * 4, 0.0, 5.0),
        AbruptMix(((1.0,) * 2, (2.0,) * 2), (5.0,)),
    ],
)
def test_another_number_of_weights_is_refused(mix):
    with pytest.raises(ConfigError, match=r"mix: got .* one weight per task of the profile, 5"):
        EnvConfig(profile=FIVE, mix=mix)


def test_mixes_of_unequal_length_are_refused():
    with pytest.raises(InputError, match=r"second: got .* accepted: 5 finite weights"):
        PeriodicMix((1.0,) * 5, (1.0,) * 4, 5.0)
    with pytest.raises(InputError, match=r"mixes\[1\]: got"):
        AbruptMix(((1.0,) * 5, (1.0,) * 4), (5.0,))
