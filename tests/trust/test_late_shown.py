"""Pictures, text and timelines where signals are late: what is, and what a router sees."""

from dataclasses import replace

import numpy as np
import pytest

from llmroute_env.failure_specs import Failures, Outage
from llmroute_env.recording.recording import play
from llmroute_env.recording.sights import sights_of
from llmroute_env.recording.timeline import timeline
from llmroute_env.rendering.canvas import SEEN
from llmroute_env.rendering.renderer import Renderer, text
from llmroute_env.rendering.scene import age, believed, capture, is_mistaken
from llmroute_env.scenarios import configure
from llmroute_env.signal_specs import Signals
from llmroute_env.simulation.simulation import Simulation

EXACT = configure("overload", window_s=0.6, dispatcher="shortest-queue")
LATE = replace(EXACT, signals=Signals(0.1, delay_s=0.02))
LARGEST = np.array([2])
CHAT = configure("chat", window_s=4.0, signals=Signals(0.5))


def after(config, steps: int) -> Simulation:
    """Every request to the largest model, by a dispatcher that goes by what is seen."""
    simulation = Simulation(config)
    simulation.begin(np.array([3], np.uint64))
    for _ in range(steps):
        simulation.step(LARGEST)
    return simulation


def red(simulation: Simulation) -> int:
    frame = Renderer("rgb_array", simulation).picture(0)
    return int((frame == np.array(SEEN, np.uint8)).all(axis=-1).sum())


def test_a_herd_on_a_gpu_that_is_believed_to_be_idle_shows():
    # Before the first scrape has arrived all are believed to be empty: all goes to the first.
    simulation = after(replace(LATE, signals=Signals(5.0)), 40)
    first, *others = capture(simulation).rows
    assert sum(queue.waiting for queue in first.queues) == 39
    assert (sum(first.belief.waiting), first.belief.running, believed(first)) == (0, 0, "idle")
    assert is_mistaken(first)
    assert not any(map(is_mistaken, others))
    seen = text(capture(simulation), simulation).splitlines()
    assert sum("seen idle" in line for line in seen) == 4
    assert red(simulation) > red(after(replace(LATE, signals=Signals(5.0)), 0)) > 0


@pytest.mark.parametrize("reckons", [False, True])
def test_what_is_seen_is_what_the_scrapes_brought(reckons: bool):
    signals = replace(LATE.signals, dead_reckoning=reckons)
    simulation = after(replace(LATE, signals=signals, observation=("gpu_backlog", "gpu_age")), 300)
    rows = capture(simulation).rows
    layout, row = simulation.config.layout, simulation.outputs.observations[0]
    backlog = np.expm1(row[layout.first("gpu_backlog") :][: layout.columns("gpu_backlog")])
    seen = [list(one.belief.waiting) for one in rows]
    np.testing.assert_allclose(seen, backlog.reshape(4, -1), rtol=1e-5, atol=1e-5)
    ages_s = np.expm1(row[layout.first("gpu_age") :][:4]) / 10
    np.testing.assert_allclose([one.belief.age_s for one in rows], ages_s, rtol=1e-5)
    assert np.sum(seen) > 0


def test_failures_and_late_signals_show_together():
    listed = Failures(outages=(Outage(1, 0.0, 9.0), Outage(2, 0.005, 9.0)))
    config = replace(LATE, failures=listed, signals=Signals(5.0))
    simulation = after(config, 60)
    rows = capture(simulation).rows
    assert [row.down for row in rows] == [0, 1, 1, 0]
    assert [believed(row) for row in rows] == ["idle", "down", "idle", "idle"]
    assert [is_mistaken(row) for row in rows] == [True, False, True, False]
    assert red(simulation) > 0


def test_exact_signals_are_shown_as_ever():
    simulation = after(EXACT, 60)
    scene = capture(simulation)
    assert all(row.belief is None and not is_mistaken(row) for row in scene.rows)
    assert red(simulation) == 0
    assert "seen" not in text(scene, simulation)
    recording = play(EXACT, 3, lambda _: LARGEST)
    assert sights_of(EXACT, 3, recording.actions) is None


@pytest.mark.parametrize("config", [LATE, CHAT], ids=["static", "continuous"])
def test_timelines_have_what_is_and_what_is_seen(config):
    recording = play(config, 3, lambda _: LARGEST)
    sights = sights_of(config, 3, recording.actions)
    plain = timeline(recording.completions, config, "one", recording.tokens)["traceEvents"]
    events = timeline(recording.completions, config, "one", recording.tokens, (), sights)
    events = events["traceEvents"]
    assert events[: len(plain)] == plain
    more = events[len(plain) :]
    for gpu in range(config.gpus):
        for name, counts in (("waiting", sights.waiting), ("seen waiting", sights.seen)):
            told = [e for e in more if e["name"] == f"GPU {gpu} {name}"]
            times = [e["ts"] for e in told]
            assert times == sorted(set(times))
            assert told[-1]["args"]["requests"] == counts[-1, gpu]
            assert max(e["args"]["requests"] for e in told) <= counts[:, gpu].max()
    scrapes = [e for e in more if e["name"] == "scrape"]
    assert len(scrapes) > config.gpus
    delay_s = config.signals.delay_s
    for scrape in scrapes:
        assert scrape["ts"] == pytest.approx(1e6 * (scrape["args"]["of, s"] + delay_s), abs=0.01)
        assert scrape["ts"] < 1e6 * sights.at_s[-1]


def test_ages_are_short():
    assert [age(s) for s in (0.0, 0.0994, 0.1, 1.04, 9.94, 9.96, 123.4)] == [
        *("0 ms", "99 ms", "0.1 s", "1.0 s", "9.9 s", "10 s", "123 s")
    ]
