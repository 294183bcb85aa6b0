"""Which files of the repository are on the site, as what, and how links between them read there."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
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

LINK = re.compile(r"(\]\(|\bsrc=\")([^)\s\"]+)")
"""Of Markdown, and of a picture in HTML."""


def of_code(name: str, text: str) -> str:
    """A program as a page."""
    return f"# `{name}`\n\n```python\n{text.rstrip()}\n```\n"


CONVERTED: dict[str, Callable[[str, str], str]] = {".py": of_code, ".ipynb": as_markdown}
"""Files that become pages, by how their names end: from name and content to Markdown."""


def elsewhere() -> list[str]:
    """The files beside docs/ that there are, as paths of the repository."""
    found = [path for pattern in ELSEWHERE for path in sorted(ROOT.glob(pattern))]
    return [path.relative_to(ROOT).as_posix() for path in found]


def place(path: str) -> str:
    """Where on the site a file of the repository stands: docs/ itself is the root."""
    stem, ending = posixpath.splitext(path.removeprefix("docs/"))
    return stem + (".md" if ending in CONVERTED else ending)


def relinked(markdown: str, path: str) -> str:
    """The Markdown of a file with links as they read on the site; what is in code stays."""
    parts = re.split(r"(^```.*?^```|`[^`\n]+`)", markdown, flags=re.MULTILINE | re.DOTALL)
    parts[::2] = [LINK.sub(lambda link: link[1] + target(link[2], path), p) for p in parts[::2]]
    return "".join(parts)


def target(link: str, path: str) -> str:
    """A link in the file `path` as it reads on the site."""
    named, mark, anchor = link.partition("#")
    if not named or ":" in named:
        return link
    there = place(posixpath.normpath(posixpath.join(posixpath.dirname(path), named)))
    return posixpath.relpath(there, posixpath.dirname(place(path)) or ".") + mark + anchor
