"""Which files of the repository are on the site, as what, and how links between them read there."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from benchmarks.site.notebooks import as_markdown

ROOT = Path(__file__).resolve().parents[2]

ELSEWHERE = (
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "LICENSE"),
    *("examples/README.md", "examples/*.py", "examples/notebooks/*.ipynb"),
    *("benchmarks/results/*/report.md", "benchmarks/results/*/figures/*.svg"),
    *("llmroute_env/profiles/README.md", "traces/data/README.md"),
    "benchmarks/fidelity/data/README.md",
)
"""Files beside docs/ that the site has as well, where they lie."""

FENCED = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"`[^`\n]+`|(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^)\s]+)\)")
"""Code, which may look like one; or whether it is a picture, its text, where it leads."""

LIST = re.compile(r"^(?!- |\d+\. | |#|$)(.*)\n(?=- |1\. )", re.MULTILINE)
"""A line of text right before a list."""


def of_code(name: str, text: str) -> str:
    """A program as a page."""
    return f"# `{name}`\n\n```python\n{text.rstrip()}\n```\n"


CONVERTED: dict[str, Callable[[str, str], str]] = {".py": of_code, ".ipynb": as_markdown}
"""Files that become pages, by how their names end: from name and content to Markdown."""


@cache
def elsewhere() -> tuple[str, ...]:
    """The files beside docs/ that there are, as paths of the repository."""
    found = (path for pattern in ELSEWHERE for path in sorted(ROOT.glob(pattern)))
    return tuple(path.relative_to(ROOT).as_posix() for path in found)


def place(path: str) -> str:
    """Where on the site a file of the repository stands: docs/ itself is the root."""
    stem, ending = posixpath.splitext(path.removeprefix("docs/"))
    return stem + (".md" if ending in CONVERTED else ending)


def as_page(markdown: str, path: str) -> str:
    """The Markdown of a file as the site takes it; what is in code stays."""
    parts = FENCED.split(markdown)
    for i in range(0, len(parts), 2):
        # Other than most readers, Python-Markdown wants an empty line there.
        parts[i] = LIST.sub(r"\1\n\n", LINK.sub(partial(relink, path=path), parts[i]))
    return "".join(parts)


def relink(link: re.Match[str], path: str) -> str:
    """A link in the file `path` as it reads on the site; to files that the site lacks, its text."""
    picture, text, to = link.groups(default="")
    named, mark, anchor = to.partition("#")
    if not named or ":" in named:
        return link[0]
    there = posixpath.normpath(posixpath.join(posixpath.dirname(path), named))
    if not there.startswith("docs/") and there not in elsewhere() and (ROOT / there).exists():
        return text
    here = posixpath.dirname(place(path)) or "."
    return f"{picture}[{text}]({posixpath.relpath(place(there), here)}{mark}{anchor})"
