"""Classes of users: what each came to, and what routers lose that believe wrong weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from benchmarks.evaluation.intervals import Interval
from benchmarks.report.data import SCORE, Results, RouterRows
from benchmarks.report.page import Part, Section, Table
from benchmarks.report.text import OF_INTERVALS, interval_text, label, number
from benchmarks.suites.entries.priority import SCENARIO
from benchmarks.tables import percent
from llmroute_env.scenarios import PRIORITY
from llmroute_env.simulation.summary import share_of_peak

TITLE = "Classes of users"
WRONG, PREFIX = "wrong-weights", f"{SCENARIO}-weight-"
"""Tag of the entries whose routers believe another weight; their ids end with that weight."""

TRUE, WHO = PRIORITY[-1].weight, PRIORITY[-1].name

Costs = Mapping[float, Interval]
"""By believed weight: utility of peak minus that with the true weight, in the same episodes."""


def sections(results: Results) -> list[Section]:
    """The chapter, where rows tell of classes."""
    parts: list[Part] = [class_table(results, entry) for entry in with_classes(results)]
    if results.tagged(WRONG):
        parts += [*words(results), wrong_weights(results)]
    return [Section(TITLE, tuple(parts))] if parts else []


def with_classes(results: Results) -> list[str]:
    """Entries with several classes of users whose routers know their weights."""
    wrong = results.tagged(WRONG)
    return [
        entry
        for entry in results.entries
        if entry not in wrong and len(classes(results, entry)) > 1
    ]


def classes(results: Results, entry: str) -> list[str]:
    """Names of the classes that rows of an entry tell of, in their order."""
    cells = [results.cells[entry, agent] for agent in results.agents(entry)]
    return list(dict.fromkeys(n for cell in cells for r in cell.rows for n in r.get("classes", ())))


def class_table(results: Results, entry: str) -> Table:
    """Every router on one entry, best first: all users together, and class by class."""
    best, names = results.best_tuned(entry), classes(results, entry)
    rows = []
    for agent in results.agents(entry):
        cell = results.cells[entry, agent]
        known = best is not None and agent != best
        gain = interval_text(results.gain(entry, agent, str(best)), 4) if known else ""
        each = [text for name in names for text in of_class(cell, name)]
        score = interval_text(cell.interval(SCORE))
        rows.append((label(results, entry, agent), score, gain, *each))
    columns = [f"{name}: {what}" for name in names for what in ("utility of peak", "in time")]
    return Table(
        f"{entry}, class by class",
        ("router", "weighted utility of peak", "minus best tuned", *columns),
        tuple(rows),
        "Weights enter utility and its peak. All users: mean over episodes; one class: over its "
        f"requests in all episodes. Best tuned by validation: {best or 'none'}. "
        f"{OF_INTERVALS} {results.episodes_text(entry)}",
    )


def of_class(cell: RouterRows, name: str) -> tuple[str, str]:
    """Utility of peak and share in time of one class, over its requests in all rows."""
    found = [row["classes"][name] for row in cell.rows if name in row.get("classes", ())]
    requests = sum(users["requests"] for users in found)
    if requests == 0:
        return "-", "-"
    utility, peak = (sum(users[key] for users in found) for key in ("utility", "peak_utility"))
    in_time = sum(users["deadline_met"] * users["requests"] for users in found)
    return number(float(share_of_peak(utility, peak))), percent(in_time / requests)


def beliefs(results: Results) -> dict[float, str]:
    """Entries by the weight that their routers believe, rising, the true one among them."""
    wrong = {float(entry.removeprefix(PREFIX)): entry for entry in results.tagged(WRONG)}
    return dict(sorted({**wrong, TRUE: SCENARIO}.items()))


def believers(results: Results) -> list[str]:
    """Routers with rows on any entry where a wrong weight is believed, learned ones first."""
    found = {agent for entry in results.tagged(WRONG) for agent in results.agents(entry)}
    return [agent for agent in results.routers if agent in found]


def costs(results: Results, agent: str) -> Costs:
    """What each wrong weight with rows changes; nothing without rows for the true one."""
    if (SCENARIO, agent) not in results.cells:
        return {}
    return {
        weight: results.change((entry, agent), (SCENARIO, agent))
        for weight, entry in beliefs(results).items()
        if weight != TRUE and (entry, agent) in results.cells
    }


def wrong_weights(results: Results) -> Table:
    """Utility of peak by believed weight and router."""
    agents = believers(results)
    by_agent = {agent: costs(results, agent) for agent in agents}
    rows = []
    for weight, entry in beliefs(results).items():
        each = [scored(results, entry, agent, by_agent[agent].get(weight)) for agent in agents]
        rows.append((f"{weight:g}{', the true one' if weight == TRUE else ''}", *each))
    note = (
        f"Weighted utility of peak in the episodes of {SCENARIO}, where {WHO} users weigh "
        f"{TRUE:g}, of routers tuned and trained to believe another weight. In brackets: minus "
        "that with the true weight in the same episodes, of learned routers the mean over training "
        "seeds. Intervals resample episodes, not trainings."
    )
    trainings = [seeds(results, agent) for agent in learned(results)]
    head = ("believed weight", *agents)
    return Table("What wrong weights cost", head, tuple(rows), " ".join([note, *trainings]))


def scored(results: Results, entry: str, agent: str, cost: Interval | None) -> str:
    """Utility of peak, and what the believed weight changes, or a dash."""
    if (entry, agent) not in results.cells:
        return "-"
    changes = f" ({interval_text(cost, 4)})" if cost else ""
    return f"{number(results.cells[entry, agent].mean(SCORE))}{changes}"


def learned(results: Results) -> list[str]:
    """Learned routers that were run with true and wrong weights, the headline one first."""
    own = [agent for agent in results.learned(SCENARIO) if agent in believers(results)]
    return sorted(own, key=lambda agent: agent != results.headline)


def best_tuned(results: Results) -> str | None:
    """The control with the best validation score of those that were run with wrong weights."""
    cells = {a: results.cells[SCENARIO, a] for a in believers(results) if costs(results, a)}
    tuned = {a: cell.first["tuning"] for a, cell in cells.items() if cell.first["tuning"]}
    return max(tuned, key=lambda a: float(tuned[a]["validation_score"])) if tuned else None


def seeds(results: Results, agent: str) -> str:
    """Training seeds of a router by believed weight, and how far those of the true one differ."""
    cells = {w: results.cells.get((entry, agent)) for w, entry in beliefs(results).items()}
    counts = " / ".join(str(len(cell.seeds)) if cell else "-" for cell in cells.values())
    spread = np.ptp(results.cells[SCENARIO, agent].values(SCORE).mean(axis=1))
    apart = f"; with the true one their means lie up to {spread:.4f} apart" if spread else ""
    return f"Training seeds of {agent}, by weight: {counts}{apart}."


def words(results: Results) -> Iterator[str]:
    """What the worst wrong weight costs the learned router and the best tuned heuristic."""
    asked = dict.fromkeys(learned(results)[:1], "the learned router")
    if best := best_tuned(results):
        asked[best] = "the best tuned heuristic of those that were run with wrong ones"
    found = [f"{a}, {what}, {verdict(costs(results, a))}" for a, what in asked.items()]
    if found:
        said = "; ".join(found)
        yield f"{WHO.capitalize()} users weigh {TRUE:g}. Believing another weight, {said}."


def verdict(found: Costs) -> str:
    """The worst of the wrong weights, and those that serve better than the true one."""
    weight, worst = min(found.items(), key=lambda item: item[1].mean)
    loss = Interval(-worst.mean, -worst.ci_high, -worst.ci_low)
    text = "loses nothing"
    if loss.mean > 0:
        text = f"loses at worst {interval_text(loss, 4)} of peak if it is {weight:g}{doubt(loss)}"
    better = [
        f"{w:g} (by {interval_text(cost, 4)}{doubt(cost)})"
        for w, cost in found.items()
        if cost.mean > 0
    ]
    if better:
        text += f", and earns more than with the true one if it is {' or '.join(better)}"
    return text


def doubt(value: Interval) -> str:
    """Said where an interval does not tell a difference from none."""
    told = value.ci_low > 0 or value.ci_high < 0
    return "" if told else ", not told from zero"
