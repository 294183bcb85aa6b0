"""Who tries actions in sampled futures: sees nothing that is to come, and is worth something."""

import numpy as np
import pytest

from agents.heuristics.lookahead import FUTURES, Foresight, Hindsight
from agents.heuristics.past import Past
from agents.heuristics.table import make
from benchmarks.evaluation.runner import evaluate
from llmroute_env.failure_specs import ExponentialTimes, Failures
from llmroute_env.scenarios import configure
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import ConfigError, Defer

CONFIG = configure("tokens-mixed-gpus", window_s=20.0)
RULE, MARGIN = "largest-feasible", 0.5
DECISIONS = 60


def looking(kind):
    """A router that looks ahead from the middle of an episode, and where that is on its tape."""
    simulation = Simulation(CONFIG, 1)
    simulation.begin(np.array([3], np.uint64))
    for _ in range(DECISIONS):
        simulation.step(np.zeros(1, np.int64))
    router = kind("ahead", CONFIG, MARGIN, follows=RULE, horizon_s=4.0)
    router.attach(simulation)
    router.spare.state.copy_env(0, simulation.state, 0)
    env = simulation.state.envs[0]
    return router, simulation.tape, int(env["first"] + env["request"])


def valued(router, tape):
    """What was earned by each action, summed over the futures, with the same draws every time."""
    router.begin(1, np.random.default_rng(5))
    router.spare.state.copy_env(0, router.real.state, 0)
    total, earned = np.zeros_like(router.values), router.earned

    def noting(future):
        nonlocal total
        total = total + earned(future)
        return router.values

    router.earned = noting
    router.choose()
    del router.earned
    return total.tolist()


@pytest.mark.parametrize(("kind", "sees"), [(Foresight, False), (Hindsight, True)])
def test_what_is_to_come_is_seen_by_who_knows_it_alone(kind, sees):
    router, tape, pending = looking(kind)
    before = valued(router, tape)
    # A later length of the pending answer is not known either.
    later = {"arrival_s": pending + 1, "output_tokens": pending}
    kept = {name: getattr(tape, name).copy() for name in later}
    for name, start in later.items():
        column = getattr(tape, name)
        column[start:] = column[start:] + (2 if name == "arrival_s" else 150)
    assert (valued(router, tape) != before) is sees
    for name, column in kept.items():
        getattr(tape, name)[:] = column
    assert valued(router, tape) == before


def test_the_prompt_at_hand_is_known():
    router, tape, pending = looking(Foresight)
    before = valued(router, tape)
    tape.prompt_tokens[pending] += 4000
    assert valued(router, tape) != before
    tape.prompt_tokens[pending] -= 4000


def test_answers_are_as_long_as_those_of_the_same_task():
    past = Past(CONFIG, 4.0)
    env = Simulation(CONFIG, 1).state.envs[0]
    for task in np.unique(past.tape.task):
        env["task"], env["slow_rate_per_s"], env["fast_rate_per_s"] = task, 5.0, 5.0
        futures = past.futures(env, past.tape, np.random.default_rng(0), 200)
        lengths = np.array([future.output_tokens[0] for future in futures])
        known = past.tape.output_tokens[past.tape.task == task]
        assert set(lengths) <= set(known)
        assert lengths.mean() == pytest.approx(known.mean(), rel=0.3)
        assert all(future.task[0] == task for future in futures)


def test_it_gains_much_where_a_rule_misjudges_what_gpus_can_do():
    config = configure("tokens-mixed-gpus", split="test", window_s=30.0)
    rule = evaluate(make(RULE, config, MARGIN), config, 2, 0)
    router = Foresight("foresight", config, MARGIN, follows=RULE, horizon_s=4.0)
    found = evaluate(router, config, 2, 0)
    gain = found.values("utility_of_peak") - rule.values("utility_of_peak")
    assert gain.mean() > 0.03


@pytest.mark.parametrize(
    "fields", [{"defer": Defer(0.1, 2)}, {"failures": Failures(*[ExponentialTimes(9.0)] * 2)}]
)
def test_requests_that_come_back_are_refused(fields):
    config = configure("tokens-mixed-gpus", **fields)
    router = Foresight("foresight", config, MARGIN, follows=RULE)
    with pytest.raises(ConfigError, match=f"foresight {next(iter(fields))}: got .*accepted: None"):
        router.attach(Simulation(config, 1))


def test_there_are_as_many_futures_as_said():
    router, _, _ = looking(Foresight)
    tried = []
    router.earned = lambda tape: tried.append(tape) or router.values
    router.begin(1, np.random.default_rng(0))
    router.choose()
    assert len(tried) == FUTURES
    assert len({tape.arrival_s[-1] for tape in tried}) > 1
