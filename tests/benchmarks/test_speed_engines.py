"""The speed of continuous batching: what is measured is what is said."""

import pytest

from benchmarks.speed.engines import (
    DEFAULT,
    hour,
    measure_engines,
    of_instances,
    of_running,
    walker,
)
from benchmarks.speed.rates import Effort
from llmroute_env import ConfigError
from llmroute_env.dynamics.features import DEFAULT_FEATURES
from llmroute_env.scenarios import configure
from llmroute_env.simulation.simulation import Simulation


def test_leaping_and_stepping_route_the_same_requests():
    config = configure(DEFAULT, observation=DEFAULT_FEATURES, window_s=10.0)
    assert walker(config, 2)() == walker(config, 2, most_leap=1)() > 100


def test_the_hour_has_all_conversations_at_their_own_rate():
    trace = Simulation(hour()).trace
    assert len(trace) == 19_366
    assert trace.span_s == pytest.approx(3501.9, rel=1e-4)


def test_instances_have_as_much_to_do_and_running_ones_are_as_many_as_said():
    one, many = (of_instances(count) for count in (1, 16))
    assert many.load_1_per_s == pytest.approx(16 * one.load_1_per_s)
    simulation = Simulation(of_running(10))
    simulation.begin(simulation.state.envs["rng"])
    most = 0
    while not simulation.outputs.terminated[0]:
        simulation.step(simulation.state.envs["busy_gpus"] * 0)
        most = max(most, int(simulation.state.gpus["running"][0, 0]))
    assert most == 10


def test_static_batching_takes_no_steps():
    with pytest.raises(ConfigError, match="service: got 'static'; accepted: continuous"):
        measure_engines(Effort(1, 0.01), "stable")
