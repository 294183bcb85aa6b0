"""PufferLib's emulation: one environment, a series and processes.

PufferLib 2.0.2 is the last that comes as a wheel. It asks for `gym`, which has none, only for its
spaces: gymnasium stands for it here.
"""

import sys
from importlib.util import find_spec
from typing import Any

import gymnasium
import numpy as np
import pytest

from .needs import needs

needs("psutil")
if find_spec("pufferlib"):
    sys.modules.setdefault("gym", gymnasium)
needs("pufferlib")

from pufferlib import vector
from pufferlib.emulation import GymnasiumPufferEnv

ID = "llmroute_env:LLMRoute-v0"
SHORT = {"scenario": "overload", "window_s": 0.05}


def emulated() -> GymnasiumPufferEnv:
    return GymnasiumPufferEnv(env_creator=gymnasium.make, env_args=[ID], env_kwargs=SHORT)


def test_an_emulated_episode_is_the_episode():
    env, plain = emulated(), gymnasium.make(ID, **SHORT)
    np.testing.assert_array_equal(env.reset(seed=3)[0], plain.reset(seed=3)[0])
    over = False
    while not over:
        seen, reward, over, _, info = env.step(np.array([1]))
        theirs = plain.step(1)
        np.testing.assert_array_equal(seen, theirs[0])
        assert (reward, over) == (theirs[1], theirs[2])
    assert info["summary"] == theirs[4]["summary"]


@pytest.mark.parametrize(
    ("backend", "told"), [(vector.Serial, {}), (vector.Multiprocessing, {"num_workers": 2})]
)
def test_vectors(backend: type, told: dict[str, Any]):
    envs = vector.make(emulated, num_envs=2, backend=backend, **told)
    seen, _ = envs.reset(seed=0)
    assert seen.shape == (2, 16)
    ended, summaries = 0, []
    for _ in range(200):
        seen, _, terminated, _, infos = envs.step(np.zeros(2, np.int64))
        ended += int(terminated.sum())
        summaries += [info["summary"] for info in infos if "summary" in info]
    envs.close()
    assert np.isfinite(seen).all()
    assert ended == len(summaries) >= 2
