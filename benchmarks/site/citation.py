"""BibTeX from CITATION.cff: of the package, and of what it asks to be cited beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from benchmarks.site.pages import ROOT

KINDS = {"software": "software", "article": "article"}
"""Kinds of entries, by CITATION.cff's."""


def parts() -> dict[str, str]:
    """The part of docs/cite.md."""
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    entries = [entry("llmroute", told)]
    entries += [entry(key_of(found), found) for found in told["references"]]
    return {"bibtex": "\n".join(["```bibtex", "\n\n".join(entries), "```"])}


def key_of(found: Mapping[str, Any]) -> str:
    """Family name and year."""
    return f"{found['authors'][0]['family-names'].lower()}{found['year']}"


def entry(key: str, found: Mapping[str, Any]) -> str:
    """One entry."""
    fields = {"author": " and ".join(map(name_of, found["authors"])), "title": found["title"]}
    fields |= {name: found[name] for name in ("year", "version", "url") if name in found}
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@{KINDS[found['type']]}{{{key},", *lines, "}"])


def name_of(author: Mapping[str, str]) -> str:
    """A person, or in braces a group."""
    if "name" in author:
        return f"{{{author['name']}}}"
    return f"{author['family-names']}, {author['given-names']}"
