"""Open loops by a manager of transformers, one that is scripted; nothing needs to be installed."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.measuring.scheduling import PAGE, Limits
from benchmarks.measuring.serving import Engine, Requests, serve
from benchmarks.measuring.shapes import EngineShape
from benchmarks.measuring.transformers_engine import (
    MASKED_PAGES,
    TransformersEngine,
    limits_beside,
)
from llmroute_env import ConfigError

SIZES = {"layers": 2, "hidden": 32, "heads": 4, "head_width": 8, "inner": 48, "vocabulary": 101}
GATED = EngineShape(**SIZES, kv_heads=2, context_tokens=1024)
LIMITS = Limits(most_running=3, most_tokens=64, pages=16)


class Scripted:
    """A manager that answers at once, or never, or fails, and notes what it was asked."""

    def __init__(self, answers: bool = True, error: str | None = None, takes: bool = True) -> None:
        self.answers, self.error, self.takes = answers, error, takes
        self.continuous_batching_config = SimpleNamespace(cuda_graph_booleans=(False, True))
        self.current_batch, self.running, self.stops = 7, False, list[dict[str, Any]]()
        self.asked = list[tuple[float, int, str, int, dict[str, Any]]]()
        self.results = list[Any]()

    def start(self) -> None:
        self.running = True

    def is_running(self) -> bool:
        return self.running

    def stop(self, **options: Any) -> None:
        self.stops.append(options)
        self.running = False
        if not self.answers:
            ended = [self.result(name, tokens=2, error="cut off") for *_, name, _, _ in self.asked]
            self.results += ended

    def add_request(
        self, input_ids: list[int], request_id: str, max_new_tokens: int, **options: Any
    ) -> str | None:
        self.asked.append(
            (time.perf_counter(), len(input_ids), request_id, max_new_tokens, options)
        )
        if self.answers and self.takes:
            self.results.append(self.result(request_id, max_new_tokens, self.error))
        return request_id if self.takes else None

    def result(self, name: str, tokens: int, error: str | None) -> Any:
        stamps = [time.perf_counter() + 1e-3 * k for k in range(tokens)]
        return SimpleNamespace(
            request_id=name, timestamps=stamps, generated_tokens=[5] * tokens, error=error
        )

    def get_result(self, request_id: str | None = None, timeout: float | None = None) -> Any:
        if self.results:
            return self.results.pop(0)
        assert timeout is not None
        time.sleep(timeout)
        return None


def engine_with(manager: Scripted, monkeypatch: pytest.MonkeyPatch) -> TransformersEngine:
    """An engine whose decoder and manager were not made."""
    engine = TransformersEngine.__new__(TransformersEngine)
    engine.shape, engine.limits, engine.attention = GATED, LIMITS, "sdpa"
    monkeypatch.setattr(engine, "_manager", lambda: manager)
    return engine


REQUESTS = Requests(np.array([0.0, 0.05, 0.2]), np.array([40, 9, 5]), np.array([3, 2, 4]))


def test_it_tells_what_our_loop_tells(monkeypatch: pytest.MonkeyPatch):
    with torch.inference_mode():
        ours = serve(Engine(GATED, "cpu", LIMITS), REQUESTS, limit_s=60.0)
    manager = Scripted()
    found = engine_with(manager, monkeypatch).serve(REQUESTS, limit_s=60.0)
    assert list(found) == list(ours)
    same = ("arrival_s", "prompt_tokens", "output_tokens")
    assert [found[name] for name in same] == [ours[name] for name in same]
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in ours.items()
    }
    assert (found["attention"], found["graphs"], found["without_graphs"], found["steps"]) == (
        "transformers sdpa",
        ["decoding"],
        "",
        7,
    )
    took_s = np.subtract(found["last_token_s"], found["first_token_s"])
    assert took_s == pytest.approx([2e-3, 1e-3, 3e-3], abs=5e-6)


def test_every_request_is_stopped_at_its_last_token_alone(monkeypatch: pytest.MonkeyPatch):
    manager = Scripted()
    engine_with(manager, monkeypatch).serve(REQUESTS, limit_s=60.0)
    assert [asked[1:4] for asked in manager.asked] == [(40, "0", 3), (9, "1", 2), (5, "2", 4)]
    options = {"record_timestamps": True, "eos_token_id": -1}
    assert [asked[4] for asked in manager.asked] == [options] * 3


def test_requests_are_sent_when_due_whatever_became_of_others(monkeypatch: pytest.MonkeyPatch):
    manager, begun_s = Scripted(answers=False), time.perf_counter()
    found = engine_with(manager, monkeypatch).serve(REQUESTS, limit_s=0.3)
    assert len(manager.asked) == 3
    sent_s = np.array([at_s for at_s, *_ in manager.asked]) - begun_s
    assert (sent_s >= REQUESTS.arrival_s).all()
    assert (np.array(found["queued_s"]) >= REQUESTS.arrival_s).all()
    assert found["spent_s"] >= 0.3
    # Two tokens came before they were cut off, which is all that the second was to have.
    assert None not in found["first_token_s"]
    assert [at_s is None for at_s in found["last_token_s"]] == [True, False, True]
    assert manager.stops[0]["hard_stop"]
    assert manager.stops[0]["keep_for_next_session"]


def test_what_is_due_after_the_limit_is_not_sent(monkeypatch: pytest.MonkeyPatch):
    late = Requests(np.array([0.0, 30.0]), np.array([4, 4]), np.array([2, 2]))
    found = engine_with(Scripted(), monkeypatch).serve(late, limit_s=0.1)
    assert found["arrival_s"] == [0.0]
    assert found["spent_s"] < 30.0


def test_times_of_a_request_that_was_begun_anew_are_not_told(monkeypatch: pytest.MonkeyPatch):
    manager = Scripted()
    whole = manager.result

    def result(name: str, tokens: int, error: str | None) -> Any:
        made = whole(name, tokens, error)
        made.timestamps = made.timestamps[int(name == "0") :]
        return made

    monkeypatch.setattr(manager, "result", result)
    found = engine_with(manager, monkeypatch).serve(REQUESTS, limit_s=60.0)
    for name in ("first_token_s", "last_token_s"):
        assert [at_s is None for at_s in found[name]] == [True, False, False]


@pytest.mark.parametrize(
    ("manager", "said"),
    [
        (Scripted(error="no memory"), "transformers failed: no memory"),
        (Scripted(takes=False), "transformers took no request after"),
    ],
)
def test_a_manager_that_fails_says_so_and_is_stopped(
    manager: Scripted, said: str, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(RuntimeError, match=said):
        engine_with(manager, monkeypatch).serve(REQUESTS, limit_s=60.0)
    assert len(manager.stops) == 1


def test_a_thread_that_ends_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    manager = Scripted(answers=False)
    monkeypatch.setattr(manager, "is_running", lambda: False)
    with pytest.raises(RuntimeError, match="the thread of transformers ended"):
        engine_with(manager, monkeypatch).serve(REQUESTS, limit_s=60.0)


def test_a_thread_that_does_not_stop_is_told(monkeypatch: pytest.MonkeyPatch):
    manager = Scripted()
    monkeypatch.setattr(manager, "is_running", lambda: True)
    with pytest.raises(RuntimeError, match="did not stop within 30 s"):
        engine_with(manager, monkeypatch).serve(REQUESTS, limit_s=60.0)


def test_a_release_without_continuous_batching_is_refused(monkeypatch: pytest.MonkeyPatch):
    old = SimpleNamespace(__version__="4.40.0", AutoModelForCausalLM=None, GenerationConfig=None)
    monkeypatch.setitem(sys.modules, "transformers", old)
    said = "transformers: got 'version 4.40.0 without ContinuousBatchingConfig'; accepted: a rel"
    with pytest.raises(ConfigError, match=said):
        TransformersEngine(GATED, "cpu", LIMITS)


@pytest.mark.parametrize("attention", ["sdpa", "flash_attention_2"])
def test_all_who_run_have_room(attention: str):
    for pages in (8, 100, 2048):
        found = limits_beside(Limits(256, 2048, pages), 1792, attention)
        assert found.most_running == 1 or found.most_running * 7 <= found.pages < pages
        assert found.most_tokens == 2048
    assert (found.pages == MASKED_PAGES) == (attention == "sdpa")
    assert limits_beside(LIMITS, PAGE, attention).most_running == LIMITS.most_running
