"""Timelines: valid Trace Event JSON that accounts for every request."""

import json
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.commands.episodes import EpisodeChoice, Timeline
from benchmarks.commands.options import EnvOptions
from llmroute_env import ConfigError, LLMRouteEnv, Pool
from llmroute_env.dynamics.state import COMPLETION, IN_TIME
from llmroute_env.recording.recording import Recording, play
from llmroute_env.recording.timeline import timeline, write_timeline
from llmroute_env.scenarios import configure
from tests.scenario_windows import EVERY, IN_BATCHES, brief

KEYS = {
    "M": {"ph", "name", "pid", "tid", "args"},
    "X": {"ph", "cat", "name", "pid", "tid", "ts", "dur", "args"},
    "C": {"ph", "name", "pid", "tid", "ts", "args"},
    "i": {"ph", "s", "cat", "name", "pid", "tid", "ts", "args"},
}


def in_turn(models: int):
    turn = iter(range(10**9))
    return lambda observations: np.array([next(turn) % models])


Shown = tuple[Recording, list[dict]]


def episode(scenario: str, **fields: object) -> Shown:
    config = configure(scenario, **{**brief(scenario, 2.0), **fields})
    recording = play(config, 1, in_turn(config.actions))
    return recording, timeline(recording.completions, config, "one", recording.tokens)[
        "traceEvents"
    ]


@pytest.fixture(scope="module")
def usual(scenario: str) -> Shown:
    return episode(scenario)


def of_phase(events: list[dict], phase: str) -> list[dict]:
    return [event for event in events if event["ph"] == phase]


@pytest.mark.parametrize("scenario", EVERY, scope="module")
def test_events_follow_the_format(usual: Shown, tmp_path: Path):
    _, events = usual
    write_timeline({"traceEvents": events}, tmp_path / "new" / "t.json")
    assert json.loads((tmp_path / "new" / "t.json").read_text())["traceEvents"] == events
    for event in events:
        assert set(event) == KEYS[event["ph"]]
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert event["ph"] == "M" or (isinstance(event["ts"], float) and event["ts"] >= 0)
        if event["ph"] == "C":
            assert all(isinstance(v, (int, float)) and v >= 0 for v in event["args"].values())
    for name in ("waiting", "missed so far", "arrival rate"):
        times = [e["ts"] for e in events if e["name"] == name]
        assert times == sorted(set(times))


@pytest.mark.parametrize("scenario", IN_BATCHES, scope="module")
def test_every_request_is_in_it_once(usual: Shown):
    recording, events = usual
    served = recording.completions[recording.completions["batch"] > 0]
    slices = of_phase(events, "X")
    assert sum(e["args"]["requests"] for e in slices) == len(served) > 0
    decisions = [d for e in slices for d in e["args"]["decisions"]]
    assert sorted(decisions) == sorted(served["decision"].tolist())
    late = (served["outcome"] != IN_TIME).sum()
    assert sum(e["args"]["missed deadlines"] for e in slices) == late
    assert sum(e["args"]["utility"] for e in slices) == pytest.approx(recording.rewards.sum())
    assert all(len(e["args"]["decisions"]) == e["args"]["requests"] for e in slices)
    assert all(sum(e["args"]["tasks"].values()) == e["args"]["requests"] for e in slices)
    rates = [e["args"]["requests per s"] for e in events if e["name"] == "arrival rate"]
    assert sum(rates) / 10 == pytest.approx(len(recording.completions))


@pytest.mark.parametrize("scenario", IN_BATCHES)
def test_slices_of_a_gpu_do_not_overlap(scenario: str):
    _, events = episode(scenario, deadline_aware_batching=True)
    tracks = defaultdict(list)
    for event in of_phase(events, "X"):
        tracks[event["tid"]].append((event["ts"], event["dur"]))
    assert 0 < len(tracks) <= configure(scenario).gpus
    # Viewers count in whole nanoseconds, rounded or cut, or add up the numbers as they are.
    for whole in (lambda us: round(1e3 * us), lambda us: int(1e3 * us), float):
        for slices in map(sorted, tracks.values()):
            for (start, length), (following, _) in pairwise(slices):
                assert whole(start) + whole(length) <= whole(following)


def test_queues_end_empty_and_counts_add_up():
    recording, events = episode("overload")
    waiting = [e["args"] for e in events if e["name"] == "waiting"]
    assert set(waiting[-1].values()) == {0}
    assert max(waiting[0].keys()) == "opt-6.7b"
    assert max(sum(counts.values()) for counts in waiting) > 50
    missed = [e["args"] for e in events if e["name"] == "missed so far"][-1]
    outcomes = Counter(recording.completions["outcome"].tolist())
    assert list(missed.values()) == [outcomes[1], outcomes[2], outcomes[3]]


def test_tracks_have_names():
    _, events = episode("stable", pools=(Pool(2), Pool(1, ("opt-6.7b",))))
    names = [e["args"]["name"] for e in events if e["name"] == "thread_name"]
    assert names == [f"GPU {g} (a100-80gb)" for g in range(3)]


def test_the_completions_of_your_own_loop_will_do():
    env, seen = LLMRouteEnv("overload", completions=True, window_s=0.3), []
    env.reset(seed=1)
    over = False
    while not over:
        _, _, over, _, info = env.step(len(seen) % 3)
        seen += info["completions"]
    events = timeline(seen, env.config)["traceEvents"]
    assert sum(e["args"]["requests"] for e in of_phase(events, "X")) > 0
    assert timeline(seen[::-1], env.config)["traceEvents"] == events
    with pytest.raises(ConfigError, match="accepted: those of one episode of one env"):
        timeline(seen + seen, env.config)


def test_an_empty_timeline_is_still_one():
    events = timeline(np.zeros(0, COMPLETION), configure("stable"))["traceEvents"]
    assert not of_phase(events, "X")


def test_the_command_writes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "t.json"
    choice = EpisodeChoice(EnvOptions("overload"), seed=2, steps=300)
    assert Timeline("largest-feasible", choice, out).run() == 0
    assert "ui.perfetto.dev" in capsys.readouterr().out
    assert of_phase(json.loads(out.read_text())["traceEvents"], "X")
