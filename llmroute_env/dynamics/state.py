"""The whole state as arrays of records: env, GPU, queue, contest, model, class, and the service's.

The arrays hold everything that changes; copying them is a snapshot. Their record types do not
depend on the cluster's shape, so one compilation of the dynamics serves every cluster.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Records = NDArray[np.void]

ENV = np.dtype(
    [
        # The clock, and the request that waits for a decision.
        ("now_s", "f8"),
        ("elapsed_s", "f8"),  # since the previous decision
        ("task", "i8"),  # of the pending request; -1 when the episode has ended
        ("user_class", "i8"),  # likewise
        ("decision", "i8"),  # the number of the decision in the episode, from 0
        ("request", "i8"),  # the number of the request that it is about, in order of arrival
        ("arrived", "i8"),  # requests of the window that have become pending, the next one's number
        ("waited_s", "f8"),  # since the pending request arrived: 0 unless it has come back
        # The window of the tape (all arrivals of the workload) that this episode replays.
        ("first", "i8"),
        ("end", "i8"),
        ("tape_start_s", "f8"),
        ("stretch", "f8"),  # episode seconds per tape second
        ("load", "f8"),
        ("deadline_s", "f8"),  # of the pending request, and how long after it an answer earns
        ("grace_s", "f8"),
        ("rng", "u8"),
        ("over", "b1"),
        # Estimates of the arrival rate, exponentially forgetting.
        ("fast_rate_per_s", "f8"),
        ("slow_rate_per_s", "f8"),
        ("next_gpu", "i8"),  # cursor of the round-robin dispatcher
        ("busy_gpus", "i8"),
        # Where every request of the episode is: these and (waiting, running, away) sum to `routed`.
        ("routed", "i8"),
        ("in_time", "i8"),
        ("late", "i8"),
        ("rejected", "i8"),
        ("shed", "i8"),
        ("aborted", "i8"),
        ("waiting", "i8"),
        ("running", "i8"),
        ("away", "i8"),  # requests that will come back for another decision
        ("deferred", "i8"),  # decisions that put a request off
        ("lost", "i8"),
        ("retried", "i8"),  # decisions whose request failed and came back
        ("failures", "i8"),  # of machines
        # Where machines can fail: when the next of them changes, and which.
        ("change_s", "f8"),
        ("machine", "i8"),
        # Utility earned in this step and in this episode, in time and late, and its peak.
        ("step_in_time", "f8"),
        ("step_late", "f8"),
        ("step_rejected", "f8"),  # by turning requests away
        ("utility", "f8"),
        ("peak_utility", "f8"),
    ],
    align=True,
)

GPU = np.dtype(
    [
        ("start_s", "f8"),  # of what runs
        ("finish_s", "f8"),  # likewise; inf when idle
        ("drain_s", "f8"),  # when it would have worked off all it holds
        ("model", "i4"),  # that runs; -1 when idle
        ("running", "i4"),
        ("waiting", "i4"),
    ],
    align=True,
)

# Where machines fail or signals are late.
UNCERTAIN_GPU = np.dtype(
    [
        *((name, GPU[name]) for name in GPU.names or ()),
        ("leaves_s", "f8"),  # when it will go down, as far as that is told; else inf
        ("is_up", "i4"),
        # Of a row that routers see (State): when this was so.
        ("scraped_s", "f8"),
        # Of the others: the stream of the GPU's scrapes.
        ("stream", "u8"),
    ],
    align=True,
)


# Tournaments of the GPUs (tournament.py): whose event is next, who has the least load, and, where
# signals are late, whose arrive next.
CONTEST = np.dtype([("key", "f8"), ("winner", "i4")], align=True)

# What a GPU holds for a model, and where a service model that has rings keeps it.
QUEUE = np.dtype(
    [
        ("first", "i4"),  # where in the ring the first request is
        ("room", "i4"),  # how many requests the ring holds before it must grow
        ("running", "i4"),
        ("waiting", "i4"),
        ("oldest", "i4"),  # number of the first that waits, if any does
        ("sent", "i4"),  # of a row that routers see: what was sent since this was so
        ("added_s", "f8"),  # work that one more request would add
    ],
    align=True,
)

MODEL = np.dtype([("waiting", "i8"), ("running", "i8"), ("routed", "i8")])

# What a class of users has come to, counted only where there are several.
CLASS = np.dtype([("routed", "i8"), ("in_time", "i8"), ("utility", "f8"), ("peak_utility", "f8")])

COMPLETION = np.dtype(
    [
        ("env", "i4"),
        # Together as long as the outcome alone once was: with one class the bytes are the same,
        # and so are the fingerprints of recordings.
        ("outcome", "i2"),
        ("user_class", "i2"),
        ("task", "i4"),
        ("model", "i4"),
        ("gpu", "i4"),
        ("batch", "i4"),  # size of the batch; 0 if rejected or shed
        ("decision", "i8"),
        ("arrival_s", "f8"),  # of the request, however often it has come back
        ("start_s", "f8"),  # of the batch; the end itself if rejected or shed
        ("finish_s", "f8"),
        ("utility", "f8"),
    ]
)


# What a service that has tokens adds to a COMPLETION.
TOKENS = np.dtype(
    [
        ("first_token_s", "f8"),  # the end itself where there was none
        ("prompt_tokens", "i4"),
        ("output_tokens", "i4"),  # answered
        ("preemptions", "i8"),
    ]
)


# Which request a decision was about, where requests can come back: without, the numbers are equal.
ORIGIN = np.dtype(
    [
        ("request", "i8"),
        ("defers", "i4"),  # how often it had been put off before
        ("tries", "i4"),  # how often it had failed before
    ]
)

# A request that has not come to its end, of those that can come back.
FATE = np.dtype([("decision", "i4"), ("defers", "i2"), ("tries", "i2")])

# When a request comes back: a heap by time, and of equal times by number. If it has failed, where
# it was sent to: then it comes back only if it may be tried once more.
RETURN = np.dtype([("at_s", "f8"), ("request", "i8"), ("gpu", "i4"), ("model", "i4")])

# GPUs that fail together.
MACHINE = np.dtype(
    [
        ("rng", "u8"),  # its own stream
        ("change_s", "f8"),  # when its phase ends
        ("fails_s", "f8"),  # unless it is down
        ("phase", "i4"),
        ("place_up", "i4"),  # in the list of times that are replayed or given; -1: not drawn
        ("place_down", "i4"),
    ],
    align=True,
)


class Completion(NamedTuple):
    """One COMPLETION record as Python numbers; `outcome` indexes OUTCOMES."""

    env: int
    outcome: int
    user_class: int
    task: int
    model: int
    gpu: int
    batch: int
    decision: int
    arrival_s: float
    start_s: float
    finish_s: float
    utility: float


OPAQUE = np.dtype((np.void, COMPLETION.itemsize))
"""A COMPLETION as bytes: NumPy copies records field by field, at ten times the cost."""

CODES = {"i2": "h", "i4": "i", "i8": "q", "f8": "d"}
COMPLETION_STRUCT = struct.Struct(
    "=" + "".join(CODES[COMPLETION[name].str[1:]] for name in COMPLETION.names or ())
)
"""A COMPLETION record as the standard library reads it: in half of NumPy's time."""


IN_TIME, LATE, REJECTED, SHED, ABORTED, DEFERRED, RETRIED, LOST = range(8)
OUTCOMES = ("in_time", "late", "rejected", "shed", "aborted", "deferred", "retried", "lost")
"""What a decision came to. One that was deferred or retried is followed by another about the same
request; all others are the end of it."""

COMES_BACK = (DEFERRED, RETRIED)
"""Outcomes of a decision after which the request will be pending again."""


class State(NamedTuple):
    """Everything that changes: E envs of G GPUs, M models and C classes.

    The rows e of `gpus`, `queues` and `models` are what is; routers of env e see the rows
    `world.view_of(e)`. With exact signals these are the same rows, and V = E. Else V = 3 E: routers
    see rows E + e, and rows 2 E + e are on their way to them (scrapes.py).
    R is the most requests of a window, where requests can come back, or else 0; K the number of
    machines that can fail.
    """

    envs: Records  # (E,)
    gpus: Records  # (V, G)
    queues: Records  # (V, G, M)
    contests: Records  # (E, 2, G), or (E, 3, G) with signals that are late
    models: Records  # (V, M)
    classes: Records  # (E, C)
    fates: Records  # (E, R) of the requests of the window, by number
    returns: Records  # (E, R) of which the first `away` are in use
    machines: Records  # (E, K)
    service: Any  # the service model's own, a NamedTuple of arrays with E rows

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """All arrays; the service model's own come last."""
        *shared, service = self
        return *shared, *service

    @property
    def named(self) -> dict[str, NDArray[Any]]:
        """All arrays by name, for files; the service model's own begin with `service.`."""
        own = zip(self.service._fields, self.service, strict=True)
        shared = {name: array for name, array in self._asdict().items() if name != "service"}
        return shared | {f"service.{name}": array for name, array in own}

    @classmethod
    def of_named(cls, named: Mapping[str, NDArray[Any]]) -> State:
        """The state whose arrays `named` are; its own of the service model are a plain tuple."""
        shared = {name: array for name, array in named.items() if "." not in name}
        # Once they were one array, of what static batching has.
        own = shared.pop("service", None)
        found = [array for name, array in named.items() if name.startswith("service.")]
        return cls(**shared, service=tuple(found if own is None else own))

    def copy(self) -> State:
        """A snapshot: an independent copy of every array."""
        copies = [array.copy() for array in self.arrays]
        shared = len(self) - 1
        return State._make([*copies[:shared], type(self.service)(*copies[shared:])])

    def copy_env(self, e: int, source: State, from_e: int) -> None:
        """Overwrite env `e` with env `from_e` of `source`, which is of the same configuration."""
        envs, theirs = len(self.envs), len(source.envs)
        for mine, other in zip(self.arrays, source.arrays, strict=True):
            mine[e::envs] = other[from_e::theirs]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays; slots are touched, and so resident, only as far as they fill."""
        return sum(array.nbytes for array in self.arrays)


class Log(NamedTuple):
    """Where completions go: the first `used[0]` of `records` are valid; length 0 for none."""

    records: Records  # (K,) COMPLETION
    used: NDArray[np.int64]  # (1,)
    tokens: Records  # (K,) TOKENS, of the same requests; length 0 where there are no tokens
    origins: Records  # (K,) ORIGIN, likewise; length 0 where no request comes back


def rows_of(envs: int, is_late: bool) -> int:
    """How many rows there are of what GPUs tell: see State."""
    return envs * (3 if is_late else 1)


class Shape(NamedTuple):
    """How much there is of everything; `coming_back` of requests."""

    envs: int
    gpus: int
    models: int
    classes: int
    is_uncertain: bool  # signals are late or machines may fail
    is_late: bool
    coming_back: int
    machines: int

    @property
    def rows(self) -> int:
        """Of what GPUs tell: see State."""
        return rows_of(self.envs, self.is_late)


def allocate(shape: Shape, service: NamedTuple) -> State:
    """Zeroed state with the service model's own arrays."""
    envs, gpus, models, classes, is_uncertain, is_late, coming_back, machines = shape
    return State(
        envs=np.zeros(envs, ENV),
        gpus=np.zeros((shape.rows, gpus), UNCERTAIN_GPU if is_uncertain else GPU),
        queues=np.zeros((shape.rows, gpus, models), QUEUE),
        contests=np.zeros((envs, 3 if is_late else 2, gpus), CONTEST),
        models=np.zeros((shape.rows, models), MODEL),
        classes=np.zeros((envs, classes), CLASS),
        fates=np.zeros((envs, coming_back), FATE),
        returns=np.zeros((envs, coming_back), RETURN),
        machines=np.zeros((envs, machines), MACHINE),
        service=service,
    )


def allocate_log(capacity: int, has_tokens: bool = False, has_origins: bool = False) -> Log:
    """An empty log for `capacity` completions."""
    tokens = np.zeros(capacity if has_tokens else 0, TOKENS)
    origins = np.zeros(capacity if has_origins else 0, ORIGIN)
    return Log(np.zeros(capacity, COMPLETION), np.zeros(1, np.int64), tokens, origins)
