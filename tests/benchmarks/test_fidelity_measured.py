"""Predictions beside what gpu-check measured, in folders whose truth is known and in one of its."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cli import main
from benchmarks.fidelity.measured import STATISTICS, Measured, measured_in, step_times_in
from benchmarks.fidelity.recorded import Setup
from benchmarks.fidelity.serving import Requests, serve_in
from benchmarks.measuring.gpu_check import Check, run
from benchmarks.measuring.transformers_engine import installed
from llmroute_env import ConfigError

PROFILE = """
name = "steps-tiny"
tasks = ["any"]
step_times = "steps-tiny.csv"

[[gpus]]
name = "one"
memory_bytes = 1000000000
reserved_bytes = 0
max_num_seqs = 4
max_num_batched_tokens = 64
host_s = 0.0005

[[models]]
name = "tiny"
parameters = 1000
weights_bytes = 2000
kv_bytes_per_token = 100
context_tokens = 1024
accuracy = [0.5]
"""

STEPS = """table,gpu,model,row,column,us
linear,one,tiny,1,,1000
linear,one,tiny,64,,3000
decode,one,tiny,1,16,100
decode,one,tiny,1,512,400
decode,one,tiny,8,16,300
decode,one,tiny,8,512,900
prefill,one,tiny,16,0,50
prefill,one,tiny,64,0,300
head,one,tiny,1,,20
head,one,tiny,8,,60
"""

LIMITS = {"most_running": 4, "most_tokens": 64, "pages": 16}


def write_steps(folder: Path, model: str = "tiny") -> None:
    for name, text in (("toml", PROFILE), ("csv", STEPS)):
        (folder / f"steps-{model}.{name}").write_text(text.replace("tiny", model))


def simulated(folder: Path, stretch: float = 1.0) -> dict[str, Any]:
    """An open loop as gpu-check tells of one; all of a request takes `stretch` times as long."""
    rng = np.random.default_rng(0)
    arrival_s = np.sort(rng.uniform(0.0, 0.5, 80)).round(6)
    prompts, outputs = rng.integers((1, 1), (200, 30), (80, 2), np.int32).T
    setup = Setup("any", 4, 64, 16 * 256 // 16)
    times = step_times_in(folder / "steps-tiny.toml", "tiny")
    served = serve_in(times, setup, Requests(arrival_s, prompts, outputs))
    ends = [
        (arrival_s + stretch * (at_s - arrival_s)).round(6)
        for at_s in (served.first_token_s, served.last_token_s)
    ]
    return {
        "limits": LIMITS,
        "page_tokens": 256,
        "load": 0.7,
        "attention": "in pages",
        "graphs": [1, 2, 4],
        "arrival_s": arrival_s.tolist(),
        "queued_s": arrival_s.tolist(),
        "first_token_s": ends[0].tolist(),
        "last_token_s": ends[1].tolist(),
        "prompt_tokens": prompts.tolist(),
        "output_tokens": outputs.tolist(),
    }


def measured_with(
    folder: Path, change: Callable[[dict[str, Any]], None] = lambda told: None, **options: float
) -> Measured:
    write_steps(folder)
    told = simulated(folder, **options)
    change(told)
    (folder / "serving-tiny-70.json").write_text(json.dumps(told))
    return measured_in(folder)


def test_what_the_simulator_did_is_what_it_predicts(tmp_path: Path):
    (loop,) = measured_with(tmp_path).loops
    assert STATISTICS == ("mean", "p50", "p99")
    assert [(row.figure, row.statistic) for row in loop.rows] == [
        (figure, statistic) for figure in ("TTFT", "TPOT", "E2E") for statistic in STATISTICS
    ]
    assert (loop.model, loop.load, loop.requests, loop.answered) == ("tiny", 0.7, 80, 80)
    # To the microseconds of the file.
    assert max(abs(row.error) for row in loop.rows) < 1e-3
    # Of an engine that has something to do: they wait for each other.
    assert loop.rows[0].measured_s > 0.05


def test_an_engine_that_takes_twice_as_long_is_seen(tmp_path: Path):
    (loop,) = measured_with(tmp_path, stretch=2.0).loops
    assert [row.error for row in loop.rows] == pytest.approx([-0.5] * 9, abs=1e-3)


def test_requests_that_were_not_answered_are_load_and_nothing_else(tmp_path: Path):
    def forget(told: dict[str, Any]) -> None:
        told["last_token_s"][40:60] = [None] * 20
        told["first_token_s"][50:60] = [None] * 10

    (loop,) = measured_with(tmp_path, forget).loops
    assert (loop.requests, loop.answered) == (80, 60)
    assert max(abs(row.error) for row in loop.rows) < 1e-3


def test_a_folder_says_what_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    measured_with(tmp_path)
    told = json.loads((tmp_path / "serving-tiny-70.json").read_text())
    (tmp_path / "serving-tiny-full.json").write_text("what is at once is no open loop")
    (tmp_path / "serving-other-70.json").write_text(json.dumps(told))
    none = told | {"load": 1.1, "last_token_s": [None] * 80}
    (tmp_path / "serving-tiny-110.json").write_text(json.dumps(none))
    write_steps(tmp_path, "alone")
    found = measured_in(tmp_path)
    assert [loop.load for loop in found.loops] == [0.7]
    assert found.left_out == {
        "serving-other-70.json": "there is no steps-other.toml",
        "serving-tiny-110.json": "no request was answered in time",
        "steps-alone.toml": "there is no open loop",
    }
    assert main(["fidelity", "--measured", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    head = "tiny at 70% by our loop, 80 of 80 requests (attention in pages, CUDA graphs)"
    assert f"| {head} | measured | predicted | error |" in said
    assert "Left out: steps-alone.toml, there is no open loop." in said


def test_runs_of_transformers_are_shown_after_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    measured_with(tmp_path)
    told = json.loads((tmp_path / "serving-tiny-70.json").read_text())
    (tmp_path / "serving-tiny-110.json").write_text(json.dumps(told | {"load": 1.1}))
    theirs = told | {"engine": "transformers 5.24.0", "attention": "transformers sdpa"}
    (tmp_path / "serving-tiny-transformers-70.json").write_text(json.dumps(theirs | {"graphs": []}))
    (tmp_path / "serving-tiny-transformers-full.json").write_text("all at once is no open loop")
    (tmp_path / "serving-tiny-transformers.json").write_text('{"failed": "RuntimeError: no room"}')
    found = measured_in(tmp_path)
    assert [(loop.model, loop.engine, loop.load) for loop in found.loops] == [
        ("tiny", "our loop", 0.7),
        ("tiny", "our loop", 1.1),
        ("tiny", "transformers 5.24.0", 0.7),
    ]
    assert found.left_out == {"serving-tiny-transformers.json": "RuntimeError: no room"}
    assert main(["fidelity", "--measured", str(tmp_path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out.splitlines()[-1])["measured"]
    assert [one["engine"] for one in shown] == ["our loop"] * 2 + ["transformers 5.24.0"]
    assert main(["fidelity", "--measured", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    steps = "attention transformers sdpa, no CUDA graphs"
    assert f"| tiny at 70% by transformers 5.24.0, 80 of 80 requests ({steps}) | measured" in said
    assert "Left out: serving-tiny-transformers.json, RuntimeError: no room." in said


def test_a_folder_without_such_files_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(ConfigError, match=r"measured: got '.* with nothing'; accepted: a folder"):
        measured_in(tmp_path)
    (tmp_path / "speed.json").write_text("{}")
    assert main(["fidelity", "--measured", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "with speed.json" in said
    assert "steps-MODEL.toml and serving-MODEL-70.json or -110.json" in said
    with pytest.raises(ConfigError, match=r"measured: got '.*none'; accepted: a folder with steps"):
        measured_in(tmp_path / "none")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda told: told.pop("limits"), "got KeyError 'limits'"),
        (lambda told: told["arrival_s"].pop(), r"got ValueError times and tokens of \[79, 80"),
        (lambda told: told.update(load="high"), "got ValueError could not convert"),
        (lambda told: told.update(limits=[]), "got TypeError"),
    ],
)
def test_a_file_that_gpu_check_does_not_write_is_refused(change: Any, said: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=rf"serving-tiny-70.json: {said}.*accepted: an open loop"):
        measured_with(tmp_path, change)


def test_what_is_no_json_is_refused(tmp_path: Path):
    write_steps(tmp_path)
    path = tmp_path / "serving-tiny-70.json"
    for text, said in (("{", "Expecting property name"), ("[]", "got 'list'; accepted: an object")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=f"serving-tiny-70.json: {said}"):
            measured_in(tmp_path)


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What gpu-check leaves of one model on the CPU."""
    folder = tmp_path_factory.mktemp("gpu-check")
    assert run(Check(folder, "cpu", quick=True), ("opt-1.3b",)) == {"opt-1.3b": "done"}
    return folder


@pytest.mark.verify
def test_what_gpu_check_leaves_is_compared(
    checked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    command = ["fidelity", "--measured", str(checked), "--json", "--out", str(tmp_path)]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["device"], found["quick"], found["left_out"]) == ("cpu", True, {})
    own = [("opt-1.3b", 0.7, "our loop"), ("opt-1.3b", 1.1, "our loop")]
    if installed():
        own.append(("opt-1.3b", 0.7, f"transformers {metadata.version('transformers')}"))
    assert [(one["model"], one["load"], one["engine"]) for one in found["measured"]] == own
    assert found["measured"][0]["steps"] == "attention one by one, no CUDA graphs"
    served = json.loads((checked / "serving-opt-1.3b-70.json").read_text())
    latencies_s = np.subtract(served["last_token_s"], served["arrival_s"])
    e2e = found["measured"][0]["figures"][6]
    assert (e2e["figure"], e2e["statistic"]) == ("E2E", "mean")
    assert e2e["measured_s"] == pytest.approx(latencies_s.mean())
    assert e2e["error"] == pytest.approx(e2e["predicted_s"] / e2e["measured_s"] - 1)
    assert (tmp_path / "runs.png").stat().st_size > 10_000
