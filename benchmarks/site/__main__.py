"""Write what is made of code into docs/: `python -m benchmarks.site`. A test compares the two."""

from __future__ import annotations

from benchmarks.site import citation, environment, gallery
from benchmarks.site.pages import ROOT
from benchmarks.site.parts import filled

if __name__ == "__main__":
    rates = gallery.all_rates()
    folder = ROOT / "docs" / gallery.FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    for name, drawing in gallery.pictures(rates).items():
        (folder / name).write_text(drawing, encoding="utf-8")
    pages = {
        "cite.md": citation.parts(),
        "environment.md": environment.parts(),
        "scenarios.md": gallery.parts(rates),
    }
    for page, parts in pages.items():
        path = ROOT / "docs" / page
        path.write_text(filled(path.read_text(encoding="utf-8"), parts), encoding="utf-8")
