"""The notebooks: small, shown as they were run, and run again by `make verify`."""

import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LEARNS = {"own_cluster"}
"""Those in which a network is trained: its score is not the same on every machine."""


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def printed(notebook: Any) -> list[str]:
    """What the cells printed, a text for each."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [
        "".join(o.get("text", "") for o in cell.outputs if o.output_type == "stream")
        for cell in cells
    ]


def test_all_are_listed_and_together_small():
    listed = re.findall(
        r"\(notebooks/(\w+)\.ipynb\)", (ROOT / "examples" / "README.md").read_text()
    )
    assert sorted(listed) == [path.stem for path in NOTEBOOKS]
    assert len(NOTEBOOKS) == 3
    assert sum(path.stat().st_size for path in NOTEBOOKS) < 300_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_shown_as_it_was_run(path: Path):
    notebook = read(path)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert all(output.output_type != "error" for output in outputs)
    assert all(output.get("name") != "stderr" for output in outputs)
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert str(Path.home()) not in path.read_text()
    for cell in cells:
        compile(cell.source, path.name, "exec")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path):
    words = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)#]+)\)", words):
        assert target.startswith("https://") or (path.parent / target).exists(), target


@pytest.mark.verify
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_and_says_what_it_shows(path: Path, monkeypatch: pytest.MonkeyPatch):
    from nbclient import NotebookClient

    monkeypatch.setenv("LLMROUTE_QUIET", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = read(path)
    shown = printed(notebook)
    place = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute()
    if path.stem not in LEARNS:
        assert printed(notebook) == shown
