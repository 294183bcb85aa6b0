"""Continuous batching as an environment: what its users rely on, beside the differential tests."""

import dataclasses
import math
import re
from itertools import pairwise
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from agents.compiled.making import largest_feasible
from agents.compiled.policies import episode_scores
from agents.heuristics.table import make
from benchmarks.evaluation.runner import evaluate
from llmroute_env import EnvConfig
from llmroute_env.engine_specs import Engine, Line, StepTimes, Surface
from llmroute_env.recording.recording import first_difference, play
from llmroute_env.recording.run_card import card_of, read_card, replay, write_card
from llmroute_env.recording.serialization import from_plain, to_plain
from llmroute_env.recording.timeline import timeline
from llmroute_env.simulation.episodes import episode_seeds
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import ConfigError, Deadline, Pool, RequestClass
from tests.env.small_engines import PROFILE, small_engines, step_times
from traces.lengths import FixedLengths, LognormalLengths
from traces.trace import Provenance, Trace
from traces.workloads import TaskReplay

CONFIG = small_engines()
OVERLOAD = small_engines(load=6.0, window_s=6.0, deadline=Deadline(5.0, patience_s=4.0))


def fields_of(config: EnvConfig) -> dict[str, object]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


def trace_of(*requests: tuple[float, int, int]) -> Trace:
    arrival_s, prompt, output = map(np.array, zip(*requests, strict=True))
    tokens = prompt.astype(np.int32), output.astype(np.int32)
    task = np.zeros(len(requests), np.int16)
    about = Provenance("by hand")
    return Trace(arrival_s.astype(float), task, *tokens, 1000.0, about, ("chat", "code"))


def by_hand(*requests: tuple[float, int, int], **changes: object) -> Simulation:
    replayed = {"load": None, "split": "all", "window_s": math.inf, "lengths": {}}
    one = {"pools": (Pool(1, ("middle",)),), "workload": trace_of(*requests)}
    return Simulation(small_engines(**(replayed | one | changes)))


def play_out(simulation: Simulation) -> tuple[np.ndarray, np.ndarray]:
    """All completions and their tokens, in order of the requests."""
    simulation.begin(np.zeros(len(simulation.state.envs), np.uint64))
    records, tokens = [], []
    while not simulation.state.envs["over"].all():
        simulation.step(np.zeros(len(simulation.state.envs), np.int64))
        records.append(simulation.completions.copy())
        tokens.append(simulation.completion_tokens.copy())
    found, lengths = np.concatenate(records), np.concatenate(tokens)
    order = np.argsort(found["decision"])
    return found[order], lengths[order]


def test_one_request_as_worked_out_by_hand():
    """A prompt of 32 tokens in one step, then three steps of one token each."""
    found, tokens = play_out(by_hand((1.0, 32, 4)))
    host_s, head_s, linear_1_s = 5e-4, 2e-4, 0.005
    linear_32_s = 0.005 + 0.0005 * 31 / 63
    chunk_s = 1e-4 + 4e-4 * (32 - 16) / (512 - 16)
    first_s = host_s + linear_1_s + 1.15 * (linear_32_s - linear_1_s + chunk_s) + head_s
    decode_s = host_s + linear_1_s + 1e-4 + head_s
    assert tokens["first_token_s"][0] == pytest.approx(1.0 + first_s, abs=3e-9)
    assert found["finish_s"][0] == pytest.approx(1.0 + first_s + 3 * decode_s, abs=3e-9)
    assert (tokens["prompt_tokens"][0], tokens["output_tokens"][0]) == (32, 4)


def test_a_second_request_joins_at_the_end_of_a_step():
    alone, _ = play_out(by_hand((1.0, 32, 40)))
    found, tokens = play_out(by_hand((1.0, 32, 40), (1.03, 32, 2)))
    # It starts within a step of the first, which its prompt makes later.
    assert 1.03 < found["start_s"][1] < 1.03 + 0.0058
    assert found["finish_s"][0] > alone["finish_s"][0]
    assert tokens["first_token_s"][1] < found["finish_s"][0]


@pytest.mark.parametrize(("answer", "kept"), [(30, 2), (40, 1), (60, 0)])
def test_a_preempted_request_finds_the_blocks_again_that_nobody_took(answer: int, kept: int):
    """Every token takes a millisecond; the first needs the second one's blocks, last one first."""
    none = Surface((1,), (16,), ((0.0,),))
    per_token = StepTimes(Line((1, 512), (0.001, 0.512)), none, none, Line((1,), (0.0,)))
    models = [dataclasses.replace(m, step_times={"card": per_token}) for m in PROFILE.models]
    ends_s = []
    for caching in (False, True):
        engine = Engine(kv_blocks={"middle": 6}, prefix_caching=caching)
        profile = dataclasses.replace(PROFILE, models=tuple(models))
        requests = (0.0, 30, answer), (0.001, 30, 30)
        found, tokens = play_out(by_hand(*requests, profile=profile, engine=engine))
        assert tokens["preemptions"].tolist() == [0, 1]
        ends_s.append(found["finish_s"][1])
    assert ends_s[0] - ends_s[1] == pytest.approx(16e-3 * kept, abs=3e-9)


def test_nothing_is_lost_and_all_are_counted():
    simulation = Simulation(OVERLOAD, 4)
    simulation.begin(np.arange(4, dtype=np.uint64))
    rng, ended = np.random.default_rng(0), 0
    while not simulation.state.envs["over"].all():
        simulation.step(rng.integers(3, size=4))
        envs, gpus = simulation.state.envs, simulation.state.gpus
        for name in ("running", "waiting"):
            assert (gpus[name].sum(axis=1) == envs[name]).all()
        gone = sum(envs[name] for name in ("in_time", "late", "rejected", "aborted"))
        assert (gone + envs["running"] + envs["waiting"] == envs["routed"]).all()
        ended += len(simulation.completions)
    assert ended == envs["routed"].sum() > 500
    assert envs["aborted"].sum() > 20
    assert not simulation.state.service.instances["decoding"].any()
    blocks = simulation.cluster.service.engines["blocks"][simulation.cluster.pool_of]
    assert (simulation.state.service.instances["free_blocks"] == blocks).all()


def test_it_is_an_environment_single_and_in_vectors():
    one = gymnasium.make("LLMRoute-v0", **fields_of(CONFIG))
    check_env(one.unwrapped, skip_render_check=True)
    many = gymnasium.make_vec("LLMRoute-v0", 2, **fields_of(CONFIG))
    first, _ = one.reset(seed=7)
    rows, _ = many.reset(seed=[7, 8])
    np.testing.assert_array_equal(first, rows[0])
    for action in (0, 1, 2, 2, 2, 1) * 10:
        first, reward, *_ = one.step(action)
        rows, rewards, *_ = many.step(np.array([action, 0]))
        np.testing.assert_array_equal(first, rows[0])
        assert reward == rewards[0]


def test_pictures_show_it():
    env = gymnasium.make("LLMRoute-v0", render_mode="ansi", **fields_of(CONFIG))
    env.reset(seed=0)
    for _ in range(5):
        env.step(2)
    assert re.search(r"large x [1-5]", env.render())
    picture = gymnasium.make("LLMRoute-v0", render_mode="rgb_array", **fields_of(OVERLOAD))
    picture.reset(seed=0)
    blank = picture.render()
    for _ in range(200):
        picture.step(2)
    assert (picture.render() != blank).any()


@pytest.mark.parametrize("most", [1, 3])
def test_leaps_change_nothing_but_the_cost(most: int):
    leaping, stepping = Simulation(OVERLOAD), Simulation(OVERLOAD)
    stepping.cluster.service.engines["most_leap"] = most
    for each in (leaping, stepping):
        each.begin(np.ones(1, np.uint64))
    rng = np.random.default_rng(0)
    while not leaping.state.envs["over"][0]:
        action = rng.integers(3, size=1)
        for each in (leaping, stepping):
            each.step(action)
        np.testing.assert_array_equal(leaping.completions, stepping.completions)
        np.testing.assert_array_equal(leaping.completion_tokens, stepping.completion_tokens)
        ours, theirs = leaping.outputs.observations, stepping.outputs.observations
        np.testing.assert_array_equal(ours, theirs)


def test_a_snapshot_continues_identically():
    simulation, other = Simulation(OVERLOAD), Simulation(OVERLOAD)
    simulation.begin(np.ones(1, np.uint64))
    for _ in range(150):
        simulation.step(np.array([2]))
    other.restore(simulation.snapshot())
    for step in range(150):
        for each in (simulation, other):
            each.step(np.array([step % 3]))
        np.testing.assert_array_equal(simulation.completions, other.completions)
        np.testing.assert_array_equal(simulation.outputs.observations, other.outputs.observations)


@pytest.mark.parametrize("name", ["largest-feasible", "priced-pair", "least-ttft", "power-of-two"])
def test_heuristics_route_on_it(name: str):
    config = small_engines(load=2.0)
    scores = evaluate(make(name, config), config, 2, 1).values("utility_of_peak")
    assert 0.3 < scores.mean() <= 1.1


def test_heuristics_decide_the_same_compiled_or_not():
    config = small_engines(observation=EnvConfig().observation, load=2.0)
    found = evaluate(make("largest-feasible", config, 0.2), config, 2, 1)
    compiled_scores = episode_scores(largest_feasible(config, 0.2), config, episode_seeds(1, 2))
    np.testing.assert_array_equal(found.values("utility_of_peak"), compiled_scores)


def test_the_router_knows_nothing_of_the_length_of_the_answer():
    """The same requests with other answers: all alike until the first could have been noticed."""
    short, long = (by_hand((1.0, 50, n), (1.001, 60, n)) for n in (30, 60))
    for simulation in (short, long):
        simulation.begin(np.zeros(1, np.uint64))
        simulation.step(np.array([0]))
    np.testing.assert_array_equal(*(s.outputs.observations[:, 1:] for s in (short, long)))


@pytest.mark.parametrize(
    ("limit", "due"),
    [
        ("deadline_s", lambda found, tokens: found["finish_s"] - found["arrival_s"]),
        ("ttft_s", lambda found, tokens: tokens["first_token_s"] - found["arrival_s"]),
        (
            "tpot_s",
            lambda found, tokens: (
                (found["finish_s"] - tokens["first_token_s"]) / (tokens["output_tokens"] - 1)
            ),
        ),
    ],
)
def test_each_deadline_decides_who_is_late(limit: str, due):
    requests = [(0.05 * k, 100 + 40 * k, 3 + 2 * k) for k in range(40)]
    found, tokens = play_out(by_hand(*requests, deadline=Deadline(math.inf)))
    median_s = float(np.median(due(found, tokens)))
    assert (found["outcome"] == 0).all()
    limits = {"deadline_s": math.inf, limit: median_s}
    found, tokens = play_out(by_hand(*requests, deadline=Deadline(**limits)))
    late = due(found, tokens) > median_s + 1e-9
    assert 5 < late.sum() < 35
    np.testing.assert_array_equal(found["outcome"] == 1, late)
    soft = Deadline(**limits, kind="linear", grace_s=5.0)
    soft_found, _ = play_out(by_hand(*requests, deadline=soft))
    assert (soft_found["utility"][late] > 0).any()


def test_classes_of_users_have_their_own_deadlines_and_patience():
    classes = (RequestClass("calm"), RequestClass("hasty", deadline=Deadline(9.0, patience_s=0.5)))
    config = small_engines(load=4.0, classes=classes, pools=(Pool(2, ("large",)),))
    simulation = Simulation(config)
    simulation.begin(np.zeros(1, np.uint64))
    aborted = []
    while not simulation.state.envs["over"][0]:
        simulation.step(np.array([0]))
        done = simulation.completions
        aborted += done["user_class"][done["outcome"] == 4].tolist()
    assert set(aborted) == {1}


def test_lengths_are_drawn_without_moving_arrivals_or_tasks():
    drawn = {"chat": LognormalLengths(6.6, 1.0, 5.0, 0.9), "code": FixedLengths(100, 7)}
    own, other = (
        Simulation(small_engines(lengths=x, load=None, workload=CHATS))
        for x in (drawn, CONFIG.lengths)
    )
    np.testing.assert_array_equal(own.tape.arrival_s, other.tape.arrival_s)
    np.testing.assert_array_equal(own.tape.task, other.tape.task)
    chats, code = (own.tape.task == k for k in (0, 1))
    assert (own.tape.output_tokens[code] == 7).all()
    prompt_mean = own.tape.prompt_tokens[chats].mean()
    assert prompt_mean == pytest.approx(drawn["chat"].mean_tokens[0], rel=0.15)


CHATS = trace_of(*[(0.1 * k, 10, 10) for k in range(9000)])
CHATS = dataclasses.replace(CHATS, task=(np.arange(9000) % 3 == 0).astype(np.int16))


def test_sources_of_several_tasks_keep_their_tasks_and_lengths():
    config = small_engines(workload=TaskReplay(), lengths={}, split="all")
    tape = Simulation(config).tape
    means = [tape.output_tokens[tape.task == k].mean() for k in (0, 1)]
    assert means == pytest.approx(config.mean_tokens[:, 1], rel=0.05)
    assert (tape.task == 0).mean() == pytest.approx(2 / 3, abs=0.02)


def test_a_card_replays_and_a_timeline_shows_every_request(tmp_path: Path):
    config = small_engines(window_s=5.0, load=3.0)
    rng = np.random.default_rng(0)
    recording = play(config, 3, lambda _: rng.integers(3, size=1))
    card_of_it = tmp_path / "card.json"
    write_card(card_of(recording, config, 3), card_of_it)
    card = read_card(card_of_it)
    assert replay(card) is None
    tokens = recording.tokens.copy()
    tokens["first_token_s"][7] += 1.0
    changed = dataclasses.replace(recording, tokens=tokens)
    assert recording.sha256 != changed.sha256
    assert "tokens[first_token_s]" in first_difference(recording, changed).words()
    events = timeline(recording.completions, config, "one", recording.tokens)["traceEvents"]
    slices = [event for event in events if event["ph"] == "X"]
    answered = (recording.completions["outcome"] < 2).sum()
    assert sum(event["cat"] == "prefill" for event in slices) == answered
    for track in {(event["pid"], event["tid"]) for event in slices}:
        own = sorted((e["ts"], e["ts"] + e["dur"]) for e in slices if (e["pid"], e["tid"]) == track)
        assert all(before[1] <= after[0] for before, after in pairwise(own))


def test_a_configuration_survives_json():
    assert from_plain(to_plain(CONFIG)) == CONFIG


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pools": (Pool(1),)}, "pool models: got .*exactly one"),
        ({"pools": (Pool(1, ("large",)),), "engine": Engine(gpu_memory_utilization=0.2)},
         "GB of weights on 'card'"),
        ({"engine": Engine(max_num_seqs=600)}, "max_num_batched_tokens: got 512"),
        ({"lengths": {"chat": FixedLengths(1, 1)}}, "lengths: got 'PoissonArrivals"),
        ({"lengths": {"chats": FixedLengths(1, 1)}}, "lengths task: got 'chats'"),
        ({"lengths": {}}, "lengths: got 'PoissonArrivals"),
        ({"service": "static", "lengths": {}, "deadline": Deadline()}, "no batch_latency_s"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(changes: dict[str, object], said: str):
    with pytest.raises(ConfigError, match=said):
        Simulation(small_engines(**changes))


def test_static_batching_refuses_what_only_tokens_have():
    for field in ("ttft_s", "tpot_s", "patience_s"):
        with pytest.raises(ConfigError, match=f"deadline {field}: got 0.5; accepted: inf with"):
            EnvConfig(deadline=Deadline(**{field: 0.5}))
    with pytest.raises(ConfigError, match=r"lengths: got .*none with service 'static'"):
        EnvConfig(lengths={"piqa": FixedLengths(1, 1)})


@pytest.mark.parametrize(
    ("make_it", "said"),
    [
        (lambda: Line((1, 1), (0.1, 0.1)), "line at: got .*that rise"),
        (lambda: Line((1, 2), (0.1, math.nan)), "line seconds: got nan"),
        (lambda: Line((1, 2), (0.1, -0.1)), "line seconds: got -0.1"),
        (lambda: Surface((1, 2), (1,), ((0.1,),)), "surface seconds: got 1; accepted: 2 rows"),
        (lambda: Surface((1,), (1, 2), ((0.1,),)), "one per knot, 2"),
        (lambda: dataclasses.replace(step_times(1.0), prefill_factor=0.0), "prefill_factor"),
        (lambda: Engine(kv_blocks={"large": 0}), "kv_blocks 'large': got 0"),
        (lambda: FixedLengths(0, 1), "prompt_tokens: got 0"),
        (lambda: Deadline(patience_s=0.0), "patience_s: got 0.0"),
        (lambda: PROFILE.gpu("h100"), "gpu: 'h100' is unknown"),
    ],
)  # fmt: skip
def test_impossible_times_are_refused_with_what_was_found(make_it, said: str):
    with pytest.raises(ValueError, match=said):
        make_it()
