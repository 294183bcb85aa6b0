"""From calls per minute to requests."""

from __future__ import annotations

import numpy as np
import pytest

from traces import catalog
from traces.counts import CountTable
from traces.errors import TraceError
from traces.tasks import TASKS, task_of_function
from traces.trace import Provenance


def a_table() -> CountTable:
    counts = np.array([[4, 0, 2], [0, 3, 0], [1, 1, 1]])
    return CountTable(counts, ("f", "g", "h"), ("http", "timer", None), Provenance("made"))


def test_without_a_cv_the_counts_are_exact_and_tasks_are_those_of_the_functions():
    table = catalog.load_counts("maf2019-500fn").take(np.arange(40), "some")
    trace = table.to_trace(None, np.random.default_rng(0))
    per_minute, _ = np.histogram(trace.arrival_s, np.arange(481) * 60.0)
    assert np.array_equal(per_minute, table.total)
    assert trace.span_s == 480 * 60
    drawn, expected = np.bincount(trace.task, minlength=len(TASKS)), table.per_task.sum(axis=1)
    assert np.all(np.abs(drawn - expected) <= 5 * np.sqrt(expected + 1))


def test_requests_only_get_tasks_of_functions_called_in_their_minute():
    counts = np.array([[50, 0], [0, 50]])
    names = [
        next(f"{t}-{i}" for i in range(99) if task_of_function(f"{t}-{i}") == t) for t in (1, 3)
    ]
    table = CountTable(counts, tuple(names), (None, None), Provenance("made"))
    trace = table.to_trace(2.0, np.random.default_rng(0))
    assert set(trace.task[trace.arrival_s < 60]) == {1}
    assert set(trace.task[trace.arrival_s >= 60]) == {3}


def test_trigger_filter():
    table = a_table()
    assert table.filter_trigger(only=("http",)).functions == ("f",)
    assert table.filter_trigger(without=("timer",)).functions == ("f", "h")
    assert "without timer" in table.filter_trigger(without=("timer",)).provenance.operations[-1]
    with pytest.raises(
        TraceError, match=r"got \('queue',\); accepted: some of \['http', 'timer'\]"
    ):
        table.filter_trigger(only=("queue",))
    blind = CountTable(table.counts, table.functions, (None,) * 3, table.provenance)
    with pytest.raises(TraceError, match="names triggers"):
        blind.filter_trigger(without=("timer",))


def test_thinning_and_more_calls_than_memory():
    table = CountTable(np.full((2, 9), 2**36), ("f", "g"), (None, None), Provenance("made"))
    with pytest.raises(TraceError, match="thin or filter"):
        table.to_trace(None, np.random.default_rng(0))
    thinned = table.thin(1e-8, np.random.default_rng(0))
    assert thinned.total.sum() == pytest.approx(18 * 2**36 * 1e-8, rel=0.05)
    assert len(thinned.to_trace(None, np.random.default_rng(0))) == thinned.total.sum()


def test_a_table_without_calls_makes_no_trace():
    silent = CountTable(np.zeros((1, 2), np.int64), ("f",), (None,), Provenance("made"))
    with pytest.raises(TraceError, match="no calls"):
        silent.to_trace(None, np.random.default_rng(0))
