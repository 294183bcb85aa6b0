"""What clients of Gymnasium expect of any environment."""

import json

import gymnasium
import gymnasium.wrappers.vector as wrappers
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec

from agents.heuristics.models import make
from benchmarks.evaluation.runner import evaluate
from llmroute_env import ConfigError, Deadline, LLMRouteEnv, Pool, configure

SHORT = {"window_s": 1.0}


def test_an_unknown_keyword_is_taken_back_by_who_only_offers_it():
    with pytest.raises(TypeError, match="unexpected keyword argument 'frameskip'"):
        gymnasium.make("LLMRoute-v0", frameskip=1)


@pytest.mark.parametrize("mode", ["vector_entry_point", "sync"])
def test_infos_are_of_one_shape(mode):
    env = gymnasium.make_vec("LLMRoute-v0", num_envs=3, vectorization_mode=mode, **SHORT)
    env.reset(seed=0)
    shapes = set()
    for _ in range(20):
        infos = env.step(np.zeros(3, np.int64))[4]
        told = {name: value for name, value in infos.items() if not name.startswith("_")}
        shapes.add(tuple((name, np.shape(value)) for name, value in sorted(told.items())))
    names = ("elapsed_s", "utility_in_time", "utility_late", "utility_of_peak")
    assert shapes == {tuple((name, (3,)) for name in names)}


@pytest.mark.parametrize("fields", [{}, {"reject": True}])
def test_infos_of_one_env_are_scalars_of_numpy(fields):
    """TorchRL asks each for its dtype; JSON takes them as the floats that they are too."""
    env = gymnasium.make("LLMRoute-v0", **SHORT, **fields)
    for info in (env.reset(seed=0)[1], env.step(0)[4]):
        assert all(isinstance(value, np.float64) for value in info.values())
        assert json.loads(json.dumps(info)) == info


def test_wrappers_of_vectors_need_no_option():
    for wrap in (
        wrappers.NormalizeObservation,
        wrappers.FlattenObservation,
        wrappers.DictInfoToList,
        lambda e: wrappers.RescaleObservation(e, np.float32(-1), np.float32(1)),
    ):
        env = wrap(gymnasium.make_vec("LLMRoute-v0", num_envs=2, **SHORT))
        env.reset(seed=0)
        for _ in range(50):
            env.step(np.zeros(2, np.int64))


def test_tensors_in_and_out():
    pytest.importorskip("array_api_compat", reason="gymnasium converts with it")
    env = wrappers.NumpyToTorch(gymnasium.make_vec("LLMRoute-v0", num_envs=2, **SHORT))
    env.reset(seed=0)
    for _ in range(50):
        env.step(torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_native_and_gymnasiums_own_vectors_say_the_same_at_the_end(mode):
    own = gymnasium.make_vec("LLMRoute-v0", num_envs=2, autoreset_mode=mode, **SHORT)
    sync = gymnasium.make_vec(
        "LLMRoute-v0",
        num_envs=2,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": mode},
        **SHORT,
    )
    assert own.autoreset_mode.value == sync.autoreset_mode.value == mode
    own.reset(seed=5)
    sync.reset(seed=5)
    while True:
        mine, theirs = (env.step(np.zeros(2, np.int64)) for env in (own, sync))
        ended = mine[2] | mine[3]
        if ended.any():
            break
    pairs = [step[4].get("final_info", step[4]) for step in (mine, theirs)]
    for e in np.flatnonzero(ended):
        for found in pairs:
            assert found["utility_of_peak"][e] == found["summary"]["utility_of_peak"][e] > 0
        assert pairs[0]["summary"]["requests"][e] == pairs[1]["summary"]["requests"][e]
        assert pairs[0]["utility_of_peak"][e] == pairs[1]["utility_of_peak"][e]


def test_an_episode_that_a_wrapper_cuts_has_its_score():
    env = gymnasium.make("LLMRoute-v0", max_episode_steps=20, **SHORT)
    env.reset(seed=0)
    for _ in range(20):
        *_, truncated, info = env.step(0)
    assert truncated
    assert info["utility_of_peak"] == env.unwrapped.summary()["utility_of_peak"]


def test_a_mapping_is_all_arguments():
    """RLlib calls the class with one."""
    env = LLMRouteEnv({"scenario": "stable", "window_s": 2.0, "completions": True})
    assert (env.config.window_s, env.config.load) == (2.0, 1.0)
    env.reset(seed=0)
    assert env.step(0)[4]["completions"] == []
    with pytest.raises(TypeError, match="unexpected keyword argument 'windows'"):
        LLMRouteEnv({"windows": 2.0})


def test_any_client_reaches_the_episodes_that_everybody_is_scored_on():
    config = configure("unpredictable-1", split="test", window_s=3.0)
    expected = evaluate(make("opt-125m", config), config, 3, 7)
    own = {"split": "test", "window_s": 3.0}
    env = gymnasium.make("LLMRoute-v0", **own)
    found = []
    for i in range(3):
        env.reset(options={"episode": i, "evaluation_seed": 7})
        over = False
        while not over:
            *_, over, _, info = env.step(0)
        found.append(info["utility_of_peak"])
    assert found == expected.values("utility_of_peak").tolist()
    envs = gymnasium.make_vec("LLMRoute-v0", num_envs=2, autoreset_mode="Disabled", **own)
    seen, _ = envs.reset(options={"episode": 1, "evaluation_seed": 7})
    first, _ = env.reset(options={"episode": 2, "evaluation_seed": 7})
    np.testing.assert_array_equal(seen[1], first)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"episodes": 1}, "options: got 'episodes'; accepted: episode, evaluation_seed"),
        ({"episode": -1}, "options episode: got -1; accepted: >= 0"),
        ({"episode": 0.5}, "options episode: got 0.5"),
        ({"evaluation_seed": 1}, "options: got 'evaluation_seed'; accepted: with `episode`"),
    ],
)
def test_other_options_are_refused(options, said):
    for env in (gymnasium.make("LLMRoute-v0"), gymnasium.make_vec("LLMRoute-v0", num_envs=2)):
        with pytest.raises(ConfigError, match=said):
            env.reset(options=options)


@pytest.mark.parametrize(
    "fields",
    [{"deadline": Deadline(0.3)}, {"pools": (Pool(2),)}, {"load": (1.0, 2.0)}, {"window_s": 5.0}],
)
def test_specifications_survive_json(fields):
    text = gymnasium.make("LLMRoute-v0", **fields).spec.to_json()
    again = gymnasium.make(EnvSpec.from_json(text)).unwrapped
    assert again.config == configure("unpredictable-1", **fields)
