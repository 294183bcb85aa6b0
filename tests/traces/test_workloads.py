"""What the recipes of workloads promise."""

from __future__ import annotations

import numpy as np
import pytest

from traces import catalog, operations, storage
from traces.errors import TraceError
from traces.lengths import as_measured, has_lengths
from traces.processes.regimes import fit
from traces.readers.read import read
from traces.tasks import TASKS, TaskMix
from traces.trace import Trace
from traces.workloads import (
    SPLIT_NAMES,
    CountsReplay,
    GammaArrivals,
    PoissonArrivals,
    RegimeSwitching,
    TraceReplay,
    Workload,
    build,
    take_split,
    with_tasks,
)


def test_a_fit_finds_the_regimes_that_made_the_counts():
    rng = np.random.default_rng(3)
    burst = np.tile(np.repeat([False, True], [30, 10]), 40)
    regimes = fit(rng.poisson(np.where(burst, 40.0, 4.0)), 2)
    np.testing.assert_allclose(regimes.rates, [4.0, 40.0], rtol=0.05)
    np.testing.assert_allclose(regimes.sojourn_bins, [30.0, 10.0], rtol=0.05)
    assert regimes.mean == pytest.approx(13.0, rel=0.05)


def test_unpredictable_2_is_fitted_and_keeps_the_mean_rate():
    recipe = RegimeSwitching()
    calm, burst = recipe.fitted().rates
    assert burst > 5 * calm
    means = [recipe.trace(50.0, np.random.default_rng(seed)).mean_rate_per_s for seed in range(5)]
    assert np.mean(means) == pytest.approx(50.0, rel=0.1)


def test_trace_replay_keeps_profile_and_rate():
    trace = TraceReplay("azure-code", second_s=0.25).trace(40.0, np.random.default_rng(0))
    assert trace.mean_rate_per_s == pytest.approx(40.0, rel=0.02)
    per_minute, _ = np.histogram(trace.arrival_s, np.arange(0, trace.span_s, 15.0))
    # Minutes 17 and 44 of the trace are nearly silent, minute 32 is its busiest.
    assert per_minute[[16, 46]].max() < 0.2 * per_minute.mean()
    assert per_minute.max() > 3 * per_minute.mean()


def requests_of(workload: Workload, rate_per_s: float = 40.0) -> Trace:
    return build(workload, rate_per_s, TaskMix(), TASKS, "all", 0)


@pytest.mark.parametrize("factor", [0.2, 1.0, 5.0])
def test_replayed_requests_and_their_copies_have_the_lengths_of_the_source(factor: float):
    source = catalog.load("azure-conv")
    rate_per_s = factor * source.mean_rate_per_s
    made = TraceReplay("azure-conv").trace(rate_per_s, np.random.default_rng(0))
    # A copy arrives before the next request of the source, so its time says whose it is, unless
    # several arrived at once.
    whose = np.searchsorted(source.arrival_s, made.arrival_s, side="right") - 1
    gap_s = np.diff(source.arrival_s, prepend=-1.0, append=np.inf)
    certain = ((gap_s[:-1] > 0) & (gap_s[1:] > 0))[whose]
    assert certain.mean() > 0.9
    for name in ("prompt_tokens", "output_tokens"):
        theirs = getattr(source, name)[whose]
        assert np.array_equal(getattr(made, name)[certain], theirs[certain])
    built = requests_of(TraceReplay("azure-conv"), rate_per_s)
    assert np.unique(built.prompt_tokens).size > 100


@pytest.mark.parametrize(
    "recipe",
    [PoissonArrivals(60.0), GammaArrivals(2.0, 60.0), CountsReplay(), TraceReplay("maf2021-998")],
)
def test_what_has_no_lengths_is_as_long_as_the_measured_request(recipe: Workload):
    assert not has_lengths(recipe.trace(40.0, np.random.default_rng(0)))
    made = requests_of(recipe)
    assert set(made.prompt_tokens.tolist()) == {128}
    assert set(made.output_tokens.tolist()) == {8}
    assert len(set(made.task.tolist())) == len(TASKS)


def test_as_measured_changes_lengths_alone_and_is_made_once():
    real = requests_of(TraceReplay("azure-conv"))
    made = as_measured(real)
    assert set(made.prompt_tokens.tolist()) == {128}
    assert set(made.output_tokens.tolist()) == {8}
    assert made.arrival_s is real.arrival_s
    assert made.task is real.task
    assert made.provenance.operations[-1] == "lengths as measured"
    assert as_measured(requests_of(TraceReplay("azure-conv"))) is made


def test_splits_are_parts_of_arrivals_that_are_made_once(monkeypatch: pytest.MonkeyPatch):
    made, make = [], PoissonArrivals.trace

    def counted(recipe: PoissonArrivals, rate_per_s: float, rng: np.random.Generator) -> Trace:
        made.append(rate_per_s)
        return make(recipe, rate_per_s, rng)

    monkeypatch.setattr(PoissonArrivals, "trace", counted)
    asked = PoissonArrivals(61.0), 43.0, TaskMix((1.0,) * len(TASKS)), TASKS
    parts = [build(*asked, split, 0) for split in (*SPLIT_NAMES, "all")]
    assert made == [43.0]
    assert sum(map(len, parts[:-1])) == len(parts[-1])


def test_the_arrays_of_the_catalogue_are_nobodys_to_write():
    trace, table = catalog.load("azure-conv"), catalog.load_counts("maf2019-500fn")
    for array in (trace.arrival_s, trace.task, trace.prompt_tokens, table.counts, table.task):
        with pytest.raises(ValueError, match="read-only"):
            array[:1] += 1
    for split in ("all", "train"):
        assert not take_split(trace, split).arrival_s.flags.writeable


def test_tasks_that_a_source_does_not_tell_are_drawn_from_the_mix():
    trace = catalog.load("azure-conv")
    assert not trace.has_tasks
    mixed = with_tasks(trace, TaskMix((1.0, 3.0)), ("short", "long"), 0)
    assert mixed.has_tasks
    assert mixed.tasks == ("short", "long")
    assert (mixed.task == 1).mean() == pytest.approx(0.75, abs=0.02)
    again, other = (with_tasks(trace, TaskMix((1.0, 3.0)), ("a", "b"), seed) for seed in (0, 1))
    assert np.array_equal(mixed.task, again.task)
    assert not np.array_equal(mixed.task, other.task)
    assert mixed.arrival_s is trace.arrival_s
    known = catalog.load("maf2021-998")
    assert known.has_tasks
    assert with_tasks(known, TaskMix(), TASKS, 0) is known


def test_whether_tasks_are_told_outlives_files_and_operations(tmp_path):
    for name, told in (("azure-code", False), ("maf2021-998", True)):
        trace = catalog.load(name)
        thinned = operations.thin(trace, 0.5, np.random.default_rng(0))
        assert thinned.has_tasks == told
        for path in (tmp_path / "t.npz", tmp_path / "t.csv"):
            storage.save(trace, path)
            assert read(path).content.has_tasks == told
    both = operations.merge(catalog.load("azure-code"), catalog.load("maf2021-998"))
    assert not both.has_tasks
    assert not PoissonArrivals(10.0).trace(5.0, np.random.default_rng(0)).has_tasks
    assert requests_of(PoissonArrivals(10.0)).has_tasks


@pytest.mark.parametrize(("counts", "number"), [([1, 2, 3, 9], 1), ([5, 5, 5, 6, 7], 2)])
def test_regimes_that_cannot_be_told_apart_are_refused(counts: list[int], number: int):
    with pytest.raises(TraceError, match=r"regimes: got 1|different counts: got \[5, 6, 7\]"):
        fit(np.array(counts), number)
