"""The same functions compiled for a GPU: to its assembly without one, and run by a simulator.

Needs numba-cuda (the extra `cuda`), but no GPU.
"""

import os
import re
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from agents.compiled.making import largest_feasible
from agents.compiled.threads import Walk, scratch_for, walk_threads
from llmroute_env.cuda.memory import Host
from llmroute_env.cuda.simulation import DeviceSimulation, Setting
from llmroute_env.cuda.threads import check_threads, reset_threads, show_threads, step_threads
from llmroute_env.cuda.tiled import moved
from llmroute_env.dynamics.stepping import NEXT_STEP, SAME_STEP
from llmroute_env.scenarios import configure

pytestmark = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="numba-cuda is not installed (the extra `cuda`)"
)
ENVS = 40


def device(scenario: str = "unpredictable-1", **fields) -> DeviceSimulation:
    config = configure(scenario, window_s=0.4, **fields)
    # Both ways to begin the next episode are in one kernel: which one is a rule, read there.
    return DeviceSimulation(config, ENVS, Host(), Setting(SAME_STEP, completions=True))


def ptx_of_threads(simulation: DeviceSimulation, body, orders) -> str:
    from llmroute_env.cuda.kernels import ptx_of

    return ptx_of(body, (simulation.world, simulation._arguments[1], orders))


def check_ptx(ptx: str) -> None:
    """It is for compute capability 9.0, rounds as the CPU does, and is one kernel."""
    assert ".target sm_90" in ptx
    assert len(re.findall(r"\.visible \.entry", ptx)) == 1
    # A product and a sum without `.rn` may still become one operation later.
    assert not re.findall(r"\b(?:mul|add|sub)\.f64", ptx)
    # Records that say they are not aligned are read byte by byte: 8 such loads for a number.
    numbers, bytes_ = (len(re.findall(rf"\bld\.\S*{kind}\b", ptx)) for kind in ("[uf]64", "u8"))
    assert bytes_ < max(numbers / 8, 8)


@pytest.mark.parametrize("body", [check_threads, reset_threads, show_threads, step_threads])
def test_every_entry_point_compiles_to_assembly_without_a_gpu(body):
    simulation = device()
    check_ptx(ptx_of_threads(simulation, body, simulation._orders))


def test_a_heuristic_and_a_network_compile_to_assembly_too():
    simulation = device()
    policy = largest_feasible(simulation.config, 0.4)
    scratch, taken = scratch_for(policy, ENVS, Host()), np.zeros(ENVS, np.int64)
    walk = Walk(1, 0, simulation.answers, moved(policy, Host()), scratch, taken)
    check_ptx(ptx_of_threads(simulation, walk_threads, walk))


@pytest.mark.verify
@pytest.mark.parametrize("scenario", ["chat-and-code"])
def test_continuous_batching_compiles_too(scenario: str):
    simulation = device(scenario)
    check_ptx(ptx_of_threads(simulation, step_threads, simulation._orders))


SIMULATED = f"""
from llmroute_env.cuda.device import Simulated, current
from llmroute_env.scenarios import configure
from tests.cuda.same_envs import Both

memory = current()
assert isinstance(memory, Simulated)
for autoreset in ({SAME_STEP}, {NEXT_STEP}):
    both = Both(configure("unpredictable-1", window_s=0.1), {ENVS}, memory, autoreset)
    for _ in range(60):
        both.step()
        both.check_outputs()
        both.check_completions()
    both.check_states()
    assert both.ended > 0
print("the same")
"""


def test_kernels_in_the_simulator_do_what_the_cpu_does():
    environment = {
        **os.environ,
        "NUMBA_ENABLE_CUDASIM": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", SIMULATED], env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == "the same", done.stderr
