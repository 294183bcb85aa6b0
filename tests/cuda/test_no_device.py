"""A device that is not there is refused with what to do."""

import subprocess
import sys
from functools import cache
from importlib.util import find_spec

import gymnasium
import pytest

import llmroute_env  # noqa: F401 - registers the ids
from llmroute_env import ConfigError


@cache
def has_device() -> bool:
    """Whether there is a CUDA device; asked in a process of its own."""
    program = "from numba import cuda; print(cuda.is_available())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    return done.stdout.strip() == "True"


def skip_with_a_device() -> None:
    """Skip what is about machines without one; asked when it runs, not when it is collected."""
    if has_device():
        pytest.skip("there is a CUDA device")


def test_a_device_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="device: got 'tpu'; accepted: cpu, cuda"):
        gymnasium.make_vec("LLMRoute-v0", num_envs=2, device="tpu")


def test_the_cpu_is_what_there_is_without_a_word():
    named = gymnasium.make_vec("LLMRoute-v0", num_envs=2, device="cpu")
    assert type(named) is type(gymnasium.make_vec("LLMRoute-v0", num_envs=2))


def test_without_a_gpu_or_its_compiler_the_refusal_says_what_is_missing():
    skip_with_a_device()
    installed = find_spec("numba_cuda") is not None
    accepted = (
        "'cpu', as no CUDA device" if installed else r"after `pip install 'llmroute\[cuda\]'`"
    )
    with pytest.raises(ConfigError, match=f"device: got 'cuda'; accepted: {accepted}"):
        gymnasium.make_vec("LLMRoute-v0", num_envs=2, device="cuda")
