"""Parts of a page that are written from code, each between two comments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

PART = re.compile(r"(<!-- generated: ([\w-]+) -->).*?(<!-- end -->)", re.DOTALL)
COMMAND = "python -m benchmarks.site"
"""What writes all of them."""


def filled(page: str, parts: Mapping[str, str]) -> str:
    """The page with every part as it is now.

    Raises:
        ValueError: the page lacks a part, or has one that is not in `parts`.
    """
    named = [name for _, name, _ in PART.findall(page)]
    if sorted(named) != sorted(parts):
        raise ValueError(f"parts: got {named}; accepted: each of {', '.join(parts)}, once")
    return PART.sub(lambda found: f"{found[1]}\n\n{parts[found[2]]}\n\n{found[3]}", page)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    return "\n".join(map(line, [head, ["---"] * len(head), *rows]))


def line(cells: Sequence[str]) -> str:
    """A row; a bar in a cell is no border."""
    inner = " | ".join(cell.replace("|", r"\|") for cell in cells)
    return f"| {inner} |"
