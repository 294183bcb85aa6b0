"""What a picture of the simulator shows, read from its arrays: no drawing, no history of its own.

A scene depends on the state and the tape only, so a picture is the same whenever it is asked for:
after a restored snapshot, or with only every hundredth step rendered. Large clusters are summed
into at most MOST_ROWS rows of neighbouring GPUs and MOST_COLUMNS columns of neighbouring models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.signals import Seen, seen
from llmroute_env.dynamics.state import COMES_BACK, OUTCOMES, State
from llmroute_env.dynamics.world import is_uncertain
from llmroute_env.simulation.simulation import Simulation

MOST_ROWS = 16
MOST_COLUMNS = 8
MOST_CELLS = 64
"""Waiting requests of a queue that a scene lists one by one, from the head."""

RATE_BINS = 50


class Batch(NamedTuple):
    """A running batch; `column` is that of its model."""

    column: int
    model: str
    size: int
    done_s: float
    total_s: float


class Queue(NamedTuple):
    """What waits in one row and column; the cells are its first requests, oldest first."""

    hosted: bool
    waiting: int
    tasks: NDArray[np.int64]  # (cells,)
    slack: NDArray[np.float64]  # (cells,) time left as a share of the deadline; below 0 past it


class Belief(NamedTuple):
    """What a router sees of a row, where signals are late."""

    waiting: tuple[int, ...]  # by column
    running: int  # requests
    busy: int  # GPUs
    down: int  # GPUs
    age_s: float  # of the oldest


class Row(NamedTuple):
    """One GPU, or several neighbours in a large cluster, of which some may be `down`.

    `belief` is None where a router sees what is.
    """

    name: str
    gpus: int
    batches: tuple[Batch, ...]
    queues: tuple[Queue, ...]
    down: int = 0
    belief: Belief | None = None


class Column(NamedTuple):
    """One model, or several neighbours in a large profile."""

    name: str
    waiting: int
    share: float  # of the requests routed so far


@dataclass(frozen=True)
class Scene:
    """One moment of one episode.

    Attributes:
        pending: task of the request that waits for a decision, with the class of its user where
            there are several; empty when the episode is over.
        outcomes: shares of the routed requests by name, `in flight` included.
        rates_per_s: arrival rate in RATE_BINS bins of the last `rate_span_s` seconds.
        recent_rate_per_s: arrival rate before the last request, forgetting as routers' estimates
            do, of the time since the episode began.
    """

    now_s: float
    request: int
    requests: int
    pending: str
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    outcomes: dict[str, float]
    utility: float
    peak_utility: float
    rates_per_s: NDArray[np.float64]
    rate_span_s: float
    recent_rate_per_s: float
    load_1_per_s: float
    load: float


def capture(simulation: Simulation, e: int = 0) -> Scene:
    """The scene of env `e` as it is now."""
    env = simulation.state.envs[e]
    span_s = rate_span_s(simulation, e)
    return Scene(
        now_s=float(env["now_s"]),
        request=int(env["routed"]) + int(not env["over"]),
        requests=int(env["end"] - env["first"]),
        pending="" if env["over"] else _pending(simulation.config, env),
        rows=_rows(simulation, e),
        columns=_columns(simulation, e),
        outcomes=_outcomes(simulation.state, e),
        utility=float(env["utility"]),
        peak_utility=float(env["peak_utility"]),
        rates_per_s=_rates_per_s(simulation, e, span_s),
        rate_span_s=span_s,
        recent_rate_per_s=recent_rate_per_s(simulation, e),
        load_1_per_s=float(simulation.cluster.rules[0]["load_1_per_s"]),
        load=float(env["load"]),
    )


def _pending(config: EnvConfig, env: np.void) -> str:
    task = config.tasks[env["task"]]
    return f"{task} of {config.class_names[env['user_class']]}" if config.classes else task


def groups(count: int, most: int) -> list[range]:
    """0..count-1 in at most `most` runs of equal length, the last one maybe shorter."""
    length = math.ceil(count / most)
    return [range(start, min(start + length, count)) for start in range(0, count, length)]


def name_run(names: tuple[str, ...], run: range) -> str:
    """The one name of `run`, or its first and last, which need not repeat their common prefix."""
    if len(run) == 1:
        return names[run[0]]
    first, last = names[run[0]], names[run[-1]]
    return f"{first} to {last.removeprefix(common_prefix([first, last]))}"


def common_prefix(names: list[str]) -> str:
    """What all `names` begin with, up to and including its last hyphen."""
    # The first and the last in order differ earliest; each other name shares what these share.
    first, last = min(names), max(names)
    end = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[: first.rfind("-", 0, end) + 1]


def _columns(simulation: Simulation, e: int) -> tuple[Column, ...]:
    models = simulation.state.models[e]
    names = simulation.config.model_names
    routed = max(int(models["routed"].sum()), 1)
    return tuple(
        Column(
            name_run(names, run),
            int(models["waiting"][run].sum()),
            int(models["routed"][run].sum()) / routed,
        )
        for run in groups(len(names), MOST_COLUMNS)
    )


def _rows(simulation: Simulation, e: int) -> tuple[Row, ...]:
    columns = groups(len(simulation.config.models), MOST_COLUMNS)
    now = seen(simulation.state, e)
    rows = []
    for run in groups(simulation.config.gpus, MOST_ROWS):
        name = f"GPU {run[0]}" if len(run) == 1 else f"GPU {run[0]} to {run[-1]}"
        batches = _batches(simulation.config, now, run, len(columns[0]))
        queues = tuple(_queue(simulation, e, now, run, models) for models in columns)
        down = int((~now.up[run[0] : run[-1] + 1]).sum())
        belief = _belief(simulation, e, run, columns)
        rows.append(Row(name, len(run), batches, queues, down, belief))
    return tuple(rows)


def _belief(simulation: Simulation, e: int, gpus: range, columns: list[range]) -> Belief | None:
    if not simulation.config.signals.are_late:
        return None
    s, own = simulation.state, slice(gpus.start, gpus.stop)
    view = e + int(simulation.cluster.rules[0]["view_rows"])
    seen, queues = s.gpus[view, own], s.queues[view, own]["waiting"]
    down = seen["is_up"] == 0 if is_uncertain(s.gpus.dtype) else np.zeros(len(gpus), np.bool_)
    return Belief(
        waiting=tuple(int(queues[:, models].sum()) for models in columns),
        running=int(seen["running"].sum()),
        busy=int((seen["running"] > 0).sum()),
        down=int(down.sum()),
        age_s=float((s.envs[e]["now_s"] - seen["scraped_s"]).max()),
    )


def _batches(config: EnvConfig, now: Seen, gpus: range, models: int) -> tuple[Batch, ...]:
    found = []
    for gpu in gpus:
        if now.running[gpu] > 0:
            start_s, finish_s = float(now.start_s[gpu]), float(now.finish_s[gpu])
            model, size = int(now.model[gpu]), int(now.running[gpu])
            name = config.model_names[model]
            times_s = now.now_s - start_s, finish_s - start_s
            found.append(Batch(model // models, name, size, *times_s))
    return tuple(found)


def _queue(simulation: Simulation, e: int, now: Seen, gpus: range, models: range) -> Queue:
    cluster = simulation.cluster
    at = np.ix_(np.array(gpus), np.array(models))
    waiting = now.waiting[at]
    hosted = bool((cluster.batch_limit[cluster.pool_of][at] > 0).any())
    parts = [_cells(simulation, e, gpus[g], models[m]) for g, m in np.argwhere(waiting > 0)]
    cells = np.concatenate(parts) if parts else np.zeros((0, 3))
    cells = cells[np.argsort(cells[:, 0], kind="stable")][:MOST_CELLS]
    slack_s = cells[:, 0] + cells[:, 1] - now.now_s
    return Queue(hosted, int(waiting.sum()), cells[:, 2].astype(np.int64), _share(slack_s, cells))


def _cells(simulation: Simulation, e: int, gpu: int, model: int) -> NDArray[np.float64]:
    """Arrival, deadline and task of the first waiting requests of one queue, one per row."""
    service = simulation.cluster.service
    requests = service.waiting(simulation.state, e, gpu, model, MOST_CELLS)
    return np.stack([requests["arrival_s"], requests["deadline_s"], requests["task"]], axis=1)


def _share(slack_s: NDArray[np.float64], cells: NDArray[np.float64]) -> NDArray[np.float64]:
    deadline_s = cells[:, 1]
    bounded = np.where(np.isfinite(deadline_s), np.maximum(deadline_s, 1e-9), 1.0)
    share: NDArray[np.float64] = np.where(np.isfinite(deadline_s), slack_s / bounded, 1.0)
    return share


def _outcomes(s: State, e: int) -> dict[str, float]:
    env = s.envs[e]
    routed = max(int(env["routed"]), 1)
    ends = [name for k, name in enumerate(OUTCOMES) if k not in COMES_BACK]
    # Where nothing fails nothing can be lost.
    ends = ends if s.machines.size else [name for name in ends if name != "lost"]
    shares = {name.replace("_", " "): int(env[name]) / routed for name in ends}
    in_flight = int(env["waiting"] + env["running"] + env["away"])
    return {**shares, "in flight": in_flight / routed}


def rate_span_s(simulation: Simulation, e: int) -> float:
    """Seconds of arrivals to show: 10, or as many times ten as a quiet trace needs for a curve."""
    env = simulation.state.envs[e]
    mean_per_s = len(simulation.tape.arrival_s) / simulation.trace.span_s / float(env["stretch"])
    return float(10.0 ** max(1, math.ceil(math.log10(20.0 / mean_per_s))))


def recent_rate_per_s(simulation: Simulation, e: int) -> float:
    """The long estimate of the arrival rate as a mean over what it has seen.

    The estimate itself begins at 0, as if nothing had come before the episode, and counts the
    request that it is made at, which is there whatever the rate.
    """
    env, window_s = simulation.state.envs[e], simulation.config.rate_windows_s[1]
    # After the last request nothing was estimated any more.
    seen_s = float(env["now_s"] - (env["elapsed_s"] if env["over"] else 0.0))
    share = -math.expm1(-seen_s / window_s)
    return float((env["slow_rate_per_s"] - 1.0 / window_s) / share) if share > 0.0 else 0.0


def _rates_per_s(simulation: Simulation, e: int, span_s: float) -> NDArray[np.float64]:
    env, tape_s = simulation.state.envs[e], simulation.tape.arrival_s
    arrived = tape_s[int(env["first"]) : int(env["first"] + env["arrived"])]
    now_s, start_s, stretch = (float(env[name]) for name in ("now_s", "tape_start_s", "stretch"))
    recent = np.searchsorted(arrived, start_s + (now_s - span_s) / stretch)
    times_s = (arrived[recent:] - start_s) * stretch
    # The clock is in whole ticks: the last arrival may lie up to half a tick after it.
    counts, _ = np.histogram(
        np.minimum(times_s, now_s), bins=RATE_BINS, range=(now_s - span_s, now_s)
    )
    rates: NDArray[np.float64] = counts * (RATE_BINS / span_s)
    return rates


def describe(config: EnvConfig) -> str:
    """The configuration in one line."""
    deadline = config.deadline
    soft = deadline.kind != "hard"
    grace = f", {deadline.kind} grace {deadline.grace_s:g} s" if soft else ""
    models = "1 model" if len(config.models) == 1 else f"{len(config.models)} models"
    gpus = "1 GPU" if config.gpus == 1 else f"{config.gpus} GPUs"
    kind = f"{'soft' if soft else 'hard'} deadline {deadline.deadline_s:g} s{grace}"
    if math.isinf(deadline.deadline_s):
        kind = "no deadline"
    return f"{gpus}, {models}, {kind}, dispatcher {config.dispatcher}"


def believed(row: Row) -> str:
    """What a router sees a row do, in few words."""
    belief = row.belief
    assert belief is not None
    if row.gpus > 1:
        return f"{belief.busy} busy" + (f", {belief.down} down" if belief.down else "")
    if belief.down:
        return "down"
    return f"{belief.running} run" if belief.running else "idle"


def is_mistaken(row: Row) -> bool:
    """Whether a router takes one GPU to be idle that is busy, or down that is up, or inversely."""
    if row.belief is None or row.gpus > 1:
        return False
    if row.belief.down or row.down:
        return row.belief.down != row.down
    return (row.belief.running > 0) != bool(row.batches)


def age(seconds: float) -> str:
    """How old signals are, in two digits or so."""
    if seconds < 0.0995:
        return f"{1e3 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
