"""Where the tasks of a user's own trace come from."""

from dataclasses import replace

import numpy as np

from llmroute_env.config import EnvConfig
from llmroute_env.simulation.simulation import Simulation
from traces import catalog
from traces.tasks import TaskMix

WITHOUT = catalog.load("azure-code")
CONFIG = EnvConfig(workload=WITHOUT, load=None, split="all", mix=TaskMix((1.0, 1.0, 2.0, 0.0)))


def shares(config: EnvConfig) -> np.ndarray:
    tape = Simulation(config).tape
    return np.bincount(tape.task, minlength=len(config.tasks)) / len(tape.task)


def test_a_trace_that_tells_none_has_those_of_the_mix():
    assert not WITHOUT.has_tasks
    np.testing.assert_allclose(shares(CONFIG), [0.25, 0.25, 0.5, 0.0], atol=0.02)
    np.testing.assert_allclose(shares(replace(CONFIG, mix=TaskMix())), np.full(4, 0.25), atol=0.02)


def test_they_are_drawn_as_the_document_says():
    _, generator = np.random.default_rng(CONFIG.workload_seed).spawn(2)
    expected = generator.choice(4, len(WITHOUT), p=[0.25, 0.25, 0.5, 0.0])
    np.testing.assert_array_equal(Simulation(CONFIG).tape.task, expected)
    test = Simulation(replace(CONFIG, split="test")).tape.task
    np.testing.assert_array_equal(test, expected[-len(test) :])


def test_they_do_not_move_the_arrivals_and_are_the_same_every_time():
    first, second = Simulation(CONFIG), Simulation(CONFIG)
    np.testing.assert_array_equal(first.tape.arrival_s, WITHOUT.arrival_s)
    np.testing.assert_array_equal(first.tape.task, second.tape.task)
    other = Simulation(replace(CONFIG, workload_seed=1))
    assert (first.tape.task != other.tape.task).any()


def test_a_trace_that_tells_them_keeps_its_own():
    told = replace(WITHOUT, task=np.full(len(WITHOUT), 3, np.int16), has_tasks=True)
    assert shares(replace(CONFIG, workload=told)).tolist() == [0.0, 0.0, 0.0, 1.0]
