"""RecurrentPPO's routers remember what SB3's policy does, and say so where they cannot serve."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.base import for_agent
from agents.heuristics.tuning import run_episodes
from agents.learners.sb3.learner import SB3Learner
from agents.learners.sb3.memory import states_of
from agents.learners.sb3.models import preferences_of
from agents.learners.validation import validate, validation_episodes
from agents.loading import load, load_trained
from agents.routers.logits import LEAST_LOGIT
from agents.routers.recurrent import RecurrentNetwork, RecurrentRouter
from agents.runs.card import read_card, write_card, write_weights
from agents.runs.checkpoint import CheckpointError
from agents.runs.trained import load_agent, make_router
from agents.serving.compiled import CompiledRouter
from agents.serving.export import export
from agents.serving.ways import ways_to_decide
from agents.settings.sb3 import RecurrentSettings
from agents.training.training import train
from benchmarks.cli import main
from benchmarks.evaluation.runner import evaluate
from benchmarks.speed.decisions import measure_decisions
from benchmarks.watching.episode import Episode, begin
from llmroute_env import ConfigError, Pool, configure
from llmroute_env.signal_specs import Signals
from llmroute_env.simulation.episodes import episode_seeds

from .small_runs import small_plan

LATE = {"window_s": 0.25, "load": 6.0, "signals": Signals(0.05, 0.0025)}
SHORT = {"window_s": 0.03, "load": 8.0}
"""Of so few decisions that episodes end while a rollout is collected."""


def learner_of(folder: Path, rounds: int = 3, **changes) -> SB3Learner:
    learner = SB3Learner(small_plan(folder, "recurrent-ppo", learning_rate=1e-2, **changes))
    for _ in range(rounds):
        learner.iterate()
    return learner


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory) -> SB3Learner:
    """One that has learned for some rounds: it is not to go on."""
    return learner_of(tmp_path_factory.mktemp("learner"), fields=SHORT)


def router_of(learner: SB3Learner) -> RecurrentRouter:
    names = learner.settings.observation
    return RecurrentRouter(learner.router, "recurrent-ppo", names, "model")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory whose router has random weights, large enough that it changes its mind."""
    directory = tmp_path_factory.mktemp("recurrent") / "run"
    plan = small_plan(directory, "recurrent-ppo", fields=LATE, lstm_width=64)
    network = make_router(plan.card())
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(3.0)
    write_card(directory, plan.card())
    write_weights(directory, network.state_dict())
    return directory


@pytest.mark.parametrize("layers", [1, 2])
def test_the_router_remembers_and_forgets_as_sb3_does(tmp_path: Path, layers: int) -> None:
    learner = learner_of(tmp_path, 1, fields=SHORT, lstm_layers=layers, lstm_width=16, envs=8)
    # One that changes its mind: at first a policy prefers nothing by much.
    generator = torch.Generator().manual_seed(0)
    for weights in learner.model.policy.parameters():
        torch.nn.init.normal_(weights, std=0.5, generator=generator)
    model, router, envs = learner.model, router_of(learner), 8
    router.begin(envs, np.random.default_rng(0))
    observations = learner.env.reset(seed=1)[0]
    blank = router.network.fresh(envs)
    begun, state = np.ones(envs, bool), None
    ends = differs = 0
    for _ in range(300):
        state = state or tuple(t.numpy() for t in blank)
        theirs, state = model.predict(observations, state, begun, deterministic=True)
        router.forget(begun)
        ours = router.act(observations)
        np.testing.assert_array_equal(ours, theirs)
        for mine, hers in zip(router.memory, state, strict=True):
            np.testing.assert_allclose(mine, hers, atol=1e-6)
        alone = router.network.preferences(observations, blank)[0].argmax(axis=1)
        differs += (alone != ours).sum()
        observations, _, terminated, truncated, _ = learner.env.step(ours)
        begun = terminated | truncated
        ends += begun.sum()
    assert ends > 5
    assert differs > 5, "what came before changes no decision"


def test_envs_do_not_share_a_memory(run: Path) -> None:
    agent = load_agent(run)
    rows = np.random.default_rng(0).normal(size=(6, 4, agent.columns)).astype(np.float32)

    def route(envs: list[int]) -> np.ndarray:
        agent.begin(len(envs), np.random.default_rng(0))
        return np.array([agent.act(step[envs]) for step in rows])

    together = route([0, 1, 2, 3])
    for e in range(4):
        np.testing.assert_array_equal(route([e])[:, 0], together[:, e])
    np.testing.assert_array_equal(route([0, 1, 2, 3]), together)


def test_looking_ahead_begins_with_what_is_remembered(learner: SB3Learner) -> None:
    model, observations = learner.model, learner.venv.result[0]
    before = [t.clone() for pair in states_of(model) for t in pair]
    begun = model._last_episode_starts
    policy = preferences_of(model, learner.hosted)
    state = states_of(model).pi
    for starts in (begun, np.zeros_like(begun), np.arange(len(begun)) % 2 == 0):
        logits = torch.from_numpy(policy(observations, starts))
        with torch.no_grad():
            theirs, state = model.policy.get_distribution(
                torch.from_numpy(observations), state, torch.from_numpy(starts).float()
            )
        expected = theirs.distribution.logits
        np.testing.assert_allclose(logits.log_softmax(dim=1), expected, atol=1e-5)
    after = [t for pair in states_of(model) for t in pair]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert any(t.any() for t in after)


def test_checkpoints_hold_what_the_lstms_remember(learner: SB3Learner, tmp_path: Path) -> None:
    snapshot = learner.snapshot()
    other = SB3Learner(small_plan(tmp_path, "recurrent-ppo", fields=SHORT))
    other.restore(snapshot)
    for mine, hers in zip(states_of(learner.model), states_of(other.model), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, hers, strict=True))
    again = other.snapshot()
    assert {n for n in again.tensors if n.startswith("lstm.")} == {
        *("lstm.pi.hidden", "lstm.pi.cell", "lstm.vf.hidden", "lstm.vf.cell")
    }
    assert all(torch.equal(t, again.tensors[n]) for n, t in snapshot.tensors.items())
    assert all(np.array_equal(a, again.arrays[n]) for n, a in snapshot.arrays.items())


def test_no_action_leads_to_where_the_model_is_not(tmp_path: Path) -> None:
    pools = (Pool(1, ("opt-125m",)), Pool(1, ("opt-1.3b", "opt-6.7b")))
    fields = {"action": "gpu-model", "pools": pools, "window_s": 0.5}
    learner = learner_of(tmp_path, rounds=1, fields=fields)
    router = router_of(learner)
    values, _ = router.network.preferences(learner.venv.result[0], router.network.fresh(32))
    assert learner.hosted.tolist() == [True, False, False, False, True, True]
    assert (values[:, ~learner.hosted] == LEAST_LOGIT).all()
    assert (values[:, learner.hosted] > LEAST_LOGIT / 2).all()


def test_validation_is_that_of_the_loaded_router(run: Path) -> None:
    agent, card = load_agent(run), read_card(run)
    config = configure("stable", **LATE, split="validation")
    assert isinstance(agent, RecurrentRouter)
    seen = for_agent(config, agent)
    score = validate(agent.network, (seen,), card.settings)
    assert 0 < score < 1
    windows, seeds = validation_episodes(seen, card.settings)
    assert score == run_episodes(load_agent(run), windows, seeds).mean()
    seeds = episode_seeds(3, 4)
    judged = evaluate(agent, config, 4, 3).values("utility_of_peak")
    np.testing.assert_allclose(judged, run_episodes(load_agent(run), config, seeds))


def test_an_episode_is_recorded_replayed_and_watched(run: Path, tmp_path: Path) -> None:
    card, timeline = tmp_path / "card.json", tmp_path / "timeline.json"
    assert main(["record", str(run), "--out", str(card)]) == 0
    assert main(["replay", str(card)]) == 0
    assert main(["timeline", str(run), "--out", str(timeline)]) == 0
    played = json.loads(card.read_text())["actions"]
    config = configure("stable", **LATE, split="test")
    agent = load(str(run), config)
    simulation = begin(agent, config, 0)
    taken = []

    class Noting:
        def act(self, observations):
            taken.append(int(agent.act(observations)[0]))
            return np.array(taken[-1:])

    list(Episode("", simulation, Noting(), np.inf).moments(100.0))
    assert taken == played
    assert len(set(taken)) > 1


@pytest.mark.parametrize(
    "serve",
    [
        lambda run, out: export(load_trained(str(run)), out / "router.onnx"),
        lambda run, out: CompiledRouter(load_trained(str(run)), configure("stable")),
        lambda run, out: ways_to_decide(load_trained(str(run)), configure("stable")),
        lambda run, out: measure_decisions(str(run), decisions=10),
    ],
    ids=["export", "compiled", "ways", "speed"],
)
def test_who_asks_for_single_decisions_is_refused(run: Path, tmp_path: Path, serve) -> None:
    with pytest.raises(ConfigError, match=r"'recurrent-ppo', which remembers .*; accepted by "):
        serve(run, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_command_line_refuses_to_export_it(run: Path, tmp_path: Path, capsys) -> None:
    assert main(["export", str(run), "--out", str(tmp_path / "router.onnx")]) != 0
    assert "which remembers the observations of its episode" in capsys.readouterr().err


def test_weights_of_another_width_are_refused(run: Path, tmp_path: Path) -> None:
    card = read_card(run)
    assert isinstance(card.settings, RecurrentSettings)
    write_card(tmp_path, card)
    other = RecurrentNetwork(card.columns, 8, 1, card.settings.hidden, card.actions)
    write_weights(tmp_path, other.state_dict())
    with pytest.raises(CheckpointError, match=r"body.0.weight: got shape \(32, 8\); accepted"):
        load_agent(tmp_path)


@pytest.mark.verify
def test_a_run_is_evaluated_where_there_is_no_sb3(run: Path) -> None:
    program = (
        "import sys\n"
        "sys.modules['stable_baselines3'] = sys.modules['sb3_contrib'] = None\n"
        "from benchmarks.cli import main\n"
        f"sys.exit(main(['evaluate', {str(run)!r}, '--episodes', '2', '--json']))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    config = configure("stable", **LATE, split="test")
    ours = evaluate(load_agent(run), config, 2, 0).interval("utility_of_peak").mean
    assert said["utility_of_peak"]["mean"] == pytest.approx(ours)


def test_networks_draw_nothing_from_the_global_generator() -> None:
    before = torch.get_rng_state()
    one, two, other = (RecurrentNetwork(5, 8, 2, (4,), 3, seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    weights = [net.state_dict()["lstm.weight_hh_l1"] for net in (one, two, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_training_reads_how_late_signals_are_and_keeps_its_best_weights(tmp_path: Path) -> None:
    result = train(
        small_plan(tmp_path / "run", "recurrent-ppo", 2048, fields=LATE), shows_progress=False
    )
    agent = load_agent(tmp_path / "run")
    assert isinstance(agent, RecurrentRouter)
    assert {"age", "sent"} <= set(agent.observation)
    config = for_agent(configure("stable", **LATE), agent)
    settings = read_card(tmp_path / "run").settings
    assert validate(agent.network, (config,), settings) == pytest.approx(result.utility_of_peak)
