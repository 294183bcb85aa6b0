"""What operations on traces, task mixes and lengths keep and change."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traces import catalog, lengths, operations, statistics
from traces.errors import InputError, TraceError
from traces.processes import arrivals
from traces.tasks import (
    TASKS,
    AbruptMix,
    DriftingMix,
    PeriodicMix,
    TaskMix,
    task_of_function,
)
from traces.trace import Provenance, Trace

ONLY_FIRST, ONLY_LAST = (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def a_trace(arrival_s, span_s: float = 100.0, name: str = "made") -> Trace:
    times = np.asarray(arrival_s, np.float64)
    index = np.arange(len(times))
    return Trace(
        times,
        (index % len(TASKS)).astype(np.int16),
        (index + 1).astype(np.int32),
        (index + 100).astype(np.int32),
        span_s,
        Provenance(name),
    )


BURSTY = a_trace(arrivals.gamma(30.0, 4.0, 1000.0, rng()), 1000.0)


@pytest.mark.parametrize("name", ["arrival_s", "task", "prompt_tokens", "output_tokens"])
def test_arrays_of_a_trace_cannot_be_changed_by_who_shares_it(name: str):
    for trace in (a_trace([1.0, 2.0]), catalog.load("azure-conv"), BURSTY.slice(0.0, 1.0)):
        with pytest.raises(ValueError, match="read-only"):
            getattr(trace, name)[:] = 0
    with pytest.raises(ValueError, match="read-only"):
        catalog.load_counts("maf2019-500fn").counts[0, 0] = 1


def test_split_and_slice_lose_and_share_nothing():
    parts = BURSTY.split((0.6, 0.2, 0.2))
    assert sum(map(len, parts)) == len(BURSTY)
    tokens = np.concatenate([part.prompt_tokens for part in parts])
    assert np.array_equal(tokens, BURSTY.prompt_tokens)
    edge = a_trace([1.0, 2.0, 3.0])
    assert edge.slice(1.0, 3.0).prompt_tokens.tolist() == [1, 2]
    assert edge.slice(2.0, 3.0).arrival_s.tolist() == [0.0]


def test_thinning_keeps_the_share_and_the_pairs():
    thinned = operations.thin(BURSTY, 0.25, rng())
    assert len(thinned) == pytest.approx(0.25 * len(BURSTY), rel=0.05)
    assert np.array_equal(thinned.output_tokens, thinned.prompt_tokens + 99)
    assert thinned.span_s == BURSTY.span_s


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.5])
def test_rescaled_rate_keeps_span_and_profile(factor):
    wave = np.concatenate([np.arange(0, 500, 0.1), np.arange(500, 1000, 0.5)])
    trace = a_trace(wave, 1000.0)
    rescaled = operations.rescale_rate(trace, trace.mean_rate_per_s * factor, rng())
    assert rescaled.mean_rate_per_s == pytest.approx(trace.mean_rate_per_s * factor, rel=0.05)
    assert rescaled.span_s == 1000.0
    assert (rescaled.arrival_s < 500).mean() == pytest.approx(5 / 6, abs=0.02)


def test_stretching_keeps_the_cv_and_folding_the_requests():
    slow = operations.rescale_time(BURSTY, 3.0)
    assert statistics.gap_cv(slow.arrival_s) == pytest.approx(statistics.gap_cv(BURSTY.arrival_s))
    assert slow.mean_rate_per_s == pytest.approx(BURSTY.mean_rate_per_s / 3)
    folded = operations.fold(a_trace([1.0, 11.5, 12.0]), 10.0)
    assert folded.arrival_s.tolist() == [1.0, 1.5, 2.0]
    assert len(operations.fold(BURSTY, 70.0)) == len(BURSTY)


def test_merging_is_sorted_and_stable():
    merged = operations.merge(a_trace([1.0, 2.0], 5.0, "a"), a_trace([1.0, 3.0], 9.0, "b"))
    assert merged.arrival_s.tolist() == [1, 1, 2, 3]
    assert merged.prompt_tokens.tolist() == [1, 1, 2, 2]
    assert (merged.span_s, merged.provenance.source) == (9.0, "a; b")


def test_every_operation_is_remembered():
    trace = operations.thin(BURSTY.slice(0.0, 500.0), 0.5, rng())
    trace = operations.fold(operations.rescale_time(trace, 2.0), 100.0)
    first_words = [operation.split()[0] for operation in trace.provenance.operations]
    assert first_words == ["slice", "thin", "rescale", "fold"]
    assert operations.describe(trace.provenance).startswith("made > slice 0 500 > thin 0.5")


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=30).map(sorted),
    st.floats(0.01, 1),
    st.floats(0.1, 5),
)
def test_any_trace_stays_valid_under_all_operations(times, keep, factor):
    """Trace itself refuses times that fall or leave the span."""
    trace = operations.rescale_time(a_trace(times), factor)
    folded = operations.fold(trace, trace.span_s * keep)
    grown = operations.rescale_rate(folded, folded.mean_rate_per_s * factor, rng())
    operations.merge(operations.thin(grown, keep, rng()), trace)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: operations.thin(BURSTY, 0.0, rng()), "keep: got 0.0"),
        (lambda: operations.rescale_rate(BURSTY, np.nan, rng()), "rate_per_s: got nan"),
        (lambda: operations.rescale_time(BURSTY, -1.0), "factor: got -1.0"),
        (lambda: operations.fold(BURSTY, 1e9), "period_s"),
        (lambda: operations.merge(), "traces: got 0"),
        (lambda: lengths.fit_context(BURSTY, 2048, "squeeze"), "clamp, reject, keep"),
        (lambda: lengths.sample_lengths(BURSTY, rng(), "maf2021-998"), "azure-conv"),
    ],
)
def test_bad_settings_are_named(call, field):
    with pytest.raises(TraceError, match=field):
        call()


def test_statistics_of_known_traces():
    regular = a_trace(np.arange(0.5, 600, 1.0), 600.0)
    figures = statistics.of_trace(regular)
    assert (figures.requests, figures.mean_rate_per_s, figures.cv) == (600, 1.0, 0.0)
    assert figures.peak_to_mean == pytest.approx(1.0)
    assert statistics.peak_to_mean(np.array([0.0, 1.0, 2.0, 70.0, 179.0])) == pytest.approx(1.5)
    assert statistics.of_trace(a_trace([5.0])).cv is None
    assert statistics.peak_to_mean(np.array([0.0, 1e12])) > 1e9
    index = statistics.index_of_dispersion(BURSTY.arrival_s, 1000.0, (1e-4, 10.0, 900.0))
    assert 1 < index[0] < index[1]
    assert np.isnan(index[2])
    # A Gamma renewal process tends to cv^2.
    long = arrivals.gamma(50.0, 3.0, 20_000.0, rng())
    assert statistics.index_of_dispersion(long, 20_000.0, (20.0,))[0] == pytest.approx(9, rel=0.15)


def test_lengths_come_in_the_pairs_of_their_source():
    drawn = lengths.sample_lengths(catalog.load("maf2021-998"), rng())
    donor = catalog.load("azure-conv")
    pairs = set(zip(donor.prompt_tokens.tolist(), donor.output_tokens.tolist(), strict=True))
    assert (
        set(zip(drawn.prompt_tokens.tolist(), drawn.output_tokens.tolist(), strict=True)) <= pairs
    )
    assert not lengths.has_lengths(catalog.load("maf2021-998"))


def test_context_policies_are_counted():
    code = catalog.load("azure-code")
    clamped = lengths.fit_context(code, 2048, "clamp")
    total = clamped.trace.prompt_tokens + clamped.trace.output_tokens
    assert total.max() == 2048
    assert clamped.trace.prompt_tokens.min() >= 1
    assert clamped.beyond / len(code) == pytest.approx(0.38, abs=0.01)
    assert len(lengths.fit_context(code, 2048, "reject").trace) == len(code) - clamped.beyond
    kept = lengths.fit_context(code, 2048, "keep").trace
    assert np.array_equal(kept.prompt_tokens, code.prompt_tokens)
    assert f"keep {clamped.beyond} of 8819" in kept.provenance.operations[-1]


MIXES = (
    TaskMix((1.0, 2.0, 3.0, 4.0)),
    PeriodicMix(ONLY_FIRST, ONLY_LAST, 100.0),
    DriftingMix(ONLY_FIRST, ONLY_LAST, 20.0, 80.0),
    AbruptMix((ONLY_FIRST, ONLY_LAST, ONLY_FIRST), (30.0, 60.0)),
)


@pytest.mark.parametrize("mix", MIXES, ids=lambda mix: type(mix).__name__)
def test_mixes_are_hashable_seeded_and_shift_as_they_say(mix):
    times = np.linspace(0, 100, 40_001)
    task = mix.sample(times, rng(1))
    assert hash(mix) == hash(type(mix)(**vars(mix)))
    assert task.dtype == np.int16
    assert np.array_equal(task, mix.sample(times, rng(1)))
    last = np.array(
        [(task[(times > t) & (times < t + 2)] == 3).mean() for t in (0, 25, 49, 70, 97)]
    )
    expected = {
        TaskMix: [0.4] * 5,
        PeriodicMix: [0.001, 0.532, 1, 0.626, 0.004],
        DriftingMix: [0, 0.1, 0.5, 0.85, 1],
        AbruptMix: [0, 0, 1, 0, 0],
    }[type(mix)]
    assert last == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: TaskMix(()),
        lambda: TaskMix((0.0, 0.0)),
        lambda: PeriodicMix(ONLY_FIRST, ONLY_LAST, 0.0),
        lambda: DriftingMix(ONLY_FIRST, (-1.0, 1.0, 1.0, 1.0), 0.0, 1.0),
        lambda: DriftingMix(ONLY_FIRST, ONLY_LAST, 2.0, 1.0),
        lambda: AbruptMix((ONLY_FIRST,), (1.0,)),
        lambda: AbruptMix((ONLY_FIRST,) * 3, (2.0, 1.0)),
    ],
)
def test_bad_mixes_are_refused(bad):
    with pytest.raises(InputError, match="accepted"):
        bad()


def test_function_tasks_are_even_and_the_same_in_every_process():
    tasks = [task_of_function(f"owner/app/{i}") for i in range(8000)]
    assert np.bincount(tasks) == pytest.approx([2000] * 4, rel=0.1)
    program = "from traces.tasks import task_of_function as f; print(f('owner/app/7'), f('é/x'))"
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert said == [str(tasks[7]), str(task_of_function("é/x"))]
