"""Fresh days have the statistics of the original."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from traces import catalog
from traces.counts import CountTable
from traces.errors import TraceError
from traces.synthesis import fit, generate
from traces.trace import Provenance


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def fano(counts: np.ndarray) -> np.ndarray:
    """Variance over mean of each function's calls per minute."""
    active = counts[counts.any(axis=1)]
    return active.var(axis=1) / active.mean(axis=1)


@pytest.fixture(scope="module")
def model():
    return fit(catalog.load_counts("maf2019-500fn"))


@pytest.mark.parametrize("seed", range(3))
def test_synthetic_days_match_the_original(model, seed):
    original = catalog.load_counts("maf2019-500fn").counts
    fresh = generate(model, 1, rng(seed)).counts
    assert fresh.sum() == pytest.approx(original.sum(), rel=0.01)
    shares = [np.sort(c.sum(axis=1))[::-1] / c.sum() for c in (original, fresh)]
    for top in (1, 10, 50):
        assert shares[1][:top].sum() == pytest.approx(shares[0][:top].sum(), abs=0.01)
    spread = [c.sum(axis=0).std() / c.sum(axis=0).mean() for c in (original, fresh)]
    assert spread[1] == pytest.approx(spread[0], rel=0.35)
    totals = [c.sum(axis=0) for c in (original, fresh)]
    steadiness = [np.corrcoef(total[1:], total[:-1])[0, 1] for total in totals]
    assert steadiness[1] == pytest.approx(steadiness[0], abs=0.1)
    for q in (0.1, 0.5, 0.9, 0.99):
        ours, theirs = (np.quantile(fano(c), q) for c in (fresh, original))
        assert 1 / 2.5 < ours / theirs < 2.5


def test_timers_stay_timers():
    counts = np.zeros((2, 200), np.int64)
    counts[0, ::5] = 1
    counts[1] = 3
    table = CountTable(counts, ("a", "b"), ("timer", "timer"), Provenance("made"))
    fresh = generate(fit(table), 1, rng()).counts
    every_five = np.diff(np.flatnonzero(fresh[0]))
    assert set(every_five) <= {4, 5, 6}
    assert set(fresh[1]) == {3}


def test_days_are_fresh_seeded_and_as_many_as_asked(model):
    first, again, other = (generate(model, 2, rng(seed)).counts for seed in (1, 1, 2))
    assert first.shape[1] == 2 * 480
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[:, :480], first[:, 480:])


def test_what_cannot_be_fitted_is_refused(model):
    silent = CountTable(np.zeros((1, 99), np.int64), ("a",), (None,), Provenance("made"))
    for table, said in ((silent, "functions with calls"), (short(silent), "bins: got 9")):
        with pytest.raises(TraceError, match=said):
            fit(table)
    with pytest.raises(TraceError, match="days: got 0"):
        generate(model, 0, rng())


def short(table: CountTable) -> CountTable:
    """The first nine minutes."""
    return dataclasses.replace(table, counts=table.counts[:, :9])
