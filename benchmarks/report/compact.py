"""The short form of a report, small enough to be kept beside the code: Markdown and a few figures.

report.md         the paper's results and ours, learned routers against heuristics, in words
table.md          the paper's results alone, for a README
figures/*.svg     at most six
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from benchmarks.evaluation.row_files import read_rows
from benchmarks.report import headline
from benchmarks.report.data import Results
from benchmarks.report.page import Part, Picture, Section, Table, markdown_part, to_markdown
from benchmarks.report.paper.summary import about_the_paper, results_table
from benchmarks.report.report import FIGURES, MARKDOWN, all_sections
from benchmarks.report.text import computed_with
from llmroute_env.recording.files import write_atomically

TABLE = "table.md"
KEPT = (
    *("static-windows", "static-gpus", "availability", "levels"),
    *("cost-signals", "cost-crash", "tokens-cost-signals", "tokens-cost-crash"),
    *("scaling-", "gains", "scores", "time-", "looseness", "windows"),
)
"""Beginnings of the names of the figures that are kept: the first of each, by rank."""
MOST = 6
"""Figures that are kept."""
LEFT_OUT = ("Each entry", "Effort and run cards")
"""Chapters that only the whole report has."""


def write_compact(directory: Path, out: Path) -> list[Path]:
    """Write report.md, figures, and of a suite about the paper table.md; returns the texts.

    Raises:
        ConfigError: no rows there.
    """
    results = Results(read_rows(directory))
    title = f"llmroute: suite {results.rows[0]['suite']}"
    chapters = [s for s in all_sections(results, directory) if s.title not in LEFT_OUT]
    figures = kept([part for s in chapters for part in s.parts if isinstance(part, Picture)])
    for figure in figures:
        write_atomically(out / FIGURES / f"{figure.name}.svg", figure.svg.encode())
    short = [shortened(chapter, figures) for chapter in chapters]
    first = sum(chapter.title == headline.TITLE for chapter in short)
    whole = [*short[:first], made(results), *(c for c in short[first:] if c.parts)]
    write_atomically(out / MARKDOWN, to_markdown(title, whole, FIGURES).encode())
    if not about_the_paper(results):
        return [out / MARKDOWN]
    table = markdown_part(untitled(results_table(results)), FIGURES)
    write_atomically(out / TABLE, table.encode())
    return [out / MARKDOWN, out / TABLE]


def kept(figures: Sequence[Picture]) -> list[Picture]:
    """The first figure of each kind, of the kinds that rank highest."""
    firsts = [next((f for f in figures if f.name.startswith(kind)), None) for kind in KEPT]
    return [figure for figure in firsts if figure is not None][:MOST]


def shortened(chapter: Section, figures: Sequence[Picture]) -> Section:
    """A chapter with only those figures."""
    parts: list[Part] = [p for p in chapter.parts if not isinstance(p, Picture) or p in figures]
    return Section(chapter.title, tuple(parts))


def untitled(table: Table) -> Table:
    """A table for another document, which has its own headings."""
    return dataclasses.replace(table, title="")


def made(results: Results) -> Section:
    """What the rows are and what computed them."""
    entries, routers = len(results.entries), len(results.routers)
    requests = sum(row["requests"] for row in results.rows)
    seeds = max(len(cell.seeds) for cell in results.cells.values())
    return Section(
        "What was run",
        (
            f"{entries} entries, {routers} routers; {len(results.rows):,} "
            f"rows of episodes with {requests:,} requests; up to {seeds} training seeds. Every "
            "router meets the same test episodes. `llmroute report` on the rows gives the whole "
            "report, with every entry, the effort of tuning and the run cards.",
            computed_with(results.rows),
        ),
    )
