"""What tests read of README and docs/: sections, tables, programs, commands."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {path.relative_to(ROOT).as_posix(): path for path in sorted(DOCS.rglob("*.md"))}
PAGES |= {name: ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")}
"""Every page that is written by hand, by its place."""


def text_of(page: str) -> str:
    return PAGES[page].read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    """What stands under a title of the second level."""
    return re.split(r"^## ", text_of(page).split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


def part(page: str, name: str) -> str:
    """A part of a page that is written from code."""
    return text_of(page).split(f"<!-- generated: {name} -->")[1].split("<!-- end -->")[0]


def rows(text: str) -> list[list[str]]:
    """Rows of a table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip().replace("`", "") for cell in line.split("|")[1:-1]] for line in lines[2:]]


def programs(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE)


def blocks(page: str) -> list[str]:
    """What stands in fences, of whatever language."""
    return re.findall(r"^```[^\n]*\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[str]:
    """Lines of blocks that call `llmroute`."""
    lines = [line for block in blocks(page) for line in block.replace("\\\n", "").splitlines()]
    return [line for line in lines if line.startswith("llmroute ")]
