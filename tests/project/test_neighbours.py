"""A user's own file of the name of one of our packages is noticed when the library is imported."""

import subprocess
import sys
from pathlib import Path

from llmroute_env.neighbours import HERE, hidden_by

ROOT = Path(__file__).parents[2]


def imported(folder: Path) -> subprocess.CompletedProcess[str]:
    """What a script in the folder gets that imports the library."""
    script = folder / "script.py"
    script.write_text("import llmroute_env\nprint(llmroute_env.EnvConfig().gpus)\n")
    place = {"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(folder), "LLMROUTE_QUIET": "1"}
    command = [sys.executable, str(script)]
    return subprocess.run(command, capture_output=True, text=True, env=place, timeout=300)


def test_a_file_that_hides_what_the_library_needs_is_refused_by_name(tmp_path: Path):
    (tmp_path / "traces.py").write_text("mine = 1\n")
    done = imported(tmp_path)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: traces: Python finds {tmp_path / 'traces.py'}, which")
    assert "accepted: another name for that file" in last


def test_files_that_hide_others_of_our_packages_are_warned_of(tmp_path: Path):
    names = "agents", "benchmarks"
    for name in names:
        (tmp_path / f"{name}.py").write_text("mine = 1\n")
    done = imported(tmp_path)
    assert (done.returncode, done.stdout) == (0, "4\n")
    for name in names:
        warned = f"UserWarning: {name}: Python finds {tmp_path / name}.py, which hides"
        assert done.stderr.count(warned) == 1
    assert done.stderr.count("UserWarning: ") == 2


def test_nothing_is_said_where_nothing_is_hidden(tmp_path: Path):
    (tmp_path / "traces").mkdir()
    done = imported(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")
    assert HERE == ROOT
    assert [hidden_by(name) for name in ("traces", "agents", "benchmarks", "missing")] == [None] * 4
