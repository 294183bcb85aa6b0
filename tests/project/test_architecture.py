"""traces <- llmroute_env <- agents <- benchmarks, and who may import what."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("traces", "llmroute_env", "agents", "benchmarks")
FACES_GYMNASIUM = {
    "llmroute_env/__init__.py",
    "llmroute_env/cuda/vector_env.py",
    "llmroute_env/devices.py",
    "llmroute_env/env.py",
    "llmroute_env/route_spec.py",
    "llmroute_env/sb3.py",
    "llmroute_env/vector_env.py",
    "llmroute_env/rendering/renderer.py",
}
MEASURES_MODELS = ("benchmarks/latency.py", "benchmarks/measuring/")
FACES_SB3 = ("llmroute_env/sb3.py", "benchmarks/curves/sb3.py")
BENCHMARKS = (
    ("drawing", "evaluation"),
    ("tables",),
    ("bounds", "figures", "speed", "suites.entries", "watching"),
    ("suites",),
    ("report.look", "report.marks", "report.sorting"),
    ("report.data", "report.page"),
    ("report.guards",),
    ("report.text", "report.svg"),
    ("report.shifts",),
    ("report.costs", "report.paper.figures"),
    ("report.paper.windows",),
    ("report.paper.claims",),
    ("report.paper.static",),
    ("report.paper.summary",),
    ("report",),
    ("fidelity", "leaderboard.confirmed"),
    ("leaderboard.board",),
    ("leaderboard",),
    ("demo", "headroom", "latency", "reference_levels", "shipping", "study"),
    ("curves.scores",),
    ("curves.sb3",),
    ("measuring", "site"),
    ("commands",),
    ("cli",),
)
"""Rooms and files of `benchmarks`, the lowest first; those side by side do not know each other."""
NAMES_ENTRIES = ("report.classes", "report.paper")
"""Chapters on certain entries; the rest of the report knows only rows."""

FLOORS = {
    "traces": (
        "errors",
        "typed",
        "tasks",
        "trace processes",
        "counts operations storage",
        "statistics synthesis readers",
        "catalog",
        "lengths",
        "workloads",
        "files",
    ),
    "traces.processes": ("arrivals regimes", "modulated"),
    "traces.readers": (
        "formats growing packing reports",
        "blocks refusals values",
        "counts_layout falls quoting stamps tables",
        "counts days requests",
        "read",
    ),
    "llmroute_env": (
        "errors neighbours",
        "engine_specs signal_specs",
        "specs",
        "failure_specs",
        "dynamics profiles",
        "config",
        "simulation",
        "engine_scenarios recording rendering",
        "route_spec toml_values world_scenarios",
        "scenarios",
        "problem",
        "env vector_env",
        "cuda sb3",
        "devices",
        "__main__",
    ),
    "llmroute_env.dynamics": (
        "linked once passed",
        "compiled features state",
        "cluster records streams tournament",
        "actions world",
        "dispatch noise periods returns reward window",
        "masks",
        "service",
        "scrapes",
        "machines signals",
        "observation routing",
        "failing",
        "episode",
        "stepping",
    ),
    "llmroute_env.dynamics.service": (
        "batches border completions counts predicted_work published queues",
        "continuous static_batching",
        "models",
    ),
    "llmroute_env.dynamics.service.continuous": (
        "arrays",
        "blocks heaps step_times tables",
        "sizing slots",
        "steps",
        "predictions",
        "requests shown",
        "model",
    ),
    "llmroute_env.simulation": (
        "episodes failures outages snapshots summary tape",
        "tables",
        "simulation",
    ),
    "llmroute_env.cuda": (
        "memory toolchain",
        "layout",
        "kernels room tiled tiles",
        "device threads",
        "simulation",
        "vector_env",
    ),
    "llmroute_env.recording": (
        "files recording request_slices serialization",
        "sights",
        "run_card timeline",
    ),
    "llmroute_env.rendering": (
        "canvas scene",
        "picture",
        "renderer",
        "sparing",
    ),
    "agents": (
        "base columns interruption",
        "settings",
        "compiled",
        "heuristics",
        "routers",
        "runs",
        "learners serving",
        "loading training",
    ),
    "agents.compiled": (
        "balancers layers rules",
        "attention",
        "networks",
        "policies",
        "guards making rollouts threads",
    ),
    "agents.heuristics": (
        "instances models pairs past",
        "late",
        "lookahead",
        "table",
        "tuning",
    ),
    "agents.settings": (
        "checks families order",
        "parts",
        "changes own sb3",
        "presets",
    ),
    "agents.routers": (
        "layers",
        "networks",
        "build ensembles logits recurrent",
    ),
    "agents.runs": (
        "checkpoint",
        "card",
        "trained",
        "members",
        "plan",
    ),
    "agents.serving": (
        "guards",
        "compiled export onnx",
        "ways",
    ),
    "agents.learners": (
        "replay rows training_env validation",
        "device_experience device_training experience grounds",
        "device_rollouts double_dqn rollout_iteration sb3",
        "device_dqn device_ppo",
        "learner",
    ),
    "agents.learners.sb3": (
        "generators memory",
        "replay_buffer rollout_buffer",
        "models",
        "learner",
    ),
    "agents.training": (
        "monitor",
        "levels outcome training",
        "combining",
    ),
}
"""Rooms whose files and inner rooms stand on floors: each imports from the floors before its own,
never from its own floor or a later one."""


@cache
def full_names(path: Path) -> set[str]:
    """Everything that a file imports, wherever in it, as `package.module.name`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports name their package in full"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def imported(path: Path) -> set[str]:
    """Top-level names of everything that a file imports, wherever in it."""
    return {name.split(".")[0] for name in full_names(path)}


def imported_within(path: Path, room: str) -> set[str]:
    """The files and inner rooms of a room that a file imports from."""
    inside = [name for name in full_names(path) if name.startswith(f"{room}.")]
    return {name.removeprefix(f"{room}.").split(".")[0] for name in inside}


def sources(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@cache
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
    rooms = [(floor, room) for floor, names in enumerate(BENCHMARKS) for room in names]
    known = [(len(r), f, r) for f, r in rooms if module == r or module.startswith(f"{r}.")]
    assert known, f"benchmarks.{module}: no room of BENCHMARKS holds it"
    return max(known)[1:]


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_one_way(room: str):
    above = set(ROOMS[ROOMS.index(room) + 1 :]) | {"tests"}
    for path in sources(room):
        assert not imported(path) & above, path


@pytest.mark.parametrize("room", FLOORS)
def test_imports_within_a_room_point_one_way(room: str):
    floor_of = {name: i for i, names in enumerate(FLOORS[room]) for name in names.split()}
    folder = room.replace(".", "/")
    for path in sources(folder):
        own = path.relative_to(ROOT / folder).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        assert own in floor_of, f"{path}: on which floor of FLOORS is it?"
        for other in imported_within(path, room) - {own}:
            assert floor_of.get(other, len(FLOORS[room])) < floor_of[own], f"{path}: {other}"


@pytest.mark.parametrize("room", FLOORS)
def test_floors_name_what_is_there(room: str):
    folder = ROOT / room.replace(".", "/")
    for name in " ".join(FLOORS[room]).split():
        assert (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file(), name


def test_rooms_of_the_benchmarks_know_only_lower_ones():
    for module, imports in modules().items():
        for other in imports:
            (floor, room), (lower, known) = room_of(module), room_of(other)
            assert lower < floor or known == room, f"{module} imports {other}"


def test_every_declared_room_is_one():
    held = {room_of(module)[1] for module in modules()}
    assert held == {room for rooms in BENCHMARKS for room in rooms}


def test_reports_read_rows():
    for module, imports in modules().items():
        if module.startswith("report"):
            suites = {other for other in imports if other.startswith("suites")}
            allowed = "suites.entries" if module.startswith(NAMES_ENTRIES) else "nothing"
            assert all(other.startswith(allowed) for other in suites), module


def test_torch_is_for_agents_only():
    for room in ("traces", "llmroute_env", "benchmarks"):
        for path in sources(room):
            if path.relative_to(ROOT).as_posix().startswith((*MEASURES_MODELS, *FACES_SB3)):
                continue
            assert not imported(path) & {"torch", "stable_baselines3", "sb3_contrib"}, path


def test_nobody_below_the_agents_imports_the_adapter_for_sb3():
    for room in ("traces", "llmroute_env"):
        for path in sources(room):
            assert not any(name.startswith("llmroute_env.sb3") for name in full_names(path)), path


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
