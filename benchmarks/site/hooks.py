"""What mkdocs calls while it builds the site: see `hooks` in mkdocs.yml."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from benchmarks.site.pages import CONVERTED, ROOT, as_page, elsewhere, place


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what lies beside docs/, and turn programs and notebooks into pages."""
    inside = [f"docs/{file.src_uri}" for file in files if Path(file.src_uri).suffix in CONVERTED]
    for path in inside:
        files.remove(files.src_uris[path.removeprefix("docs/")])
    for path in [*inside, *elsewhere()]:
        files.append(as_file(path, config))
    return files


def as_file(path: str, config: MkDocsConfig) -> File:
    """A file of the repository as one of the site."""
    source = ROOT / path
    if source.suffix not in CONVERTED:
        return File.generated(config, place(path), abs_src_path=str(source))
    text = CONVERTED[source.suffix](source.name, source.read_text(encoding="utf-8"))
    return File.generated(config, place(path), content=text)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A file of the repository becomes a page."""
    return as_page(markdown, path_of(page.file))


def path_of(file: File) -> str:
    """Where in the repository a page comes from."""
    beside = file.src_uri in map(place, elsewhere())
    return file.src_uri if beside else f"docs/{file.src_uri}"
