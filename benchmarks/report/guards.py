"""What the networks of guarded routers add to their guards, as far as rows tell."""

from __future__ import annotations

import numpy as np

from benchmarks.evaluation.intervals import Floats, Interval
from benchmarks.evaluation.rows import Row
from benchmarks.evaluation.stats import MEAN, crossed_bootstrap
from benchmarks.report.data import SEED, RouterRows


def overruled(cell: RouterRows) -> Floats | None:
    """Share of the decisions in which the network of each training seed overruled its guard.

    None where no guard is known: there is none, or the rows are of an older version.
    """
    if not all("guard" in row for row in cell.rows):
        return None
    shares, requests = cell.table(overruled_in), cell.values("requests")
    each: Floats = np.average(shares, axis=1, weights=requests)
    return each


def gain_over_guard(cell: RouterRows) -> Interval:
    """Utility of peak minus that of the guard alone in the same episodes."""
    gained = cell.values("utility_of_peak") - cell.table(earned_alone)
    return crossed_bootstrap([gained], np.random.default_rng(SEED), MEAN, [cell.origin()])


def verdict(cell: RouterRows) -> str:
    """Said beside a router's name where some training seeds are nothing but their guard."""
    shares = overruled(cell)
    if shares is None or (shares > 0.0).all():
        return ""
    silent = int((shares == 0.0).sum())
    return "is its guard" if silent == len(shares) else f"{silent} of them their guard"


def overruled_in(row: Row) -> float:
    """Share of the decisions of an episode."""
    return row["guard"]["overruled"]


def earned_alone(row: Row) -> float:
    """Utility of peak of the guard alone in the same episode."""
    return row["guard"]["utility_of_peak"]
