"""Rows by entry and router, and the figures that a report takes from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Final

import numpy as np

from benchmarks.evaluation.intervals import (
    Floats,
    Interval,
    Origin,
    independent_windows,
    worth_text,
)
from benchmarks.evaluation.rows import Number, Row
from benchmarks.evaluation.stats import MEAN, crossed_bootstrap
from llmroute_env.simulation.summary import share_of_peak

SEED = 0
"""Of the bootstraps: two reports of the same rows are equal."""
SCORE: Final = "utility_of_peak"
Cell = tuple[str, str]
"""An entry and a router."""
Against = Mapping[str, str]
"""Entry -> the heuristic that routers are compared with there."""
AVAILABLE = 0.99
"""Share of requests in time from which a router counts as available."""


@dataclass(frozen=True)
class RouterRows:
    """All rows of one router on one entry: every training seed, every episode."""

    rows: tuple[Row, ...]

    @cached_property
    def seeds(self) -> list[int]:
        """Training seeds with rows, rising."""
        return sorted({row["training_seed"] for row in self.rows})

    def values(self, name: Number) -> Floats:
        """Field `name` of every row, shape (seeds, episodes); NaN for a bound not computed."""
        return self.table(partial(number_of, name))

    def table(self, value: Callable[[Row], float]) -> Floats:
        """A number of every row, shape (seeds, episodes)."""
        by_seed = {
            seed: [r for r in self.rows if r["training_seed"] == seed] for seed in self.seeds
        }
        least = min(len(rows) for rows in by_seed.values())
        ordered = [
            sorted(rows, key=lambda r: int(r["episode"]))[:least] for rows in by_seed.values()
        ]
        return np.array([[value(row) for row in rows] for rows in ordered], np.float64)

    def episodes(self, name: Number) -> Floats:
        """Mean over training seeds of every episode, shape (episodes,)."""
        mean: Floats = self.values(name).mean(axis=0)
        return mean

    def mean(self, name: Number) -> float:
        """Mean over everything; each request counts the same for shares of requests."""
        return float(self.values(name).mean())

    def of_requests(self, name: Number) -> float:
        """A share of requests, over the requests of all rows."""
        return float(np.average(self.values(name), weights=self.values("requests")))

    def goodput_per_s(self) -> float:
        """Requests that met all their deadlines, per second of the episodes of all rows.

        Of shares and durations, as older rows do not tell it.
        """
        met = float((self.values("deadline_met") * self.values("requests")).sum())
        return met / float(self.values("duration_s").sum())

    def share(self) -> dict[str, float]:
        """Share of the requests that each model was given."""
        weights = self.values("requests")
        names = list(self.rows[0]["share"])
        shares = {name: self.table(partial(share_of, name)) for name in names}
        return {name: float(np.average(share, weights=weights)) for name, share in shares.items()}

    def windows(self, threshold: float, window_s: float = 1.0) -> float:
        """Share of the windows at or above a share of their peak."""
        counts = [row["windows_at_least"][f"{window_s:g}"] for row in self.rows]
        whole = sum(count["windows"] for count in counts)
        return float(sum(count[str(threshold)] for count in counts) / max(whole, 1))

    def seconds_above(self, levels: Floats) -> Floats:
        """Share of the seconds, of detailed episodes, that earn a share of their peak; like it."""
        courses = [row["by_second"] for row in self.rows if "by_second" in row]
        earned = np.concatenate([course["utility"] for course in courses])
        peak = np.concatenate([course["peak"] for course in courses])
        # Sums are rounded to three digits in the rows.
        reached = earned[peak > 0] + 1e-3 >= levels[:, None] * peak[peak > 0]
        shares: Floats = reached.mean(axis=1)
        return shares

    def of_bound(self) -> Floats:
        """Utility as a share of the bound, shape (seeds, episodes)."""
        shares: Floats = share_of_peak(self.values("utility"), self.values("bound"))
        return shares

    def interval(self, name: Number) -> Interval:
        """Mean over training seeds and episodes, and its interval."""
        rng = np.random.default_rng(SEED)
        return crossed_bootstrap([self.values(name)], rng, MEAN, [self.origin()])

    def windows_s(self, episodes: int) -> Floats | None:
        """Where on the tape the first episodes begin and end, shape (episodes, 2), if known."""
        rows = [row for row in self.rows if row["training_seed"] == self.seeds[0]]
        rows = sorted(rows, key=lambda row: int(row["episode"]))[:episodes]
        known = [row["tape_window_s"] for row in rows if "tape_window_s" in row]
        return np.array(known) if len(known) == len(rows) else None

    def origin(self, episodes: int | None = None) -> Origin:
        """Where the scores of the first episodes, or of all, are from.

        The same windows of the same arrivals are the same episodes, whatever entry they are of.
        """
        count = self.values("utility_of_peak").shape[1] if episodes is None else episodes
        windows_s = self.windows_s(count)
        windows = None if windows_s is None else windows_s.tobytes()
        met = self.first["trace_sha256"], self.first["seed"], count, windows
        trained = self.first["trained_on"], self.first["agent"], len(self.seeds)
        return Origin(met, trained, windows_s)

    @property
    def first(self) -> Row:
        """What all rows have in common, and the first episode."""
        return self.rows[0]


@dataclass(frozen=True)
class Results:
    """All rows of a suite's directory."""

    rows: Sequence[Row]

    @cached_property
    def cells(self) -> dict[Cell, RouterRows]:
        """Rows grouped by (entry, router)."""
        grouped: dict[Cell, list[Row]] = {}
        for row in self.rows:
            grouped.setdefault((row["entry"], row["agent"]), []).append(row)
        return {key: RouterRows(tuple(rows)) for key, rows in grouped.items()}

    @cached_property
    def windows_s(self) -> tuple[float, ...]:
        """Lengths of the windows that all rows count: older ones know fewer."""
        known = [set(row["windows_at_least"]) for row in self.rows]
        return tuple(sorted(map(float, set.intersection(*known)))) if known else ()

    @cached_property
    def entries(self) -> list[str]:
        """Ids of the entries with rows, in their order."""
        return list(dict.fromkeys(row["entry"] for row in self.rows))

    def tagged(self, tag: str) -> list[str]:
        """Ids of the entries that carry a tag."""
        carriers = {row["entry"] for row in self.rows if tag in row["tags"]}
        return [entry for entry in self.entries if entry in carriers]

    @cached_property
    def main(self) -> list[str]:
        """Entries that routers are judged on; without any, all whose bounds are known.

        But for those that are unseen, where there are others.
        """
        unbounded = {row["entry"] for row in self.rows if row["bound"] is None}
        known = [entry for entry in self.entries if entry not in unbounded]
        seen = [entry for entry in known if entry not in self.unseen]
        return self.tagged("main") or seen or known

    @cached_property
    def unseen(self) -> list[str]:
        """Entries of kinds in which no generalist learns."""
        return [*self.tagged("unseen"), *self.tagged("unseen-world")]

    @cached_property
    def routers(self) -> list[str]:
        """All routers, by how often figures show them, so that these have colours of their own.

        Learned ones first, then heuristics that are the best tuned one somewhere, then others.
        """
        best = {self.best_tuned(entry) for entry in self.main}
        kinds = {
            row["agent"]: (not row["learned"], row["agent"] not in best, not row["tuning"])
            for row in self.rows
        }
        return sorted(kinds, key=lambda agent: (kinds[agent], agent))

    def agents(self, entry: str) -> list[str]:
        """Routers with rows on an entry, best first."""
        names = [agent for found, agent in self.cells if found == entry]
        return sorted(names, key=lambda a: -self.cells[entry, a].mean("utility_of_peak"))

    def learned(self, entry: str) -> list[str]:
        """Learned routers on an entry, best first."""
        return [a for a in self.agents(entry) if self.cells[entry, a].first["learned"]]

    @cached_property
    def headline(self) -> str | None:
        """The learned router that reports set beside the paper's: one for all entries.

        The one that comes closest to the bound, over the main entries that all learned ones met.
        """
        learned = {agent for entry in self.main for agent in self.learned(entry)}
        common = [e for e in self.main if learned <= set(self.agents(e))] or self.main
        scores = {
            agent: [
                self.cells[e, agent].of_bound().mean() for e in common if (e, agent) in self.cells
            ]
            for agent in sorted(learned)
        }
        known = {agent: float(np.mean(values)) for agent, values in scores.items() if values}
        return max(known, key=lambda agent: known[agent]) if known else None

    def router_of(self, entry: str) -> str | None:
        """The headline router, or where it did not run the best learned one, or the best tuned."""
        if (entry, self.headline) in self.cells:
            return self.headline
        learned = self.learned(entry)
        return learned[0] if learned else self.best_tuned(entry)

    def differences(self, entry: str, agent: str, other: str) -> Floats:
        """Utility of peak of one router minus another's, shape (training seeds, episodes).

        Of the other, which mostly needs no training, the mean over its seeds.
        """
        return self.compared((entry, agent), (entry, other))[0]

    def compared(self, one: Cell, other: Cell) -> tuple[Floats, Origin]:
        """The differences of two cells whose episodes are the same, and where they are from."""
        ours = self.cells[one].values("utility_of_peak")
        theirs = self.cells[other].episodes("utility_of_peak")
        common = min(ours.shape[1], len(theirs))
        return ours[:, :common] - theirs[:common], self.cells[one].origin(common)

    def best_tuned(self, entry: str) -> str | None:
        """The control with the best validation score: what learning has to beat."""
        tuned = {}
        for agent in self.agents(entry):
            first = self.cells[entry, agent].first
            # Without a time of decisions it looks at the state, as no router can.
            if first["tuning"] and first["decision_us"]:
                tuned[agent] = first["tuning"]["validation_score"]
        return max(tuned, key=lambda agent: tuned[agent]) if tuned else None

    def alone(self, entry: str) -> list[str]:
        """Routers that give one model everything, from the largest model to the smallest.

        As far as rows can tell: profiles list their models from the smallest on.
        """
        models = self.cells[entry, self.agents(entry)[0]].first["share"]
        return [model for model in reversed(models) if (entry, model) in self.cells]

    def gain(self, entry: str, agent: str, other: str) -> Interval:
        """Utility of peak of one router minus another's, paired by episode."""
        return self.change((entry, agent), (entry, other))

    def change(self, one: Cell, other: Cell) -> Interval:
        """Utility of peak of one cell minus another's, paired by episode."""
        differences, origin = self.compared(one, other)
        return crossed_bootstrap([differences], np.random.default_rng(SEED), MEAN, [origin])

    def episodes_text(self, entry: str) -> str:
        """How many episodes an entry's intervals are of, and how many are independent."""
        cell = self.cells[entry, self.agents(entry)[0]]
        count = cell.values("utility_of_peak").shape[1]
        windows_s = cell.windows_s(count)
        if windows_s is None:
            unknown = "taken for independent, as rows do not tell where their windows overlap"
            return f"{worth_text(count, count)}, {unknown}."
        return f"{worth_text(count, independent_windows(windows_s))}."

    def gap(self, entry: str, agent: str) -> float:
        """Distance from a router to the bound, in units of the peak."""
        cell = self.cells[entry, agent]
        return cell.mean("bound_of_peak") - cell.mean("utility_of_peak")

    def curve(self, tag: str, agent: str, name: Number) -> tuple[Floats, Floats]:
        """Loads of the entries with `tag`, rising, and a metric of `agent` there."""
        points = sorted(
            (self.cells[entry, agent].first["load"], self.cells[entry, agent].of_requests(name))
            for entry in self.tagged(tag)
            if (entry, agent) in self.cells
        )
        loads, values = np.array(points, np.float64).reshape(-1, 2).T
        return loads, values

    def highest_available(self, tag: str, agent: str, available: float = AVAILABLE) -> float | None:
        """The load up to which `agent` answers in time, interpolated in the logarithm of the load.

        At least the highest load there is, if it is available there too.
        """
        loads, met = self.curve(tag, agent, "deadline_met")
        below = np.flatnonzero(met < available)
        if len(loads) == 0 or met[0] < available:
            return None
        if len(below) == 0:
            return float(loads[-1])
        i = int(below[0])
        share = (met[i - 1] - available) / (met[i - 1] - met[i])
        log = np.log(loads[i - 1]) + share * (np.log(loads[i]) - np.log(loads[i - 1]))
        return float(np.exp(log))


def number_of(name: Number, row: Row) -> float:
    """A field of a row, NaN for a bound not computed."""
    value = row[name]
    return float("nan") if value is None else float(value)


def share_of(model: str, row: Row) -> float:
    """Share of the requests of an episode that a model was given."""
    return row["share"][model]


def ratio(above: float | None, below: float | None) -> float | None:
    """A quotient, where there is one."""
    return above / below if above is not None and below else None
