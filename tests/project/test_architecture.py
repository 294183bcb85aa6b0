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
    "llmroute_env/rendering/renderer.py",
}
MEASURES_MODELS = "benchmarks/latency.py"


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


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_one_way(room: str):
    above = set(ROOMS[ROOMS.index(room) + 1 :]) | {"tests"}
    for path in sources(room):
        assert not imported(path) & above, path


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
