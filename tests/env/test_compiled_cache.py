"""What is compiled is compiled again when any file that it calls into has changed."""

import importlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event
from types import SimpleNamespace

import pytest

from llmroute_env.dynamics.once import one_process_at_a_time, one_process_at_a_time_in

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


@pytest.mark.verify
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


EPISODE = """
from llmroute_env import LLMRouteEnv
env = LLMRouteEnv("unpredictable-1", window_s=0.3, load=4.0)
env.reset(seed=3)
over, rewards, actions = False, [], 0
while not over:
    observation, reward, over, _, _ = env.step(actions % 3)
    rewards.append(reward)
    actions += 1
print(actions, sum(rewards), float(observation.sum()), env.summary())
"""
ONCE, UNCACHED = "compiling for this machine, once", "NUMBA_CACHE_DIR=FOLDER"
NOWHERE = "from numba.core.caching import CompileResultCacheImpl as c; c._locator_classes = []"
"""Where no folder can be written to."""


def output_of(program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "LLMROUTE_QUIET"}
    return subprocess.run(
        [sys.executable, "-c", program],
        env=env | variables,
        capture_output=True,
        text=True,
        check=True,
    )


def room(folder: Path) -> str:
    """A program that prints what a compiled function returns, which calls another one far below."""
    deep = folder / "room" / "deep" / "deeper"
    deep.mkdir(parents=True)
    for package in (deep, deep.parent, deep.parent.parent):
        (package / "__init__.py").touch()
    (deep / "inner.py").write_text(INNER.format(added=1))
    (folder / "room" / "outer.py").write_text(OUTER)
    paths = f"import sys; sys.path.insert(0, {str(folder)!r})"
    return f"{paths}; from room.outer import outer; print(outer(1.0))"


def watched(program: str) -> str:
    """The program, which also says when a function is compiled."""
    watch = "from llmroute_env.dynamics.compiled import compilations"
    return f"{watch}\nwith compilations(lambda: print('heard')):\n    exec({program!r})"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A program the first time, again, and, silenced, after an edit below a sub-package."""
    folder = tmp_path_factory.mktemp("compiled")
    program, cache = watched(room(folder)), folder / "cache"
    variables = {"NUMBA_CACHE_DIR": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}
    first, again = (output_of(program, **variables) for _ in range(2))
    cached = {path.name.split("-")[0] for path in cache.rglob("*.nbi")}
    (folder / "room" / "deep" / "deeper" / "inner.py").write_text(INNER.format(added=100))
    edited = output_of(program, **variables, LLMROUTE_QUIET="1")
    return SimpleNamespace(first=first, again=again, cached=cached, edited=edited)


def test_an_edit_below_a_sub_package_is_seen_by_its_callers(runs: SimpleNamespace):
    found = [done.stdout.splitlines()[-1] for done in (runs.first, runs.again, runs.edited)]
    assert found == ["4.0", "4.0", "202.0"]


def test_compiling_is_announced_once_and_can_be_silenced(runs: SimpleNamespace):
    assert runs.first.stderr.count(ONCE) == 1
    assert runs.again.stderr == runs.edited.stderr == ""


def test_a_watcher_hears_of_compiling(runs: SimpleNamespace):
    for done, compiles in ((runs.first, True), (runs.again, False), (runs.edited, True)):
        assert ("heard" in done.stdout.splitlines()) == compiles


def test_functions_that_only_compiled_code_calls_have_no_code_for_python(runs: SimpleNamespace):
    # What Python calls does nothing but to call the function.
    assert runs.cached == {"outer.outer", "outer.outer.inner", "inner.inner.inner"}


@pytest.mark.verify
def test_plain_python_yields_the_same_episode():
    assert output_of(EPISODE, NUMBA_DISABLE_JIT="1").stdout == output_of(EPISODE).stdout


@pytest.mark.verify
def test_of_processes_that_start_together_one_compiles(tmp_path: Path):
    begin = tmp_path / "begin"
    ready, call = room(tmp_path).rsplit("; ", 1)
    wait = f"from pathlib import Path\nwhile not Path({str(begin)!r}).exists(): pass"
    variables = {n: v for n, v in os.environ.items() if n != "LLMROUTE_QUIET"}
    variables["NUMBA_CACHE_DIR"] = str(tmp_path / "cache")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", f"{ready}\nprint('ready', flush=True)\n{wait}\n{call}"],
            env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    begin.touch()
    said = [process.communicate() for process in processes]
    assert [out for out, _ in said] == ["4.0\n"] * 3
    assert sum(ONCE in err for _, err in said) == 1


@pytest.mark.verify
def test_it_works_where_no_cache_can_be_kept(tmp_path: Path):
    program = room(tmp_path)
    for _ in range(2):
        found = output_of(f"{NOWHERE}\n{program}")
        assert found.stdout == "4.0\n"
        assert found.stderr.count(UNCACHED) == 1


@pytest.mark.verify
def test_functions_that_only_compiled_code_calls_are_read_back_by_others(tmp_path: Path):
    program, cache = room(tmp_path), {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    outer = tmp_path / "room" / "outer.py"
    (tmp_path / "room" / "other.py").write_text(
        outer.read_text().replace("outer", "other").replace("2.0", "3.0")
    )
    output_of(program, **cache)
    heard = watched(program.replace("outer", "other"))
    # What Python calls, and the function: not the one that it calls.
    assert output_of(heard, **cache).stdout.splitlines() == ["heard", "heard", "6.0"]


LINKED = """
import numpy as np
from llmroute_env.dynamics.compiled import compiled

@compiled
def plus(x: float, count: int) -> float:
    return x + count

@compiled
def twice_plus(x: float, count: int) -> float:
    return plus(x, 1) + plus(x, -1) + plus(x, np.int32(count)) + plus(x, count)
"""


def test_what_is_only_linked_is_typed_once_and_no_machine_code(tmp_path: Path, monkeypatch):
    # In a file of its own, of which no earlier run has left anything on disk.
    (tmp_path / "linked_pair.py").write_text(LINKED)
    monkeypatch.syspath_prepend(tmp_path)
    pair = importlib.import_module("linked_pair")
    assert pair.twice_plus(1.0, 3) == 10.0
    (linked,) = pair.plus.get_overload.__self__.overloads.values()
    assert linked.library.get_pointer_to_function(linked.fndesc.llvm_func_name) == 0
    (run,) = pair.twice_plus.overloads.values()
    assert run.library.get_pointer_to_function(run.fndesc.llvm_func_name) != 0


def test_who_compiles_for_the_same_arguments_waits_and_nobody_else(tmp_path: Path):
    cache = SimpleNamespace(cache_path=str(tmp_path))
    go = {name: Event() for name in ("first", "second", "other", "not kept")}
    begun: SimpleQueue[str] = SimpleQueue()

    def compiling(name: str):
        def compile_it(signature: tuple[str, ...]) -> str:
            begun.put(name)
            assert go[name].wait(timeout=20)
            return name

        dispatcher = SimpleNamespace(_cache=cache, compile=compile_it)
        return one_process_at_a_time(dispatcher, lambda signature: signature[-1] != "not kept")

    signatures = {"second": ("a", "b"), "other": ("b", "b"), "not kept": ("a", "not kept")}
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(compiling("first"), ("a",))
        assert begun.get(timeout=10) == "first"
        others = {n: pool.submit(compiling(n), signature) for n, signature in signatures.items()}
        assert {begun.get(timeout=10) for _ in range(2)} == {"other", "not kept"}
        with pytest.raises(Empty):
            begun.get(timeout=0.5)
        for event in go.values():
            event.set()
        assert begun.get(timeout=10) == "second"
        assert first.result() == "first"
        assert all(other.result() == name for name, other in others.items())


def test_files_of_two_functions_are_not_written_at_the_same_time(tmp_path: Path):
    inside, most = 0, 0

    def count(*_: object) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.01)
        inside -= 1

    files = [SimpleNamespace(_cache_path=str(tmp_path), save=count, load=count) for _ in range(2)]
    for file in files:
        one_process_at_a_time_in(file)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for file in files:
                pool.submit(file.save, "key", "data")
                pool.submit(file.load, "key")
    assert most == 1
