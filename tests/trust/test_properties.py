"""What holds in every scenario, those added later included."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import t as student

from llmroute_env import EnvConfig, LLMRouteEnv, LLMRouteVectorEnv
from llmroute_env.dynamics.features import FEATURE_NAMES
from llmroute_env.dynamics.reward import REWARD_TERMS
from llmroute_env.dynamics.stepping import DISABLED
from llmroute_env.recording.recording import Recording, play
from llmroute_env.scenarios import configure
from llmroute_env.signal_specs import Signals
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.simulation.tape import workload_trace
from llmroute_env.specs import Deadline
from tests.scenario_windows import EVERY, WITH_TOKENS, window_s

# All tests of a scenario one after the other: its arrivals are built once.
pytestmark = pytest.mark.parametrize("scenario", EVERY, scope="module")
EPISODES = 16
FIXED = ("deadline", "grace")
OF_LATE_SIGNALS = ("age", "sent", "gpu_age", "gpu_sent")
OF_FAILURES = ("gpu_up", "gpu_leaving", "tries", "waited")
ELSEWHERE = FIXED + OF_LATE_SIGNALS + OF_FAILURES
EVERYTHING = tuple(name for name in FEATURE_NAMES if name not in ELSEWHERE)
"""All features that vary in every scenario; the deadline does so only between environments."""

WITHOUT_TOKENS = tuple(
    name
    for name in EVERYTHING
    if name not in ("prompt", "tpot", "kv", "prefill", "gpu_tpot", "gpu_kv", "gpu_prefill")
)


def random_play(config: EnvConfig, seed: int, steps: int | None = None) -> Recording:
    rng = np.random.default_rng(0)
    return play(config, seed, lambda _: rng.integers(config.actions, size=1), steps)


def begun(config: EnvConfig, seeds: np.ndarray) -> Simulation:
    simulation = Simulation(config, len(seeds), DISABLED, logs_completions=False)
    simulation.begin(seeds)
    return simulation


def random_rows(config: EnvConfig, episodes: int) -> np.ndarray:
    """All that is seen in so many of them, shape (N, F)."""
    rng = np.random.default_rng(0)
    simulation = begun(config, rng.integers(2**64, size=episodes, dtype="u8"))
    rows, out = [simulation.outputs.observations.copy()], simulation.outputs
    while not out.terminated.all():
        simulation.step(rng.integers(config.actions, size=episodes))
        rows.append(out.observations.copy())
    return np.concatenate(rows)


@pytest.fixture(scope="module")
def in_short(scenario: str) -> EnvConfig:
    """The scenario with ten minutes of its requests: other loads are other windows of the same."""
    config = configure(scenario)
    trace, _ = workload_trace(config)
    trace = trace if scenario in WITH_TOKENS else trace.slice(0.0, min(trace.span_s, 600.0))
    own = {"workload": trace, "split": "all", "lengths": {}, "window_s": window_s(scenario, 2.0)}
    return dataclasses.replace(config, **own)


def test_observations_stay_inside_their_space(scenario: str):
    env = LLMRouteEnv(scenario, window_s=window_s(scenario, 3.0), observation=FEATURE_NAMES)
    rows = random_rows(env.config, 3)
    # The lowest and the highest of every column; a NaN would be both.
    assert env.observation_space.contains(rows.min(axis=0))
    assert env.observation_space.contains(rows.max(axis=0))


def test_no_feature_is_constant(scenario: str):
    names = EVERYTHING if scenario in WITH_TOKENS else WITHOUT_TOKENS
    # What is seen late, and of GPUs that fail, may not change for longer than this lasts.
    known = {"signals": Signals(), "failures": None}
    config = configure(scenario, window_s=window_s(scenario, 3.0), observation=names, **known)
    rows = random_rows(config, 4)
    columns = np.repeat(names, [config.layout.columns(name) for name in names])
    assert len(columns) == rows.shape[1]
    constant = columns[rows.min(axis=0) == rows.max(axis=0)]
    # Some models are not hosted everywhere, or take too long there, some tasks have no requests.
    if scenario in WITH_TOKENS or len(config.pools) > 1:
        constant = [
            name for name in set(constant) if (constant == name).sum() == (columns == name).sum()
        ]
        constant = [name for name in constant if name not in ("task", "class")]
    assert list(constant) == []
    alike = dataclasses.replace(config, observation=FIXED, classes=(), class_mix={})
    rows = random_play(alike, 0, 2).observations
    deadline = config.deadline
    assert rows[:, 0] == pytest.approx(np.log(min(deadline.deadline_s, 8e6)))
    assert rows[:, 1] == pytest.approx(np.log1p(deadline.grace_s / deadline.deadline_s))


def test_a_seed_is_a_trajectory(scenario: str):
    config = configure(scenario)
    one, same, other = (random_play(config, seed, 500) for seed in (1, 1, 2))
    assert one.sha256 == same.sha256
    assert one.sha256 != other.sha256
    assert not np.array_equal(one.elapsed_s[:20], other.elapsed_s[:20])


def test_starts_vary_with_the_seed(scenario: str):
    env = LLMRouteVectorEnv(32, scenario)
    observations, _ = env.reset(seed=0)
    starts_s = env.simulation.state.envs["tape_start_s"].copy()
    assert len(np.unique(starts_s)) == 32
    assert starts_s.std() > 0.2 * env.simulation.trace.span_s / 12**0.5
    assert len(np.unique(observations, axis=0)) >= 2, "the first request's task"
    env.reset()
    assert not np.array_equal(env.simulation.state.envs["tape_start_s"], starts_s)


def test_observations_share_no_memory(scenario: str):
    env = LLMRouteEnv(scenario, completions=True)
    seen = [env.reset(seed=0)[0], *(env.step(0)[0] for _ in range(3)), env.reset()[0]]
    kept = [observation.copy() for observation in seen]
    pairs = [(i, j) for i in range(5) for j in range(i)]
    assert not any(np.shares_memory(seen[i], seen[j]) for i, j in pairs)
    for observation, before in zip(seen, kept, strict=True):
        np.testing.assert_array_equal(observation, before)
        observation[:] = -1.0
    assert (env.step(0)[0] != -1.0).any()


def test_rewards_are_the_sum_of_their_terms_and_requests_are_conserved(scenario: str):
    env = LLMRouteEnv(scenario, completions=True, window_s=window_s(scenario, 3.0))
    rng, over, total = np.random.default_rng(1), False, 0
    env.reset(seed=3)
    counts = env.simulation.state.envs[0]
    while not over:
        _, reward, over, _, info = env.step(rng.integers(env.action_space.n))
        assert sum(info[term] for term in REWARD_TERMS) == reward
        paid = sum(completion.utility for completion in info["completions"])
        assert paid == pytest.approx(reward, abs=1e-12)
        total += 1
        ended = ("in_time", "late", "rejected", "shed", "aborted", "lost")
        somewhere = sum(int(counts[name]) for name in (*ended, "waiting", "running", "away"))
        # One that has come back may be the pending one.
        again = int(counts["routed"]) - somewhere
        assert again in ((0, 1) if env.config.comes_back and not over else (0,))
    assert total == counts["routed"] + counts["deferred"] + counts["retried"]
    assert counts["waiting"] == counts["running"] == counts["away"] == 0
    assert info["summary"]["requests"] == counts["routed"]


Summaries = dict[str, list[np.ndarray]]
"""Entries of summaries: for the first and the last model, one number for each episode."""


def single_models(config: EnvConfig) -> Summaries:
    """Of EPISODES episodes that use the first model only, and of the same with the last."""
    seeds = np.random.default_rng(0).integers(2**64, size=EPISODES, dtype="u8")
    simulation = begun(config, np.tile(seeds, 2))
    actions = np.repeat([0, len(config.models) - 1], EPISODES)
    while not simulation.outputs.terminated.all():
        simulation.step(actions)
    told = [simulation.summary(e) for e in range(2 * EPISODES)]
    return {
        name: np.split(np.array([summary[name] for summary in told]), 2)
        for name in ("utility_of_peak", "deadline_met")
    }


@pytest.fixture(scope="module")
def usual(in_short: EnvConfig) -> Summaries:
    return single_models(in_short)


def rises(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether the paired mean rises by more than its 99.9 % interval."""
    change = after - before
    half_width = student.ppf(0.9995, len(change) - 1) * change.std(ddof=1) / len(change) ** 0.5
    return bool(change.mean() > half_width + 1e-12)


def scaled(config: EnvConfig, factor: float) -> EnvConfig:
    low, high = config.load_range
    load = (factor * low, factor * high) if isinstance(config.load, tuple) else factor * low
    return dataclasses.replace(config, load=load)


def test_more_load_does_not_raise_the_utility_of_a_single_model(
    scenario: str, in_short: EnvConfig, usual: Summaries
):
    factors = 0.1, 0.5, 4.0 if scenario in WITH_TOKENS else 2.0
    calmest, calm, busy = (
        single_models(scaled(in_short, factor))["utility_of_peak"] for factor in factors
    )
    for model, same in enumerate(usual["utility_of_peak"]):
        assert not rises(calm[model], same)
        assert not rises(same, busy[model])
    assert busy[1].mean() < 0.9 * calmest[1].mean(), "a load at which it matters"


def longer(deadline: Deadline, factor: float) -> Deadline:
    names = ("deadline_s", "ttft_s", "tpot_s")
    return dataclasses.replace(deadline, **{n: factor * getattr(deadline, n) for n in names})


def with_deadline(config: EnvConfig, factor: float) -> EnvConfig:
    """Another deadline; the arrivals and the batch limits stay as they are."""
    limits = {model.name: config.batch_limit(model) for model in config.models}
    classes = tuple(
        dataclasses.replace(
            users,
            deadline=users.deadline and longer(users.deadline, factor),
            task_deadlines={k: longer(d, factor) for k, d in users.task_deadlines.items()},
        )
        for users in config.classes
    )
    deadline = longer(config.deadline, factor)
    other = dataclasses.replace(config, deadline=deadline, max_batch=limits, classes=classes)
    return scaled(other, config.load_1_per_s / other.load_1_per_s)


def test_a_longer_deadline_does_not_lower_the_share_in_time(in_short: EnvConfig, usual: Summaries):
    tight, loose = (
        single_models(with_deadline(in_short, factor))["deadline_met"] for factor in (0.02, 2.0)
    )
    for model, same in enumerate(usual["deadline_met"]):
        assert not rises(same, tight[model])
        assert not rises(loose[model], same)
        assert tight[model].mean() < 0.9 * loose[model].mean(), "a deadline at which it matters"


def test_the_future_and_unseen_fields_change_nothing_in_the_observation(scenario: str):
    config = configure(scenario)
    trace, _ = workload_trace(config)
    trace = trace.slice(0.0, float(trace.arrival_s[400]))
    now = 300

    def observed(**changes: np.ndarray) -> np.ndarray:
        changed = dataclasses.replace(trace, **changes)
        own = {"workload": changed, "load": None, "split": "all", "window_s": np.inf, "lengths": {}}
        # A request that comes back takes several decisions, so that the later ones come later.
        steps = None if config.comes_back else now + 50
        return random_play(dataclasses.replace(config, **own), 0, steps).observations

    plain = observed()
    task, arrival_s = trace.task.copy(), trace.arrival_s.copy()
    task[now + 1 :] = (task[now + 1 :] + 1) % len(trace.tasks)
    arrival_s[now + 1 :] = (arrival_s[now + 1 :] + trace.span_s) / 2
    future = {"arrival_s": arrival_s}
    if scenario in WITH_TOKENS:
        # Within each task: its mean lengths are known, as from experience.
        tokens = {name: getattr(trace, name).copy() for name in ("prompt_tokens", "output_tokens")}
        for number in range(len(trace.tasks)):
            rows = np.flatnonzero((trace.task == number) & (np.arange(len(trace)) > now))
            for name in tokens:
                tokens[name][rows] = np.roll(tokens[name][rows], 1)
        changed = (future, tokens)
    else:
        tokens = {"prompt_tokens": trace.prompt_tokens[::-1] + 1, "output_tokens": trace.task + 1}
        np.testing.assert_array_equal(observed(**tokens), plain)
        changed = (future, {"task": task})
    for changes in changed:
        other = observed(**changes)
        np.testing.assert_array_equal(other[: now + 1], plain[: now + 1])
        # Where requests come back, or are turned away, it may be a later one that shows it.
        assert not np.array_equal(other[now + 1 :], plain[now + 1 :])
