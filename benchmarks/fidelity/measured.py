"""What `llmroute gpu-check` measured on a machine beside what the simulator predicts of it.

Steps take what was measured of that machine's steps one by one; the requests of its open loops come
when they came, as long as they were. Nothing is assumed or fitted. An engine of gpu-check takes
pages for all of a request when it admits it, ours blocks as it grows, which only matters where the
cache is full. Whether its steps are those that were measured is another matter: without attention
in pages it computes that of requests one by one, and without CUDA graphs a step waits for Python.
Where transformers was installed its engine served too, in steps of its own, which were not measured
one by one: of it a prediction tells how far it is from steps that were.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.fidelity.comparison import Compared, RunPair, compared
from benchmarks.fidelity.recorded import Run, Setup
from benchmarks.fidelity.serving import Requests, Served, serve_in
from llmroute_env import profiles
from llmroute_env.engine_specs import BLOCK_TOKENS, StepTimes
from llmroute_env.errors import ConfigError, require

STATISTICS = ("mean", "p50", "p99")

FILES = "steps-MODEL.toml and serving-MODEL-70.json or -110.json, as `llmroute gpu-check` writes"

SERVING = re.compile(r"serving-(?P<model>.+?)(?P<beside>-transformers)?-(?P<load>\d+)\.json")

OURS = "our loop"
"""The engine of a run that names none."""


class OpenLoop(NamedTuple):
    """A run of which each request was measured.

    Attributes:
        pair: what was answered in time.
        requests: how many were sent.
        steps: how the engine computed them.
        engine: which it was.
    """

    model: str
    load: float
    pair: RunPair
    requests: int
    steps: str
    engine: str

    @property
    def answered(self) -> int:
        """Requests that are compared."""
        return len(self.pair.measured.arrival_s)

    @property
    def rows(self) -> list[Compared]:
        """Statistics of TTFT, TPOT and E2E of what was answered."""
        found = [row for row in compared(self.pair) if row.statistic in STATISTICS]
        # There is no TPOT where answers are of one token.
        return [row for row in found if row.measured_s > 0]


class Measured(NamedTuple):
    """What a folder of gpu-check has, and what of it cannot be compared, with the reason."""

    loops: list[OpenLoop]
    left_out: dict[str, str]
    device: str
    quick: bool


def measured_in(folder: Path) -> Measured:
    """Compare all that a folder of `llmroute gpu-check` has.

    Raises:
        ConfigError: the folder has nothing to compare, or files that gpu-check does not write.
    """
    require(folder.is_dir(), "measured", str(folder), f"a folder with {FILES}")
    models = {path.stem.removeprefix("steps-"): path for path in folder.glob("steps-*.toml")}
    serving = {path: SERVING.fullmatch(path.name) for path in folder.glob("serving-*.json")}
    loops, left_out = list[OpenLoop](), dict[str, str]()
    for path, match in sorted(serving.items(), key=lambda item: order(item[1])):
        if match is None:
            continue
        if match["model"] not in models:
            left_out[path.name] = f"there is no steps-{match['model']}.toml"
            continue
        times = step_times_in(models[match["model"]], match["model"])
        loop = open_loop(path, match["model"], times)
        if loop.answered > 0:
            loops.append(loop)
        else:
            left_out[path.name] = "no request was answered in time"
    served = {match["model"] for match in serving.values() if match is not None}
    left_out |= {models[m].name: "there is no open loop" for m in sorted(models.keys() - served)}
    left_out |= failed_in(folder)
    names = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
    require(len(loops) > 0, "measured", f"{folder} with {names}", f"a folder with {FILES}")
    check = read(folder / "check.json") if (folder / "check.json").exists() else {}
    return Measured(loops, left_out, str(check.get("device", "")), bool(check.get("quick", False)))


def order(match: re.Match[str] | None) -> tuple[str, str, int]:
    """By model, our loop first, then by load."""
    if match is None:
        return "", "", 0
    return match["model"], match["beside"] or "", int(match["load"])


def failed_in(folder: Path) -> dict[str, str]:
    """Files that say why an engine beside ours did not serve, and the reason."""
    paths = sorted(folder.glob("serving-*-transformers.json"))
    return {path.name: str(read(path).get("failed", "no reason is told")) for path in paths}


def step_times_in(path: Path, model: str) -> StepTimes:
    """The step times of a profile of one model on one kind of GPU."""
    times = profiles.load(str(path)).model(model).step_times
    kinds = ", ".join(times)
    require(len(times) == 1, f"{path.name} kinds of GPU", kinds, "the one that was measured")
    return next(iter(times.values()))


def read(path: Path) -> dict[str, Any]:
    """An object of a JSON file."""
    try:
        told = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}; accepted: what `llmroute gpu-check` writes") from error
    kind = type(told).__name__
    require(isinstance(told, dict), str(path), kind, "an object, as `llmroute gpu-check` writes it")
    return told  # type: ignore[no-any-return]


def open_loop(path: Path, model: str, times: StepTimes) -> OpenLoop:
    """A run as it was measured and as it is predicted, of the requests that were answered."""
    told = read(path)
    try:
        load, run = float(told["load"]), run_of(told, model)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path}: got {type(error).__name__} {error}; "
            "accepted: an open loop as `llmroute gpu-check` writes it"
        ) from error
    requests = Requests(run.arrival_s, run.prompt_tokens, run.output_tokens)
    predicted = serve_in(times, run.setup, requests)
    preemptions = np.zeros_like(run.output_tokens)
    ends = run.first_token_s, run.last_token_s
    measured = Served(run.arrival_s, *ends, run.output_tokens, preemptions)
    answered = np.isfinite(run.last_token_s)
    pair = RunPair(run, measured.some(answered), predicted.some(answered))
    return OpenLoop(model, load, pair, len(answered), steps_of(told), engine_of(told))


def engine_of(told: dict[str, Any]) -> str:
    """Which engine served a run."""
    return str(told.get("engine", OURS))


def steps_of(told: dict[str, Any]) -> str:
    """How an engine computed its steps."""
    graphs = "CUDA graphs" if told.get("graphs") else "no CUDA graphs"
    return f"attention {told.get('attention', 'not told')}, {graphs}"


def run_of(told: dict[str, Any], model: str) -> Run:
    """The requests of a run; NaN where one was not answered in time."""
    limits = told["limits"]
    blocks = int(limits["pages"]) * int(told["page_tokens"]) // BLOCK_TOKENS
    setup = Setup(model, int(limits["most_running"]), int(limits["most_tokens"]), blocks)
    names = "arrival_s", "queued_s", "first_token_s", "last_token_s"
    arrival, queued, first, last = (np.array(told[name], np.float64) for name in names)
    prompts, outputs = (
        np.array(told[name], np.int32) for name in ("prompt_tokens", "output_tokens")
    )
    lengths = [len(c) for c in (arrival, queued, first, last, prompts, outputs)]
    if len(set(lengths)) > 1 or lengths[0] == 0:
        raise ValueError(f"times and tokens of {lengths} requests")
    name = f"{model} at {float(told['load']):.0%} by {engine_of(told)}"
    return Run(name, setup, arrival, queued, first, last, prompts, outputs)
