"""Notebooks as Markdown, with the outputs that they were kept with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def as_markdown(name: str, text: str) -> str:
    """A notebook, given as JSON, as a page; `name` is its title if it has none."""
    cells = "\n\n".join(of_cell(cell) for cell in json.loads(text)["cells"])
    return cells if cells.startswith("# ") else f"# {name}\n\n{cells}"


def of_cell(cell: Mapping[str, Any]) -> str:
    """One cell with its outputs."""
    source = joined(cell["source"])
    if cell["cell_type"] != "code":
        return source
    return "\n\n".join([fenced(source, "python"), *map(of_output, cell["outputs"])])


def of_output(output: Mapping[str, Any]) -> str:
    """What a cell printed, returned or drew; of several forms the one that shows most."""
    data = output.get("data", {})
    if "image/png" in data:
        image = joined(data["image/png"]).replace("\n", "")
        return f'<img alt="output of the cell above" src="data:image/png;base64,{image}">'
    if "text/markdown" in data:
        return joined(data["text/markdown"])
    for form in ("image/svg+xml", "text/html"):
        if form in data:
            return f'<div class="output">{joined(data[form])}</div>'
    return fenced(joined(output.get("text", data.get("text/plain", ""))), "text")


def fenced(text: str, language: str) -> str:
    """Text as a block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def joined(text: str | Sequence[str]) -> str:
    """Text that notebooks keep whole or as lines."""
    return text if isinstance(text, str) else "".join(text)
