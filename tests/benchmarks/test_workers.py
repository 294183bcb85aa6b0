"""Workers that die, and a suite that is killed half way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.evaluation.row_files import read_rows, without_times
from benchmarks.suites import workers
from benchmarks.suites.workers import WorkerDiedError, Workers, run_cells
from llmroute_env import ConfigError
from traces.errors import InputError

FAKE = """
import os, signal, time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Fake:
    number: int
    deaths: int
    needs: tuple = ()

    @property
    def output(self):
        return f"fake/{self.number}.txt"

    def run(self, inputs, scratch):
        scratch.mkdir(parents=True, exist_ok=True)
        died = len(list(scratch.glob("died-*")))
        if died < self.deaths:
            (scratch / f"died-{died}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.number == 99:
            (scratch / "pid").write_text(str(os.getpid()))
            time.sleep(120)
        if self.number < 0:
            raise ValueError("broken")
        return {self.output: f"{self.number ** 2} after {died}".encode()}
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A cell that kills its worker `deaths` times, in a module that workers find."""
    (tmp_path / "fake_cells.py").write_text(FAKE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    import fake_cells

    yield fake_cells.Fake
    sys.modules.pop("fake_cells")


def check_that_a_death_loses_nothing(fake, directory: Path, workers: Workers) -> None:
    cells = [fake(number, deaths=1 if number == 2 else 0) for number in range(5)]
    assert run_cells(cells, directory, workers, "fake") == 5
    found = {path.name: path.read_text() for path in (directory / "fake").iterdir()}
    assert found == {f"{n}.txt": f"{n * n} after {int(n == 2)}" for n in range(5)}
    assert files_below(directory / "scratch") == [], "a finished cell leaves nothing behind"
    assert run_cells(cells, directory, workers, "fake") == 0


def files_below(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def test_a_killed_worker_is_replaced(fake, tmp_path: Path):
    check_that_a_death_loses_nothing(fake, tmp_path / "out", Workers("local", 2))


@pytest.mark.verify
def test_a_killed_ray_worker_is_replaced(fake, tmp_path: Path):
    pytest.importorskip("ray")
    check_that_a_death_loses_nothing(fake, tmp_path / "out", Workers("ray", 2))


def test_a_cell_that_kills_every_worker_is_given_up(
    fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(workers, "RETRIES", 1)
    with pytest.raises(WorkerDiedError, match="2 in a row died, most likely of fake/7"):
        run_cells([fake(7, deaths=100)], tmp_path, Workers("local", 1), "fake")


def test_an_error_in_a_cell_is_raised_and_ends_the_others(fake, tmp_path: Path):
    slow = tmp_path / "scratch" / "fake-99.txt" / "pid"
    cells = [fake(99, deaths=0), fake(1, deaths=0), fake(-1, deaths=0)]
    with pytest.raises(ValueError, match="broken") as raised:
        run_cells(cells, tmp_path, Workers("local", 2), "fake")
    assert raised.value.__notes__ == ["while running the cell fake/-1.txt"]
    assert not alive(int(slow.read_text()))


def test_an_unknown_runner_is_refused():
    with pytest.raises(ConfigError, match="runner: got 'nix'; accepted: local, ray"):
        Workers("nix")


def test_ray_is_an_extra(fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match="runner: got 'ray', which is not installed"):
        run_cells([fake(1, deaths=0)], tmp_path, Workers("ray", 1), "fake")


RUN = """
import sys
from pathlib import Path
from benchmarks.suites.bench import bench
from benchmarks.suites.workers import Workers
from benchmarks.suites.validate import read_suite
bench(read_suite(Path(sys.argv[2])), Path(sys.argv[1]), Workers(count=0))
"""


ENDLESS = """
import sys
from pathlib import Path
from fake_cells import Fake
from benchmarks.suites.workers import Workers, run_cells
if __name__ == "__main__":
    run_cells([Fake(99, 0)], Path(sys.argv[1]), Workers("local", 1), "fake")
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A process that has ended stays until somebody asks for its exit code.
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def until(condition, patience_s: float = 60.0) -> bool:
    end = time.monotonic() + patience_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_workers_end_with_a_caller_that_is_killed(fake, tmp_path: Path):
    program, pid = tmp_path / "endless.py", tmp_path / "out" / "scratch" / "fake-99.txt" / "pid"
    program.write_text(ENDLESS)
    caller = subprocess.Popen(
        [sys.executable, str(program), str(tmp_path / "out")], stderr=subprocess.DEVNULL
    )
    assert until(lambda: pid.exists() and pid.read_text() != "")
    worker = int(pid.read_text())
    assert alive(worker)
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    assert until(lambda: not alive(worker))


def rows_written(directory: Path) -> int:
    return len(list((directory / "rows").rglob("*.jsonl")))


@pytest.mark.verify
def test_a_suite_killed_half_way_resumes(finished: Path, tmp_path: Path):
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", RUN, str(tmp_path), str(finished)]
    quiet = {"cwd": root, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **quiet)
    while rows_written(tmp_path) < 2 and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    half = {path: path.stat().st_mtime_ns for path in (tmp_path / "rows").rglob("*.jsonl")}
    assert 2 <= len(half) < 6, "it was to be killed half way"
    subprocess.run(command, check=True, **quiet)
    for path, written in half.items():
        assert path.stat().st_mtime_ns == written
    assert lines(tmp_path) == lines(finished)
    assert files_below(tmp_path / "scratch") == [], "of an interrupted training neither"


def lines(directory: Path) -> list[str]:
    """Rows as bytes, but for times."""
    return [json.dumps(without_times(row)) for row in read_rows(directory)]
