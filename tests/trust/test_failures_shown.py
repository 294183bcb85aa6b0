"""Pictures, timelines, rows and cards of episodes in which machines fail."""

from dataclasses import replace

import numpy as np
import pytest

from agents.heuristics.models import make
from agents.runs.plan import Plan
from agents.training.monitor import episode_means
from agents.training.training import train
from benchmarks.commands.watch import in_words
from benchmarks.evaluation.episode_rows import figures
from benchmarks.evaluation.runner import evaluate, summarise
from benchmarks.tables import COLUMNS, cells, columns, percent, show
from llmroute_env.dynamics.state import LOST, RETRIED
from llmroute_env.failure_specs import ExponentialTimes, Failures, LognormalTimes, Outage
from llmroute_env.recording.recording import play, stream_of
from llmroute_env.recording.serialization import config_sha256, read_config, to_plain
from llmroute_env.recording.timeline import timeline
from llmroute_env.rendering.renderer import text
from llmroute_env.rendering.scene import capture
from llmroute_env.scenarios import configure
from llmroute_env.simulation.outages import outages
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import RequestClass

TIMES = ExponentialTimes(0.5), LognormalTimes(0.2, 0.5)
CONFIG = configure("overload", window_s=2.0, failures=Failures(*TIMES, tries=2))
CHAT = configure("chat", window_s=10.0, failures=Failures(ExponentialTimes(3.0), TIMES[1]))


def some(config):
    rng = np.random.default_rng(0)
    return lambda _: rng.integers(config.actions, size=1)


@pytest.mark.parametrize("config", [CONFIG, CHAT], ids=["static", "continuous"])
def test_timelines_show_outages_and_what_failed(config):
    recording = play(config, 3, some(config))
    end_s = float(recording.completions["finish_s"].max())
    down = outages(config, stream_of(3), end_s)
    events = timeline(recording.completions, config, "one", recording.tokens, down)["traceEvents"]
    slices = [event for event in events if event.get("cat") == "outage"]
    assert len(slices) == sum(map(len, down)) > config.gpus / 2
    marks = [event["name"] for event in events if event.get("cat") == "failed"]
    for outcome, name in ((RETRIED, "retried"), (LOST, "lost")):
        assert marks.count(name) == (recording.completions["outcome"] == outcome).sum()
    assert marks.count("retried") > 0
    served = [event for event in events if event.get("cat") == "batch"]
    for batch in served:
        own = [s for s in slices if s["tid"] == batch["tid"] and s["pid"] == batch["pid"]]
        ends = batch["ts"] + batch["dur"]
        assert all(ends <= s["ts"] + 0.01 or s["ts"] + s["dur"] <= batch["ts"] for s in own)
    waiting = [event["args"] for event in events if event["name"] == "waiting"]
    assert min(min(counts.values()) for counts in waiting) >= 0
    assert set(waiting[-1].values()) == {0}


def test_pictures_say_which_gpus_are_down():
    listed = Failures(outages=(Outage(1, 0.0, 9.0),))
    simulation = Simulation(replace(CONFIG, failures=listed))
    simulation.begin(np.ones(1, np.uint64))
    scene = capture(simulation)
    assert [row.down for row in scene.rows] == [0, 1, 0, 0]
    assert sum(" down " in line for line in text(scene, simulation).splitlines()) == 1
    assert "lost" in scene.outcomes
    assert "retried" not in scene.outcomes


def test_evaluations_say_how_much_was_lost():
    config = replace(CONFIG, failures=Failures(*TIMES, tries=1))
    told = summarise(evaluate(make("opt-1.3b", config), config, 2, 5), "overload")
    assert 0 < told["lost"] < 1
    named = dict(zip(columns([told]), cells(told), strict=True))
    assert named["dropped"] == percent(told["rejected"] + told["shed"])
    assert (named["lost"], named["retries"]) == (percent(told["lost"]), "0")


def test_evaluations_count_retries(capsys):
    evaluation = evaluate(make("opt-1.3b", CONFIG), CONFIG, 2, 5)
    told = summarise(evaluation, "overload")
    outcomes = np.concatenate([episode.completions["outcome"] for episode in evaluation.episodes])
    assert told["retried"] == sum(episode.summary["retried"] for episode in evaluation.episodes) > 0
    assert told["lost"] == (outcomes == LOST).sum() / told["requests"]
    rows = [figures(episode, evaluation, None) for episode in evaluation.episodes]
    assert sum(row["retried"] for row in rows) == told["retried"]
    show([told])
    out = capsys.readouterr().out
    assert f"{told['retried']:,}" in out
    assert "retries: those sent again" in out
    summaries = [episode.summary for episode in evaluation.episodes]
    assert f"{summaries[0]['retried']:,} retries" in in_words(summaries[0])
    mean = np.mean([s["retried"] / s["requests"] for s in summaries])
    assert episode_means(summaries)["in_training/retried"] == pytest.approx(mean)


def test_nothing_is_said_of_failures_where_nothing_fails(capsys):
    config = replace(CONFIG, failures=None)
    evaluation = evaluate(make("opt-1.3b", config), config, 2, 5)
    told = summarise(evaluation, "overload")
    show([told])
    summary = evaluation.episodes[0].summary
    figures_of_one = figures(evaluation.episodes[0], evaluation, None)
    for said in (capsys.readouterr().out, in_words(summary), *told, *figures_of_one):
        assert not any(word in said for word in ("lost", "retried", "retries"))
    assert columns([told]) == COLUMNS
    assert not {"in_training/lost", "in_training/retried"} & set(episode_means([summary]))


def test_means_are_of_the_episodes_in_which_there_is_such_a_thing():
    classes = {"classes": (RequestClass("all", 2.0),)}
    configs = (replace(CONFIG, failures=None), CONFIG, replace(CONFIG, failures=None, **classes))
    plain, failing, classed = (
        evaluate(make("opt-1.3b", config), config, 1, 5).episodes[0].summary for config in configs
    )
    for order in ([plain, failing, classed, plain], [classed, plain, failing, plain]):
        means = episode_means(order)
        assert means["in_training/retried"] == failing["retried"] / failing["requests"] > 0
        assert means["class_all/deadline_met"] == classed["classes"]["all"]["deadline_met"] > 0
        met = [summary["deadline_met"] for summary in order]
        assert means["in_training/deadline_met"] == pytest.approx(np.mean(met))


@pytest.mark.parametrize("algorithm", ["ddqn-paper", "ddqn"])
def test_learners_route_among_machines_that_fail(tmp_path, algorithm):
    fields = {"window_s": 0.5, "failures": CONFIG.failures}
    plan = Plan(tmp_path / "run", "overload", fields, algorithm=algorithm, decisions=2048)
    train(plan, shows_progress=False)


def test_configurations_are_written_and_read():
    again = read_config(to_plain(CONFIG))
    assert again == CONFIG
    assert config_sha256(again) == config_sha256(CONFIG)
    assert config_sha256(CONFIG) != config_sha256(replace(CONFIG, failures=None))
