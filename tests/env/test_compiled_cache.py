"""What is compiled is compiled again when any file that it calls into has changed."""

import os
import subprocess
import sys
from pathlib import Path

INNER = """
from llmroute_env.dynamics.compiled import compiled

@compiled
def inner(x):
    return x + {added}
"""
OUTER = """
from llmroute_env.dynamics.compiled import compiled
from room.deep.deeper.inner import inner

@compiled
def outer(x):
    return 2.0 * inner(x)
"""


def run(folder: Path) -> float:
    """`outer(1.0)`, in a process of its own that caches what it compiles in `folder`."""
    env = os.environ | {"NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    paths = f"import sys; sys.path.insert(0, {str(folder)!r})"
    program = f"{paths}; from room.outer import outer; print(outer(1.0))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def test_an_edit_below_a_sub_package_is_seen_by_its_callers(tmp_path: Path):
    deep = tmp_path / "room" / "deep" / "deeper"
    deep.mkdir(parents=True)
    for folder in (deep, deep.parent, deep.parent.parent):
        (folder / "__init__.py").touch()
    (tmp_path / "room" / "outer.py").write_text(OUTER)
    (deep / "inner.py").write_text(INNER.format(added=1))
    assert run(tmp_path) == 4.0
    assert run(tmp_path) == 4.0
    assert any((tmp_path / "cache").rglob("outer.outer*.nbi")), "nothing was cached"
    (deep / "inner.py").write_text(INNER.format(added=100))
    assert run(tmp_path) == 202.0


SHAPE = """
from typing import NamedTuple

class Point(NamedTuple):
    x: float
"""
MOVED = """
from llmroute_env.dynamics.compiled import compiled
from room.{module} import Point

@compiled
def first(point):
    return point.x

def outer(x):
    return first(Point(x))
"""


def test_a_cache_of_types_that_have_moved_is_made_anew(tmp_path: Path):
    room = tmp_path / "room"
    room.mkdir()
    (room / "__init__.py").touch()
    for module in ("shape", "form"):
        (room / f"{module}.py").write_text(SHAPE)
        (room / "outer.py").write_text(MOVED.format(module=module))
        assert run(tmp_path) == 1.0
        (room / f"{module}.py").unlink()
    assert any((tmp_path / "cache").rglob("outer.first*.nbi")), "nothing was cached"
