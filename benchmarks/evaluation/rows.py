"""What a row holds: one episode of one router, as docs/benchmarks.md lists it."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


class Stamp(TypedDict):
    """The code and libraries that computed a row."""

    commit: str | None
    versions: dict[str, str]


class Tuning(TypedDict):
    """What finding a control's setting took."""

    settings_tried: int
    episodes_each: int
    window_s: float
    validation_score: float


class Header(Stamp):
    """What all rows of a file have in common: the environment and the router."""

    suite: str
    entry: str
    scenario: str
    tags: list[str]
    trained_on: str
    agent: str
    learned: bool
    setting: str | float | None
    tuning: Tuning | None
    training_seed: int
    seed: int
    config_sha256: str
    trace_sha256: str
    load_1_per_s: float
    gpus: int


class ClassFigures(TypedDict):
    """What one class of users came to."""

    requests: int
    utility: float
    peak_utility: float
    utility_of_peak: float
    deadline_met: float


class GuardFigures(TypedDict):
    """The heuristic of a guarded router.

    In which share of the decisions the network overruled it, and what it earns alone there.
    """

    heuristic: str
    overruled: float
    utility_of_peak: float


class Figures(TypedDict):
    """What an episode came to.

    Rows of older versions do not tell `tape_window_s`, where on the tape the episode is,
    `goodput_per_s` and `guard`; `lost` and `retried`, a count, there are where machines fail.
    """

    tape_window_s: NotRequired[tuple[float, float]]
    requests: int
    load: float
    duration_s: float
    utility: float
    peak_utility: float
    bound: float | None
    utility_of_peak: float
    bound_of_peak: float | None
    regret: float | None
    deadline_met: float
    goodput_per_s: NotRequired[float]
    late: float
    rejected: float
    shed: float
    lost: NotRequired[float]
    retried: NotRequired[int]
    share: dict[str, float]
    windows_at_least: dict[str, dict[str, int]]
    p50_s: float | None
    p99_s: float | None
    classes: NotRequired[dict[str, ClassFigures]]
    guard: NotRequired[GuardFigures]


class Course(TypedDict):
    """Figures of each second of an episode."""

    requests: list[int]
    utility: list[float]
    peak: list[float]
    bound: list[float]


class Details(TypedDict, total=False):
    """What only the rows of the first few episodes hold."""

    by_second: Course
    policy_map: list[list[list[int]]]


class Times(TypedDict):
    """What two runs of the same cell do not share."""

    wall_s: float
    decision_us: dict[str, float] | None


class Row(Header, Figures, Details, Times):
    """One episode of one router."""

    episode: int
    episode_seed: int


Number = Literal[
    "requests",
    "load",
    "duration_s",
    "utility",
    "peak_utility",
    "bound",
    "utility_of_peak",
    "bound_of_peak",
    "regret",
    "deadline_met",
    "late",
    "rejected",
    "shed",
    "lost",
    "retried",
    "p50_s",
    "p99_s",
]
"""Fields of Figures that are numbers, or None where there is none."""
