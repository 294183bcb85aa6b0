"""The chapter on budgets: what more decisions, larger networks and several of them are worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from agents.settings.presets import COMBINATIONS, SCALING, SETTINGS, Combination
from benchmarks.drawing import COLORS, new_figure
from benchmarks.report.data import SCORE, Results
from benchmarks.report.learned import signed
from benchmarks.report.marks import tell
from benchmarks.report.page import Picture, Section, Table
from benchmarks.report.svg import HIGHER, picture
from benchmarks.report.text import OF_INTERVALS, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE, BASE = "Larger budgets", "rollout-pi"
SIZES = "What a router took, and what it earns"


class Budget(NamedTuple):
    """What a router took: decisions of each training, widths of its layers, and trainings."""

    decisions: int
    hidden: tuple[int, ...]
    networks: int = 1
    is_taught: bool = False

    @property
    def layers(self) -> str:
        """The widths as a label."""
        return ", ".join(map(str, self.hidden))


class Axis(NamedTuple):
    """One panel: routers by what they differ in; but in the last, in nothing else."""

    label: str
    routers: tuple[str, ...]


AXES = (
    Axis("decisions, millions", ("rollout-pi-quarter", BASE, "rollout-pi-fourfold")),
    Axis("hidden layers", ("rollout-pi-small", BASE, "rollout-pi-large")),
    Axis("networks in the mean", (BASE, "rollout-pi-of-2", "rollout-pi-of-5")),
    Axis(
        "both, and taught",
        ("rollout-pi-fourfold-large", "rollout-pi-student", "rollout-pi-fourfold-large-student"),
    ),
)


def budget(agent: str) -> Budget:
    """What a router took; of a combination each of its trainings."""
    made = COMBINATIONS.get(agent, Combination(agent, 1))
    settings = SETTINGS[made.algorithm]
    return Budget(settings.decisions, settings.hidden, made.members, made.is_taught)


def place(axis: Axis, agent: str) -> str:
    """Where on an axis a router stands."""
    took = budget(agent)
    if axis.label.startswith("decisions"):
        return f"{took.decisions / 1e6:g}"
    if axis.label.startswith("hidden"):
        return took.layers
    if axis.label.startswith("networks"):
        return f"{took.networks}"
    return agent.removeprefix(f"{BASE}-").replace("-", "\n")


def sections(results: Results) -> list[Section]:
    """The chapter, where there are routers of other budgets."""
    parts: list[Table | Picture] = []
    for entry in results.main:
        agents = [agent for agent in results.learned(entry) if agent in known()]
        heuristic = results.best_tuned(entry)
        if heuristic and BASE in agents and len(agents) > 1:
            parts += [table(results, entry, heuristic, agents), shown(results, entry, heuristic)]
    return [Section(TITLE, tuple(parts))] if parts else []


def known() -> set[str]:
    """Routers whose budgets are compared."""
    return {BASE, *SCALING, *COMBINATIONS}


def table(results: Results, entry: str, heuristic: str, agents: Sequence[str]) -> Table:
    """Every router's budget and gain, best first."""
    head = ("router", "decisions", "layers", "networks", "training seeds", f"gain on {heuristic}")
    times = ("NumPy, p50 us", "p99 us")
    rows = [row(results, entry, heuristic, agent) for agent in agents]
    note = (
        "Decisions of each training; a student's layers are the usual ones, those that are named "
        "are its teachers'. Gains: mean difference in utility of peak in the same episodes. Times "
        f"of one decision as they were taken, beside other work. {OF_INTERVALS}"
    )
    return Table(f"{SIZES}: {entry}", (*head, f"on {BASE}", *times), tuple(rows), note)


def row(results: Results, entry: str, heuristic: str, agent: str) -> tuple[str, ...]:
    """One router."""
    took, cell = budget(agent), results.cells[entry, agent]
    networks = f"{took.networks}, taught to one" if took.is_taught else f"{took.networks}"
    times = cell.first["decision_us"] or {}
    return (
        agent,
        f"{took.decisions / 1e6:g} million",
        took.layers,
        networks,
        f"{len(cell.seeds)}",
        signed(results.gain(entry, agent, heuristic)),
        "" if agent == BASE else signed(results.gain(entry, agent, BASE)),
        number(times.get("p50"), 1),
        number(times.get("p99"), 1),
    )


def shown(results: Results, entry: str, heuristic: str) -> Picture:
    """The figure, with what it shows in words."""
    caption = (
        f"Utility of peak beyond {heuristic}'s on {entry}: mean and 95 % interval, which is over "
        "other arrivals too, and so much the same for all; small: each training."
    )
    return picture(f"scaling-{entry}", caption, figure(results, entry, heuristic))


def figure(results: Results, entry: str, heuristic: str) -> Figure:
    """A panel per axis; what is beside each other there differs in that alone."""
    found = [
        Axis(axis.label, tuple(a for a in axis.routers if (entry, a) in results.cells))
        for axis in AXES
    ]
    axes = [axis for axis in found if axis.routers]
    drawn, panels = new_figure(1, len(axes), (10.5, 3.4), sharey=True)
    for panel, axis, color in zip(panels[0], axes, COLORS, strict=False):
        for x, agent in enumerate(axis.routers):
            point(panel, results, (entry, heuristic, agent), x, color)
        panel.axhline(0.0, color="#555555", linewidth=0.8)
        panel.set_xticks(range(len(axis.routers)), [place(axis, a) for a in axis.routers])
        panel.set_xlim(-0.5, len(axis.routers) - 0.5)
        panel.set_xlabel(axis.label)
    panels[0][0].yaxis.set_major_formatter("{x:+g}")
    panels[0][0].set_ylabel(f"utility of peak, minus\n{heuristic}'s ({HIGHER})")
    return drawn


def point(panel: Axes, results: Results, who: tuple[str, str, str], x: int, color: str) -> None:
    """A router's gain with its interval, and that of each of its trainings."""
    entry, heuristic, agent = who
    value = results.gain(entry, agent, heuristic)
    each = results.differences(entry, agent, heuristic).mean(axis=1)
    panel.plot([x + 0.15] * len(each), each, ".", color=color, markersize=4, alpha=0.6)
    panel.plot([x, x], (value.ci_low, value.ci_high), color=color, linewidth=1.5)
    panel.plot(x, value.mean, "o", color=color, markersize=5)
    score = results.cells[entry, agent].mean(SCORE)
    tell(panel, f"{agent}: {score:.4f}\n{signed(value)}", x=(x - 0.5, x + 0.5))
