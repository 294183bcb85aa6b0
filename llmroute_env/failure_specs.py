"""Machines that fail: how long they are up and down, who is told, what becomes of requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

from llmroute_env.specs import TICK_S, ConfigError, require, to_ticks_s
from traces.typed import check_fields

DETECTIONS = ("fail-fast", "time-out")

MOST_LENGTH_S = 1e9
"""Of a time up or down: thirty years."""

EXPONENTIAL, LOGNORMAL, REPLAYED, LISTED = range(4)
"""Kinds of times, as compiled code tells them apart."""

SHARES = {"train": (0.0, 0.6), "validation": (0.6, 0.8), "test": (0.8, 1.0), "all": (0.0, 1.0)}
"""Which part of a list of measured times each split replays."""


class Law(NamedTuple):
    """Times as numbers: log-normal ones are exp(mu + sigma z), replayed ones `lengths_s`."""

    kind: int
    mean_s: float
    mu: float = 0.0
    sigma: float = 0.0
    lengths_s: tuple[float, ...] = ()


def check_length(name: str, seconds: float) -> None:
    """Raise a ConfigError unless `seconds` can be how long a machine is up, or down."""
    accepted = f"seconds from {TICK_S:.1g} to {MOST_LENGTH_S:.0e}"
    require(TICK_S <= seconds <= MOST_LENGTH_S, name, seconds, accepted)


class Times(Protocol):
    """How long machines are up, or down."""

    def __hash__(self) -> int: ...

    def law_of(self, split: str) -> Law:
        """The times of a split."""
        ...


@dataclass(frozen=True)
class ExponentialTimes:
    """What happens at a constant rate."""

    mean_s: float

    def __post_init__(self) -> None:
        check_fields(self, error=ConfigError)
        check_length("mean_s", self.mean_s)

    def law_of(self, split: str) -> Law:
        """The same for all splits."""
        return Law(EXPONENTIAL, self.mean_s)


@dataclass(frozen=True)
class LognormalTimes:
    """Many that are short, a few that are long: times whose logarithms are normal."""

    median_s: float
    sigma: float

    def __post_init__(self) -> None:
        check_fields(self, error=ConfigError)
        check_length("median_s", self.median_s)
        require(0 < self.sigma <= 5, "sigma", self.sigma, "a number > 0, at most 5")

    def law_of(self, split: str) -> Law:
        """The same for all splits."""
        mean_s = self.median_s * math.exp(self.sigma * self.sigma / 2)
        return Law(LOGNORMAL, mean_s, math.log(self.median_s), self.sigma)


@dataclass(frozen=True)
class ReplayedTimes:
    """What was measured, one after the other from a place that is drawn, and then from the start.

    The split `train` has the first 60 % of the list, `validation` the next 20 %, `test` the rest.
    """

    lengths_s: tuple[float, ...]

    def __post_init__(self) -> None:
        check_fields(self, error=ConfigError)
        require(len(self.lengths_s) > 0, "lengths_s", (), "at least one length")
        for length_s in self.lengths_s:
            check_length("lengths_s", length_s)

    def law_of(self, split: str) -> Law:
        """Those of the split.

        Raises:
            ConfigError: there are none.
        """
        first, last = (int(share * len(self.lengths_s)) for share in SHARES[split])
        own = self.lengths_s[first:last]
        accepted = f"so many that split {split!r} has one; 5 are enough for all"
        require(len(own) > 0, "lengths_s", f"{len(self.lengths_s)} lengths", accepted)
        return Law(REPLAYED, math.fsum(own) / len(own), lengths_s=own)


@dataclass(frozen=True)
class Outage:
    """A machine that is down from one second of the episode until another; inf: to its end."""

    machine: int
    from_s: float
    until_s: float

    def __post_init__(self) -> None:
        check_fields(self, "outage ", ConfigError)
        require(self.machine >= 0, "outage machine", self.machine, ">= 0")
        valid = math.isfinite(self.from_s) and self.from_s >= 0
        require(valid, "outage from_s", self.from_s, "finite seconds >= 0")
        valid = to_ticks_s(self.until_s) > to_ticks_s(self.from_s)
        require(valid, "outage until_s", self.until_s, f"later than from_s, {self.from_s}")


@dataclass(frozen=True)
class Failures:
    """Which machines fail, and what follows.

    Attributes:
        up: how long they are, in turn with down.
        down: for how long they are not.
        outages: instead of both, when which machine is down.
        gpus_per_machine: consecutive GPUs of a pool that fail together.
        warm_up_s: how long a machine that is back cannot be used yet.
        notice_s: how long before it goes the router is told; it still serves.
        detection: what a request comes to that is sent to a machine which is down: `fail-fast`, at
            once; `time-out`, after timeout_s.
        tries: how often one request may be sent; 1: those that fail are lost.
        pools: the numbers of the pools whose machines fail; none: all do.
    """

    up: Times | None = None
    down: Times | None = None
    outages: tuple[Outage, ...] = ()
    gpus_per_machine: int = 1
    warm_up_s: float = 0.0
    notice_s: float = 0.0
    detection: str = "fail-fast"
    timeout_s: float = 0.0
    tries: int = 3
    pools: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self, "failures ", ConfigError)
        require((self.up is None) == (self.down is None), "failures down", self.down, "as up")
        accepted = "some, or up and down, and not both"
        one = (self.up is None) == (len(self.outages) > 0)
        require(one, "failures outages", self.outages, accepted)
        require(self.gpus_per_machine >= 1, "gpus_per_machine", self.gpus_per_machine, ">= 1")
        for name in ("warm_up_s", "notice_s"):
            seconds = getattr(self, name)
            valid = 0 <= seconds <= MOST_LENGTH_S
            require(valid, name, seconds, f"seconds from 0 to {MOST_LENGTH_S:.0e}")
        require(1 <= self.tries <= 1000, "tries", self.tries, "1 to 1000")
        self._check_detection()
        self._check_outages()

    def _check_detection(self) -> None:
        accepted = ", ".join(DETECTIONS)
        require(self.detection in DETECTIONS, "detection", self.detection, accepted)
        if self.detection == "fail-fast":
            require(self.timeout_s == 0, "timeout_s", self.timeout_s, "0 with fail-fast")
        else:
            check_length("timeout_s", self.timeout_s)

    def _check_outages(self) -> None:
        for machine in {outage.machine for outage in self.outages}:
            for one, other in pairwise(self.outages_of(machine)):
                back_s = to_ticks_s(one.until_s) + to_ticks_s(self.warm_up_s)
                accepted = (
                    f"later than {back_s}, when machine {machine} is back from the one before"
                )
                require(to_ticks_s(other.from_s) > back_s, "outage from_s", other.from_s, accepted)

    def outages_of(self, machine: int) -> tuple[Outage, ...]:
        """The outages of a machine, in their order."""
        own = (outage for outage in self.outages if outage.machine == machine)
        return tuple(sorted(own, key=lambda outage: outage.from_s))

    def laws(self, split: str) -> tuple[Law, Law]:
        """Times up and down in a split; with outages that are listed none."""
        if self.up is None or self.down is None:
            return Law(LISTED, math.inf), Law(LISTED, 0.0)
        return self.up.law_of(split), self.down.law_of(split)

    def machines(self, gpus: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """The GPUs of every machine, where pools have so many.

        Raises:
            ConfigError: a pool that is not there, a machine that is larger than its pool or spans
                two, or an outage of a machine that is not there.
        """
        found: list[tuple[int, ...]] = []
        for pool in sorted(self._chosen(gpus)):
            size, first = self.gpus_per_machine, sum(gpus[:pool])
            accepted = f"what divides the {gpus[pool]} GPUs of pool {pool}"
            require(gpus[pool] % size == 0, "gpus_per_machine", size, accepted)
            starts = range(first, first + gpus[pool], size)
            found += [tuple(range(start, start + size)) for start in starts]
        for outage in self.outages:
            accepted = f"0 to {len(found) - 1}: there are {len(found)} machines that fail"
            require(outage.machine < len(found), "outage machine", outage.machine, accepted)
        return tuple(found)

    def _chosen(self, gpus: Sequence[int]) -> tuple[int, ...]:
        for pool in self.pools:
            accepted = f"0 to {len(gpus) - 1}, each once"
            valid = 0 <= pool < len(gpus) and self.pools.count(pool) == 1
            require(valid, "failures pools", self.pools, accepted)
        return self.pools or tuple(range(len(gpus)))
