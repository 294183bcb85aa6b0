"""One choice of the paper's setting changed at a time, at one spot of its grid; from rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.evaluation.metrics import WINDOW_S
from benchmarks.evaluation.rows import Number
from benchmarks.report.data import SCORE, Results
from benchmarks.report.page import Part, Table
from benchmarks.report.paper.static.grid import (
    H100,
    SHEDDING,
    STATIC,
    Multiples,
    Spot,
    chosen,
    multiples,
    router,
    text,
)
from benchmarks.report.paper.windows import LARGEST
from benchmarks.report.text import number
from benchmarks.suites.entries.static import LENGTHS_S, LOADS, POWERS, WORKLOADS

STEEP = "steep-pair"
BASE = Spot(STATIC, WORKLOADS[0], LOADS[1], LENGTHS_S[1])
"""From which one choice at a time is changed."""


Move = tuple[str, list[tuple[str, Multiples]]]
"""A choice, and the multiples by its values."""


class Change(NamedTuple):
    """One choice, changed: what it is, its value, and the entry that differs in nothing else."""

    choice: str
    value: str
    entry: str


UNCHANGED = Change("none", "", BASE.entry)
CHANGES = (
    Change("queue capacity", "64", "static-queue-64"),
    Change("queue capacity", "512", "static-queue-512"),
    Change("deadline", "0.25 s", "static-deadline-0.25"),
    Change("deadline", "1 s", "static-deadline-1"),
    *(Change("utility maximised", f"power {p}", f"static-power-{p}") for p in POWERS),
    Change("GPU profile", "H100", BASE._replace(setting=H100).entry),
    Change("shedding", "on", BASE._replace(setting=SHEDDING).entry),
)
AS_IT_IS = {
    "queue capacity": "unbounded",
    "deadline": "0.4 s",
    "utility maximised": "as counted",
    "GPU profile": "A100",
    "shedding": "off",
}
"""Values of the unchanged choices."""


def from_the_base(results: Results) -> Iterator[Move]:
    """Choices that are changed at one spot of the grid only."""
    who = chosen(results)
    unchanged = multiples(results, BASE.entry, who, WINDOW_S)
    for choice in ("queue capacity", "deadline", "utility maximised"):
        known = [(c.value, multiples(results, c.entry, who, WINDOW_S))
                 for c in CHANGES if c.choice == choice]  # fmt: skip
        values = [(value, found) for value, found in known if found is not None]
        if values and unchanged is not None:
            yield choice, [(AS_IT_IS[choice], unchanged), *values]


def sensitivity(results: Results) -> list[Part]:
    """One choice changed at a time, at one spot of the grid."""
    changes = [c for c in (UNCHANGED, *CHANGES) if (c.entry, LARGEST) in results.cells]
    if len(changes) < 2:
        return []
    lengths = [w for w in (1.0, 5.0, 10.0) if w in results.windows_s]
    whose = list(dict.fromkeys(name for name in (chosen(results), STEEP) if name))
    rows = [
        (
            f"{change.choice} {change.value}".strip(),
            *(text(multiples(results, change.entry, who, w)) for who in whose for w in lengths),
            *(
                " / ".join(share(results, change.entry, who, name) for who in (*whose, LARGEST))
                for name in ("utility_of_peak", "rejected", "shed")
            ),
        )
        for change in changes
    ]
    names = " / ".join((*whose, LARGEST))
    head = (
        "changed",
        *(f"{who}, {w:g} s" for who in whose for w in lengths),
        *(f"{what}: {names}" for what in ("utility of peak", "rejected, %", "shed, %")),
    )
    return [Table(f"(b) One choice changed, {BASE.entry}", head, tuple(rows), NOTE)]


NOTE = (
    "Windows at >= 96 / 98 / 99 % of peak as multiples of those of opt-6.7b alone under the same "
    "choice, by length of windows. Utility maximised: routers take the accuracies of smaller "
    "models, relative to the largest's, to this power when they learn or are tuned; what counts "
    "is unchanged."
)


def share(results: Results, entry: str, who: str, name: Number) -> str:
    """Utility of peak, or a share of the requests in per cent, or a dash."""
    agent = router(results, entry, who)
    if agent is None:
        return "-"
    cell = results.cells[entry, agent]
    if name == SCORE:
        return number(cell.mean(name))
    return number(100 * cell.of_requests(name), 1)
