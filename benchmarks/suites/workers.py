"""Runs cells in other processes: a local pool, or Ray. A worker that dies is replaced.

Workers return bytes and only the caller writes, so that one machine's disk holds everything and
both runners leave the same files. Finished cells are never run again.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from agents.compiled.making import largest_feasible
from agents.compiled.policies import episode_scores
from benchmarks.suites.cells import Cell, Files, execute
from llmroute_env.dynamics.compiled import QUIET
from llmroute_env.recording.files import write_atomically
from llmroute_env.scenarios import configure
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import require
from traces.errors import InputError

RUNNERS = ("local", "ray")
PATIENCE_S = 20.0
"""How long interrupted workers may take to save what they have."""
RETRIES = 3
"""How often a cell whose worker died is tried again."""

Results = Iterator[tuple[Cell, Files]]


@dataclass(frozen=True)
class Workers:
    """Who runs the cells of a suite, and how many at once.

    Attributes:
        runner: one of RUNNERS.
        count: processes side by side; 0 runs cells in this process, one after the other.
        ray_address: of a running Ray cluster; None starts a local one.
    """

    runner: str = "local"
    count: int = 2
    ray_address: str | None = None

    def __post_init__(self) -> None:
        require(self.runner in RUNNERS, "runner", self.runner, ", ".join(RUNNERS))
        require(self.count >= 0, "workers", self.count, ">= 0; 0 for this process itself")


class WorkerDiedError(InputError):
    """A cell killed every worker that it was given to."""


def run_cells(cells: Sequence[Cell], directory: Path, workers: Workers, title: str) -> int:
    """Run those of `cells` that are not finished; returns how many those were.

    All their needs must be finished. What one cell writes is there before the next is awaited, so
    an interruption loses only what was under way.
    """
    todo = [cell for cell in unique(cells) if not (directory / cell.output).exists()]
    for cell, files in tqdm(run(todo, directory, workers), title, len(todo), disable=not todo):
        save(cell, files, directory)
    return len(todo)


def run(cells: Sequence[Cell], directory: Path, workers: Workers) -> Results:
    """What each of `cells` returns, as they finish; nothing is written."""
    runner = RUN[workers.runner] if workers.count > 0 else in_this_process
    for cell, files in runner(list(cells), directory, workers):
        yield cell, files
        # The caller has saved them. What is left of a training is its replay: some 100 MB each.
        shutil.rmtree(scratch_of(cell, directory), ignore_errors=True)


def unique(cells: Sequence[Cell]) -> list[Cell]:
    """Cells without those that would write the same."""
    return list({cell.output: cell for cell in cells}.values())


def save(cell: Cell, files: Files, directory: Path) -> None:
    """Write what a cell returned, its main output last: it says that the cell is finished."""
    for name in sorted(files, key=lambda name: name == cell.output):
        write_atomically(directory / name, files[name])


def inputs_of(cell: Cell, directory: Path) -> Files:
    """The files that a cell needs."""
    return {name: (directory / name).read_bytes() for name in cell.needs}


def scratch_of(cell: Cell, directory: Path) -> Path:
    """Where a cell keeps what survives an interruption; gone when the cell is finished."""
    return directory.absolute() / "scratch" / cell.output.replace("/", "-")


def in_this_process(cells: list[Cell], directory: Path, workers: Workers) -> Results:
    """One after the other, here."""
    for cell in cells:
        yield cell, execute(cell, inputs_of(cell, directory), scratch_of(cell, directory))


def local(cells: list[Cell], directory: Path, workers: Workers) -> Results:
    """A pool of fresh processes; a dead worker breaks it, and the next pool takes what is left."""
    left = {cell.output: cell for cell in cells}
    if workers.count > 1 and len(left) > 1:
        compile_first()
    deaths = 0
    while left:
        done = 0
        try:
            for cell, files in _pool(list(left.values()), directory, workers):
                del left[cell.output]
                done += 1
                yield cell, files
        except BrokenProcessPool:
            deaths = 1 if done else deaths + 1
            if deaths > RETRIES:
                raise WorkerDiedError(
                    f"workers: {deaths} in a row died, most likely of {next(iter(left))}; "
                    "accepted: more memory, or fewer --workers"
                ) from None


def compile_first() -> None:
    """Compile what every cell needs, here and once: each worker would compile it for itself."""
    config = configure("stable", window_s=0.1)
    episode_scores(largest_feasible(config, 0.0), config, np.zeros(1, np.uint64))
    simulation = Simulation(config)
    simulation.begin(np.zeros(1, np.uint64))
    simulation.step(np.zeros(1, np.int64))


def _pool(cells: list[Cell], directory: Path, workers: Workers) -> Results:
    # Not forked: a child of a process with threads, as numba's and torch's, may hang.
    context = get_context("spawn")
    others = set(active_children())
    with ProcessPoolExecutor(workers.count, context, initializer=begin_worker) as pool:
        futures: dict[Future[Files], Cell] = {
            pool.submit(
                execute, cell, inputs_of(cell, directory), scratch_of(cell, directory)
            ): cell
            for cell in cells
        }
        try:
            for future in as_completed(futures):
                yield futures[future], result_of(future, futures[future])
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            # Ctrl-C has reached workers too, and a training ends with a checkpoint.
            end_processes(
                set(active_children()) - others,
                PATIENCE_S if isinstance(error, KeyboardInterrupt) else 0.0,
            )
            raise


def result_of(future: Future[Files], cell: Cell) -> Files:
    """What the cell returned; an error says of which cell it is."""
    try:
        return future.result()
    except Exception as error:
        error.add_note(f"while running the cell {cell.output}")
        raise


def end_processes(processes: Collection[BaseProcess], patience_s: float) -> None:
    """End them if they have not within `patience_s`: their cells may take minutes."""
    until_s = time.monotonic() + patience_s
    for process in processes:
        process.join(max(until_s - time.monotonic(), 0.0))
        process.terminate()
        process.join()


def begin_worker() -> None:
    """What a process of the pool does first."""
    # The caller has compiled most, and has said so.
    os.environ[QUIET] = "1"
    limit_threads()
    threading.Thread(target=die_with_parent, daemon=True).start()


def die_with_parent() -> None:
    """End with the caller: a killed one would leave the pool's processes waiting for work."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def limit_threads() -> None:
    """Keep numerical libraries to one thread: there is a process per core."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


def ray(cells: list[Cell], directory: Path, workers: Workers) -> Results:
    """A Ray cluster: the one at `ray_address`, or a local one that ends with the work.

    The package must be installed on its machines. A local one listens on the machine's network
    address, not on loopback alone: Ray knows no other way.
    """
    try:
        import ray as cluster
    except ImportError:
        raise InputError(
            "runner: got 'ray', which is not installed; accepted: local, or after "
            "`pip install 'llmroute[ray]'` ray"
        ) from None
    own = workers.ray_address is None
    settings: dict[str, Any] = {"num_cpus": workers.count, "include_dashboard": False}
    cluster.init(workers.ray_address, log_to_driver=False, **(settings if own else {}))
    try:
        yield from _ray_results(cluster, cells, directory)
    finally:
        cluster.shutdown()


def _ray_results(cluster: Any, cells: list[Cell], directory: Path) -> Results:
    remote = cluster.remote(num_cpus=1, max_retries=RETRIES)(_on_ray)
    folder = directory.absolute()
    left = {remote.remote(cell, inputs_of(cell, folder), folder): cell for cell in cells}
    while left:
        (reference,), _ = cluster.wait(list(left), num_returns=1)
        yield left.pop(reference), cluster.get(reference)


def _on_ray(cell: Cell, inputs: Files, directory: Path) -> Files:
    limit_threads()
    if directory.exists():
        return execute(cell, inputs, scratch_of(cell, directory))
    # Another machine, without the caller's directory.
    with tempfile.TemporaryDirectory() as folder:
        return execute(cell, inputs, Path(folder))


RUN: dict[str, Callable[[list[Cell], Path, Workers], Results]] = {"local": local, "ray": ray}
