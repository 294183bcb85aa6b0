"""Which engines are measured, under which names, whether or not transformers is installed."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from benchmarks.measuring import loads
from benchmarks.measuring.loads import BESIDE_LOADS, Effort, briefly, measure_loads
from benchmarks.measuring.scheduling import Limits
from benchmarks.measuring.serving import Engine, Requests, serve
from benchmarks.measuring.shapes import EngineShape
from benchmarks.measuring.transformers_engine import installed

SMALL = EngineShape(2, 32, 4, 2, 8, 48, 101, 1024)
EFFORT = Effort(3, 0.2, 40, 5)


class Stand:
    """In the place of transformers: our loop, after which it is noted what was asked of it."""

    version = "5.24.0"
    made: list[Stand]

    def __init__(self, shape: EngineShape, device: str, limits: Limits) -> None:
        self.engine, self.limits = Engine(shape, device, limits), limits
        self.served, self.closed = list[tuple[int, float]](), False
        self.made.append(self)

    def serve(self, requests: Requests, limit_s: float) -> dict[str, Any]:
        assert not self.closed
        self.served.append((len(requests.arrival_s), limit_s))
        return serve(self.engine, requests, limit_s) | {"attention": "transformers sdpa"}

    def close(self) -> None:
        self.closed = True


def found_by(installs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether transformers is to be found, whatever is installed."""
    find = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> Any:
        if name == "transformers":
            return object() if installs else None
        return find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


def kept_lightly(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """The same, if nobody wants the memory back, nor knows how fast our loop is."""
    monkeypatch.setattr(loads, "release", lambda device: None)
    answered = {"last_token_s": [1.0], "spent_s": 1.0}
    monkeypatch.setattr(loads, "serve", lambda engine, requests, limit_s: answered)
    return kept_runs()


def kept_runs() -> dict[str, dict[str, Any]]:
    """What loads of a tiny network on the CPU keep, by name."""
    kept = dict[str, dict[str, Any]]()
    measure_loads(SMALL, "cpu", EFFORT, 0, lambda run, found: kept.update({run: found}))
    return kept


def test_without_transformers_our_loop_is_measured_alone(monkeypatch: pytest.MonkeyPatch):
    found_by(False, monkeypatch)
    monkeypatch.setattr(loads, "TransformersEngine", Stand)
    monkeypatch.setattr(Stand, "made", [], raising=False)
    assert not installed()
    assert list(kept_lightly(monkeypatch)) == ["full", "70%", "110%"]
    assert Stand.made == []


def test_transformers_is_measured_after_our_loop(monkeypatch: pytest.MonkeyPatch):
    found_by(True, monkeypatch)
    monkeypatch.setattr(loads, "TransformersEngine", Stand)
    monkeypatch.setattr(Stand, "made", [], raising=False)
    kept = kept_runs()
    assert BESIDE_LOADS == (0.7,)
    assert list(kept) == ["full", "70%", "110%", "transformers-full", "transformers-70%"]
    ours, theirs = kept["70%"], kept["transformers-70%"]
    assert "engine" not in ours
    assert (theirs["engine"], theirs["load"]) == ("transformers 5.24.0", 0.7)
    assert set(theirs) == {*ours, "engine"}
    # Each is sent its share of what it can serve itself.
    assert theirs["requests_per_s"] == kept["transformers-full"]["requests_per_s"]
    assert theirs["requests_per_s"] != ours["requests_per_s"]
    (stand,) = Stand.made
    assert [limit_s for _, limit_s in stand.served] == [12.0, 0.4]
    assert stand.served[0][0] == EFFORT.at_once
    assert stand.closed
    assert theirs["limits"]["pages"] == stand.limits.pages < ours["limits"]["pages"]


def test_a_failure_of_transformers_is_kept_and_loses_nothing(monkeypatch: pytest.MonkeyPatch):
    found_by(True, monkeypatch)

    def fails(*given: Any) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(loads, "TransformersEngine", fails)
    kept = kept_lightly(monkeypatch)
    assert list(kept) == ["full", "70%", "110%", "transformers"]
    assert kept["transformers"] == {"failed": "RuntimeError: no memory"}


def test_the_engine_beside_takes_less_time_than_ours():
    brief = briefly(Effort())
    assert (brief.at_once, brief.seconds, brief.most_at_once_s) == (128, 5.0, 12.0)
    assert (brief.most_prompt, brief.most_output) == (1536, 256)
    assert briefly(EFFORT) == Effort(3, 0.2, 40, 5, 12.0)
