"""What goes into the service model and what comes out: plain data, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass

REJECT, DEFER = "reject", "defer"
Action = int | tuple[int, int] | str
"""A model, or a (GPU, model) pair, or REJECT, or DEFER."""


@dataclass(frozen=True)
class PoolCase:
    """Consecutive GPUs of one kind: per hosted model the table T(1), T(2), ... and the limit B.

    `relative_speed` divides the latencies, as it does between kinds of GPU that run one model.
    """

    gpus: int
    latency_s: dict[int, tuple[float, ...]]
    batch_limit: dict[int, int]
    relative_speed: float = 1.0


@dataclass(frozen=True)
class UserCase:
    """Users of one class: what the utility of their answers is multiplied by, and how it decays."""

    weight: float
    deadline_kind: str
    grace_s: float


@dataclass(frozen=True)
class Case:
    """One closed experiment: a cluster, its rules, and what arrives with which decision."""

    pools: tuple[PoolCase, ...]
    accuracy: tuple[tuple[float, ...], ...]
    arrivals_s: tuple[float, ...]
    tasks: tuple[int, ...]
    actions: tuple[Action, ...]
    deadlines_s: tuple[float, ...]
    deadline_kind: str = "hard"
    grace_s: float = 0.0
    queue_capacity: int = 1_000_000
    dispatcher: str = "least-work"
    shed_expired: bool = False
    deadline_aware_batching: bool = False
    classes: tuple[UserCase, ...] = ()
    users: tuple[int, ...] = ()

    def user(self, number: int) -> UserCase:
        """Of request `number`; all are alike without classes."""
        if not self.classes:
            return UserCase(1.0, self.deadline_kind, self.grace_s)
        return self.classes[self.users[number]]


@dataclass(frozen=True)
class WorldCase:
    """What happens beside arrivals; outages are (machine, from, until), seconds.

    Without pools all fail; a timeout of 0 is none: a send fails at once. The action of decision d
    is `actions[d]` of the case, over and over.
    """

    outages: tuple[tuple[int, float, float], ...] = ()
    gpus_per_machine: int = 1
    warm_up_s: float = 0.0
    notice_s: float = 0.0
    timeout_s: float = 0.0
    tries: int = 1
    pools: tuple[int, ...] = ()
    wait_s: float = 1.0
    most_defers: int = 0
    reject_utility: float = 0.0


@dataclass(frozen=True)
class Fate:
    """What became of a request; `start_s` is None if it never ran, `finish_s` if it is in flight.

    `finish_s` of a rejected or shed request is the moment when that was decided.
    """

    outcome: str
    gpu: int
    model: int
    batch_size: int
    start_s: float | None
    finish_s: float | None
    utility: float
