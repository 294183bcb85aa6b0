"""The site builds without a warning, no link is broken, and it fetches nothing from elsewhere."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest

import agents
import llmroute_env
import traces
from benchmarks.site.notebooks import as_markdown
from benchmarks.site.pages import as_page, elsewhere, place
from benchmarks.site.parts import filled

from .browser import asked
from .pages import DOCS, PAGES, ROOT

NEEDS = ("mkdocs", "material", "mkdocstrings_handlers")
LOADS = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src"}
"""Elements that fetch something when a page is shown."""


class Links(HTMLParser):
    """What a page leads to, what it fetches, and the places in it that can be led to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.leads: list[str] = []
        self.fetches: list[str] = []
        self.places: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.places.add(found.get("id", ""))
        if tag == "a" and "href" in found:
            self.leads.append(found["href"])
        if tag in LOADS and LOADS[tag] in found:
            self.fetches.append(found[LOADS[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        pytest.skip(f"the extra `docs` is not installed: no {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Links]:
    return {page: Links(page) for page in sorted(site.rglob("*.html"))}


def inside(pages: dict[Path, Links]) -> Iterator[tuple[Path, Path, str]]:
    """Every link to the site itself: from where, to which file, to which place in it."""
    for page, links in pages.items():
        for link in [*links.leads, *links.fetches]:
            address, anchor = urldefrag(urljoin(page.as_uri(), link))
            if urlsplit(address).scheme == "file":
                yield page, Path(unquote(urlsplit(address).path)), unquote(anchor)


def test_no_link_is_broken(pages: dict[Path, Links]):
    found = list(inside(pages))
    # The page for addresses that are none is served from anywhere, so that its links are absolute.
    broken = [
        f"{page.name}: {there.name}#{anchor}"
        for page, there, anchor in found
        if page.name != "404.html"
        and (not there.exists() or (anchor and anchor not in pages[there].places))
    ]
    assert not broken
    assert len(found) > 1000


def test_pages_fetch_nothing_from_elsewhere(site: Path, pages: dict[Path, Links]):
    fetched = {link for links in pages.values() for link in links.fetches}
    assert not [link for link in fetched if urlsplit(link).netloc]
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text()), sheet


def test_every_page_is_there(site: Path):
    for page in PAGES:
        built = place(page).replace("README.md", "index.md").replace(".md", ".html")
        assert (site / built).exists(), page


@pytest.mark.parametrize("room", [llmroute_env, traces])
def test_reference_has_every_public_name(site: Path, room):
    text = "".join(page.read_text() for page in (site / "reference").iterdir())
    for name in room.__all__:
        assert re.search(rf'<h\d id="(llmroute_env|traces)\.(\w+\.)*{name}"', text), name


def test_reference_has_what_scripts_begin_with(site: Path):
    text = (site / "reference" / f"{agents.__name__}.html").read_text()
    for name in ("base.Agent", "loading.load", "runs.plan.Plan", "training.training.train"):
        assert f'id="agents.{name}"' in text


WIDTHS = """(page) => [420, 1280].map((width) => {
  page.defaultView.frameElement.style.width = `${width}px`;
  return page.documentElement.scrollWidth;
})"""
SOME = ("index.html", "environment.html", "paper.html", "reference/agents.html")


SORTED = """(page) => {
  const isLong = (table) => table.tBodies[0].rows.length > 5;
  const table = [...page.querySelectorAll("article table")].find(isLong);
  const heads = [...table.tHead.rows[0].cells];
  const column = heads.findIndex((cell) => cell.textContent == "columns");
  const cells = () => [...table.tBodies[0].rows].map((row) => row.cells[column].textContent);
  const told = [cells()];
  for (const _ of "12") { heads[column].querySelector("button").click(); told.push(cells()); }
  return told;
}"""


@pytest.fixture(scope="module")
def told(site: Path) -> dict[str, Any]:
    """Of some pages, how wide they are; of one, how a table of it is sorted."""
    sorts = f"page.location.pathname.endsWith('/{SOME[1]}') && ({SORTED})(page)"
    return asked(site, list(SOME), 1280, f"(page) => [({WIDTHS})(page), {sorts}]")


def wider(widths: dict[str, list[int]]) -> list[str]:
    """Pages that are wider than a screen."""
    return [name for name, (phone, desktop) in widths.items() if phone > 420 or desktop > 1280]


def test_no_page_is_wider_than_the_screen(told: dict[str, Any]):
    assert wider({name: widths for name, (widths, _) in told.items()}) == []
    assert told.keys() == set(SOME)


@pytest.mark.verify
def test_none_of_all_pages_is_wider_than_the_screen(site: Path):
    every = [page.relative_to(site).as_posix() for page in site.rglob("*.html")]
    widths = asked(site, every, 1280, WIDTHS)
    assert wider(widths) == []
    assert len(widths) == len(every)


def test_tables_can_be_sorted(told: dict[str, Any]):
    _, (before, once, twice) = told["environment.html"]
    assert before != sorted(before)
    assert once == sorted(before)
    assert twice == sorted(before, reverse=True)


def test_links_of_the_repository_are_links_of_the_site():
    text = "[a](../README.md#x), [b](how-to/train.md), [c](../examples/own_trace.py) `[d](../x)`"
    at_site = "[a](README.md#x), [b](how-to/train.md), [c](examples/own_trace.md) `[d](../x)`"
    assert as_page(text, "docs/routers.md") == at_site
    assert as_page("![](figures/a.svg)", "docs/x.md") == "![](figures/a.svg)"
    from_report = as_page("[m](../../../docs/benchmarks.md#i)", "benchmarks/results/a/report.md")
    assert from_report == "[m](../../../benchmarks.md#i)"
    assert (
        as_page("[o](https://a.b/c.md), [p](#q)", "docs/x.md") == "[o](https://a.b/c.md), [p](#q)"
    )


def test_code_and_lists_stay_what_they_are():
    row = "| [`a.py`](a.py) | `train` | [b](../README.md) |"
    assert as_page(row, "examples/README.md") == row.replace("(a.py", "(a.md")
    text = "one of\n- a\n  b\n- c\n```\nno\n- list [x](y.md)\n```\n"
    assert as_page(text, "docs/x.md") == text.replace("of\n-", "of\n\n-")


def test_links_to_what_the_site_lacks_are_text():
    text = "see [`the pins`](../constraints.txt) and [nothing](../nothing.txt)"
    assert as_page(text, "docs/x.md") == "see `the pins` and [nothing](nothing.txt)"


def test_repository_links_lead_somewhere():
    """Where they are read as files, too."""
    for name, path in PAGES.items():
        text = re.sub(r"^```.*?^```|`[^`\n]+`", "", path.read_text(), flags=re.M | re.S)
        for link in re.findall(r"\]\(([^)#\s]+)", text):
            assert "://" in link or (path.parent / link).exists(), f"{name}: {link}"


def test_navigation_leads_to_every_page():
    text = (ROOT / "mkdocs.yml").read_text()
    named = set(re.findall(r"^ +- .+: (\S+\.md)$", text.split("\nnav:\n")[1], re.MULTILINE))
    inside = [path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.*")]
    made = [path for path in inside if path.endswith((".md", ".ipynb"))]
    made += [path for path in elsewhere() if path.endswith((".md", ".ipynb"))]
    missing = {place(path) for path in made} - named
    assert not missing, f"each wants a line of `nav` in mkdocs.yml: {missing}"


def test_files_beside_docs_do_not_hide_pages():
    beside = [place(path) for path in elsewhere()]
    assert len(set(beside)) == len(beside)
    assert not [path for path in beside if (DOCS / path).exists()]


def test_notebooks_become_pages():
    cells = [
        {"cell_type": "markdown", "source": ["# First steps\n", "in words"]},
        {
            "cell_type": "code",
            "source": "print(1)\nplot()",
            "outputs": [
                {"output_type": "stream", "text": ["1\n"]},
                {"output_type": "display_data", "data": {"image/png": "QUJD\n", "text/plain": "a"}},
                {"output_type": "execute_result", "data": {"text/html": "<table></table>"}},
                {"output_type": "execute_result", "data": {"text/markdown": "*so*"}},
            ],
        },
    ]
    page = as_markdown("first.ipynb", json.dumps({"cells": cells}))
    assert page.startswith("# First steps\nin words\n\n```python\nprint(1)\nplot()\n```")
    assert "```text\n1\n```" in page
    assert 'src="data:image/png;base64,QUJD"' in page
    assert '<div class="output"><table></table></div>' in page
    assert page.endswith("\n\n*so*")
    assert as_markdown("bare.ipynb", json.dumps({"cells": cells[1:]})).startswith("# bare.ipynb\n")


def test_a_part_that_a_page_lacks_is_refused():
    page = "a\n<!-- generated: x -->\nold\n<!-- end -->\nb\n"
    new = filled(page, {"x": "new"})
    assert new == "a\n<!-- generated: x -->\n\nnew\n\n<!-- end -->\nb\n"
    assert filled(new, {"x": "new"}) == new
    with pytest.raises(ValueError, match=r"parts: got \['x'\]; accepted: each of x, y, once"):
        filled(page, {"x": "new", "y": "more"})
