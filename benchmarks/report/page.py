"""A report as a page: HTML that needs nothing else, and Markdown."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.report.look import STYLE
from benchmarks.report.sorting import SCRIPT, policy

LONG = 24
"""Characters of a head that fit two or three lines of a narrow column."""
EMPTY = {"", "-"}
"""Cells without a value; of several values, each of its parts."""


@dataclass(frozen=True)
class Table:
    """Texts in rows under a head; `wordy`: words rather than numbers, so set to the left."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    wordy: bool = False


@dataclass(frozen=True)
class Picture:
    """A figure as SVG; `name` is that of its file beside the Markdown."""

    name: str
    caption: str
    svg: str


Part = str | Table | Picture


@dataclass(frozen=True)
class Section:
    """A chapter of a report."""

    title: str
    parts: tuple[Part, ...]


def to_html(title: str, sections: Sequence[Section]) -> str:
    """One page without links to anything outside; its one script sorts tables."""
    links = " ".join(f'<a href="#s{i}">{text(s.title)}</a>' for i, s in enumerate(sections))
    chapters = "".join(
        f'<section id="s{i}"><h2>{text(s.title)}</h2>{"".join(map(html_part, s.parts))}</section>\n'
        for i, s in enumerate(sections)
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{text(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy()}">'
        f"<style>{STYLE}</style></head>\n<body><h1>{text(title)}</h1><nav>{links}</nav>\n"
        f"{chapters}<script>{SCRIPT}</script></body></html>\n"
    )


def text(value: str) -> str:
    """Text escaped for HTML."""
    return html.escape(value)


def html_part(part: Part) -> str:
    """A paragraph, a table or a figure."""
    if isinstance(part, str):
        return f"<p>{text(part)}</p>\n"
    if isinstance(part, Picture):
        drawing = f'<div class="scroll" tabindex="0">{part.svg}</div>'
        return f"<figure>{drawing}<figcaption>{text(part.caption)}</figcaption></figure>\n"
    part = without_empty(part)
    head = "".join(f'<th scope="col"{width(cell)}>{text(cell)}</th>' for cell in part.head)
    rows = "".join(
        "<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>\n" for row in part.rows
    )
    kind = ' class="wordy"' if part.wordy else ""
    note = f'<p class="note">{text(part.note)}</p>' if part.note else ""
    return (
        f"<h3>{text(part.title)}</h3>"
        f'<div class="scroll" tabindex="0"><table{kind}>'
        f"<thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>{note}\n"
    )


def without_empty(table: Table) -> Table:
    """The table without columns, and then rows, that hold no value but their name."""
    columns = [
        i for i in range(len(table.head)) if i == 0 or not all(empty(row[i]) for row in table.rows)
    ]
    rows = (tuple(row[i] for i in columns) for row in table.rows)
    kept = tuple(row for row in rows if len(table.head) == 1 or not all(map(empty, row[1:])))
    return replace(table, head=tuple(table.head[i] for i in columns), rows=kept)


def empty(cell: str) -> bool:
    """Whether a cell holds no value."""
    return set(cell.split(" / ")) <= EMPTY


def width(cell: str) -> str:
    """The class of a head that would become many lines where there is little room."""
    return ' class="long"' if len(cell) > LONG else ""


def to_markdown(title: str, sections: Sequence[Section], figures: str) -> str:
    """The report as Markdown; `figures` is the folder of the pictures, as links name it."""
    chapters = [f"# {title}\n"]
    for section in sections:
        chapters.append(f"## {section.title}\n")
        chapters += [markdown_part(part, figures) for part in section.parts]
    return "\n".join(chapters)


def markdown_part(part: Part, figures: str) -> str:
    """A paragraph, a table or a figure."""
    if isinstance(part, str):
        return f"{part}\n"
    if isinstance(part, Picture):
        return f"![{part.caption}]({figures}/{part.name}.svg)\n\n*{part.caption}*\n"
    part = without_empty(part)
    side = "---" if part.wordy else "---:"
    head = [list(part.head), ["---"] + [side] * (len(part.head) - 1)]
    lines = ["| " + " | ".join(row) + " |" for row in [*head, *map(list, part.rows)]]
    note = f"\n{part.note}\n" if part.note else ""
    title = f"### {part.title}\n\n" if part.title else ""
    return title + "\n".join(lines) + f"\n{note}"
