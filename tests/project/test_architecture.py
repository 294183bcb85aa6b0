"""traces <- llmroute_env <- agents <- benchmarks, and who may import what."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("traces", "llmroute_env", "agents", "benchmarks")
FACES_GYMNASIUM = {
    "llmroute_env/__init__.py",
    "llmroute_env/env.py",
    "llmroute_env/vector_env.py",
    "llmroute_env/rendering.py",
}
MEASURES_MODELS = "benchmarks/latency.py"
FLOORS = (
    ("drawing", "tables", "evaluation"),
    ("bounds", "figures", "speed", "suites.entries"),
    ("suites",),
    ("report.data", "report.page"),
    ("report.text", "report.svg"),
    ("report.paper.figures",),
    ("report.paper.windows",),
    ("report.paper.claims",),
    ("report.paper.static",),
    ("report.paper.summary",),
    ("report",),
    ("demo", "latency", "pretrained", "reference_levels", "study"),
    ("commands",),
    ("cli",),
)
"""Rooms and files of `benchmarks`, the lowest first; those side by side do not know each other."""
NAMES_ENTRIES = ("report.classes", "report.paper")
"""Chapters on certain entries; the rest of the report knows only rows."""


def imported(path: Path) -> set[str]:
    """Top-level names of everything that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports name their package in full"
            names.add(str(node.module).split(".")[0])
    return names


def sources(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def modules() -> dict[str, set[str]]:
    """Every module of `benchmarks`, without that first word, and those that it imports."""
    paths = [path for path in sources("benchmarks") if path.name != "__init__.py"]
    names = {module_name(path): path for path in paths}
    found = {}
    for name, path in names.items():
        nodes = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
        wanted = {f"{n.module}.{alias.name}" for n in nodes for alias in n.names}
        wanted |= {str(n.module) for n in nodes}
        found[name] = {w.removeprefix("benchmarks.") for w in wanted} & names.keys() - {name}
    return found


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT / "benchmarks").with_suffix("").parts)


def room_of(module: str) -> tuple[int, str]:
    """Floor and name of the innermost declared room that a module is in."""
    rooms = [(floor, room) for floor, names in enumerate(FLOORS) for room in names]
    known = [(len(r), f, r) for f, r in rooms if module == r or module.startswith(f"{r}.")]
    assert known, f"benchmarks.{module}: no room of FLOORS holds it"
    return max(known)[1:]


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_one_way(room: str):
    above = set(ROOMS[ROOMS.index(room) + 1 :]) | {"tests"}
    for path in sources(room):
        assert not imported(path) & above, path


def test_rooms_of_the_benchmarks_know_only_lower_ones():
    for module, imports in modules().items():
        for other in imports:
            (floor, room), (lower, known) = room_of(module), room_of(other)
            assert lower < floor or known == room, f"{module} imports {other}"


def test_every_declared_room_is_one():
    held = {room_of(module)[1] for module in modules()}
    assert held == {room for rooms in FLOORS for room in rooms}


def test_reports_read_rows():
    for module, imports in modules().items():
        if module.startswith("report"):
            suites = {other for other in imports if other.startswith("suites")}
            allowed = "suites.entries" if module.startswith(NAMES_ENTRIES) else "nothing"
            assert all(other.startswith(allowed) for other in suites), module


def test_torch_is_for_agents_only():
    for room in ("traces", "llmroute_env", "benchmarks"):
        for path in sources(room):
            if path.relative_to(ROOT).as_posix() == MEASURES_MODELS:
                continue
            assert not imported(path) & {"torch", "stable_baselines3", "sb3_contrib"}, path


def test_gymnasium_is_for_the_files_that_face_it():
    for room in ("traces", "llmroute_env"):
        for path in sources(room):
            if "gymnasium" in imported(path):
                assert path.relative_to(ROOT).as_posix() in FACES_GYMNASIUM


def test_nothing_unpickles():
    for room in ROOMS:
        for path in sources(room):
            assert not imported(path) & {"pickle", "cloudpickle", "joblib", "dill"}, path
            text = path.read_text()
            assert "allow_pickle=True" not in text, path
            assert not re.search(r"(?<!safetensors\.)torch\.load\b", text), path
