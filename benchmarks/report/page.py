"""A report as a page: HTML that needs nothing else, and Markdown."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 80rem; margin: 2rem auto;
       padding: 0 1rem; }
p { max-width: 60rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.3rem; margin-top: 2.5rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
nav a { margin-right: 1rem; white-space: nowrap; }
figure { margin: 1rem 0; } figcaption { color: #555; font-size: .9em; max-width: 60rem; }
svg { max-width: 100%; min-width: 44rem; height: auto; display: block; }
.scroll { overflow-x: auto; scrollbar-width: thin; scrollbar-color: #888 #eee; background:
  linear-gradient(to right, #fff 2rem, #fff0) left / 4rem 100% no-repeat local,
  linear-gradient(to left, #fff 2rem, #fff0) right / 4rem 100% no-repeat local,
  linear-gradient(to right, #0004, #0000) left / .8rem 100% no-repeat,
  linear-gradient(to left, #0004, #0000) right / .8rem 100% no-repeat; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th { text-align: right; border-bottom: 1.5px solid #444; font-weight: 600; vertical-align: bottom; }
td { text-align: right; border-bottom: 1px solid #e4e4e4; }
th, td { padding: .2rem .9rem .2rem 0; } td:last-child, th:last-child { padding-right: .2rem; }
td { white-space: nowrap; } td:first-child, th:first-child { text-align: left; }
.wordy td, .wordy th { text-align: left; white-space: normal; }
.note { color: #555; font-size: .9em; }
"""


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
    """One page without scripts or links to anything outside."""
    links = " ".join(f'<a href="#s{i}">{text(s.title)}</a>' for i, s in enumerate(sections))
    chapters = "".join(
        f'<section id="s{i}"><h2>{text(s.title)}</h2>{"".join(map(html_part, s.parts))}</section>\n'
        for i, s in enumerate(sections)
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{text(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head>\n<body><h1>{text(title)}</h1><nav>{links}</nav>\n"
        f"{chapters}</body></html>\n"
    )


def text(value: str) -> str:
    """Text escaped for HTML."""
    return html.escape(value)


def html_part(part: Part) -> str:
    """A paragraph, a table or a figure."""
    if isinstance(part, str):
        return f"<p>{text(part)}</p>\n"
    if isinstance(part, Picture):
        drawing = f'<div class="scroll">{part.svg}</div>'
        return f"<figure>{drawing}<figcaption>{text(part.caption)}</figcaption></figure>\n"
    head = "".join(f"<th>{text(cell)}</th>" for cell in part.head)
    rows = "".join(
        "<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>\n" for row in part.rows
    )
    kind = ' class="wordy"' if part.wordy else ""
    note = f'<p class="note">{text(part.note)}</p>' if part.note else ""
    return (
        f'<h3>{text(part.title)}</h3><div class="scroll"><table{kind}>'
        f"<thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table></div>{note}\n"
    )


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
    side = "---" if part.wordy else "---:"
    head = [list(part.head), ["---"] + [side] * (len(part.head) - 1)]
    lines = ["| " + " | ".join(row) + " |" for row in [*head, *map(list, part.rows)]]
    note = f"\n{part.note}\n" if part.note else ""
    title = f"### {part.title}\n\n" if part.title else ""
    return title + "\n".join(lines) + f"\n{note}"
