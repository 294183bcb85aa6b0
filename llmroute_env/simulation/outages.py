"""All outages of an episode in advance, by the rule of docs/service-model.md, in plain Python.

For bounds and pictures: the dynamics draw them one by one (dynamics/periods.py), and a test says
that both are the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from llmroute_env.config import EnvConfig
from llmroute_env.failure_specs import EXPONENTIAL, LISTED, LOGNORMAL, Failures, Law
from llmroute_env.specs import TICK_S, to_ticks_s

Interval = tuple[float, float]

MASK, GAMMA, SALT = 2**64 - 1, 0x9E3779B97F4A7C15, 0x6661696C75726573


def mixed(z: int) -> int:
    """64 bits of which each depends on all of `z`: SplitMix64's."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


@dataclass
class Stream:
    """Numbers in [0, 1) of one machine."""

    state: int

    def number(self) -> float:
        """The next one."""
        self.state = (self.state + GAMMA) & MASK
        return (mixed(self.state) >> 11) * 2.0**-53

    def normal(self) -> float:
        """One of the standard normal distribution, from two (Box and Muller 1958)."""
        radius = math.sqrt(-2.0 * math.log(1.0 - self.number()))
        return radius * math.cos(2.0 * math.pi * self.number())


@dataclass
class Periods:
    """Times up, or down, of one machine, in turn."""

    law: Law
    stream: Stream
    place: int | None = None

    def next_s(self) -> float:
        """The next one."""
        if self.law.kind == EXPONENTIAL:
            return in_ticks(-self.law.mean_s * math.log(1.0 - self.stream.number()))
        if self.law.kind == LOGNORMAL:
            return in_ticks(math.exp(self.law.mu + self.law.sigma * self.stream.normal()))
        if self.place is None:
            self.place = int(self.stream.number() * len(self.law.lengths_s))
        return in_ticks(self._replayed_s())

    def first_rest_s(self) -> float:
        """What is left of the one into which the episode's begin falls."""
        if self.law.kind == EXPONENTIAL:
            return self.next_s()
        part, law = self.stream.number(), self.law
        if law.kind == LOGNORMAL:
            shift = law.sigma * law.sigma
            return in_ticks(part * math.exp(law.mu + shift + law.sigma * self.stream.normal()))
        left_s = self.stream.number() * law.mean_s * len(law.lengths_s)
        self.place = 0
        while self.place < len(law.lengths_s) - 1 and left_s >= law.lengths_s[self.place]:
            left_s -= law.lengths_s[self.place]
            self.place += 1
        return in_ticks(part * self._replayed_s())

    def _replayed_s(self) -> float:
        assert self.place is not None
        length_s = self.law.lengths_s[self.place]
        self.place = (self.place + 1) % len(self.law.lengths_s)
        return length_s


def in_ticks(seconds: float) -> float:
    """A length in whole ticks, at least one."""
    return max(to_ticks_s(seconds), TICK_S)


def outages(config: EnvConfig, seed: int, until_s: float) -> tuple[tuple[Interval, ...], ...]:
    """When each machine is down, in seconds of the episode, as far as that begins before `until_s`.

    An interval ends when the machine can be used again: it has warmed up. `seed` is where the env's
    stream stands when the episode begins: the `episode_seed` of a row. There is no interval where
    nothing fails; `failures.machines` says which GPUs a machine has.
    """
    if config.failures is None:
        return ()
    stream = mixed(seed ^ SALT)
    count = len(config.failures.machines([pool.gpus for pool in config.pools]))
    states = [mixed((stream + (k + 1) * GAMMA) & MASK) for k in range(count)]
    found = (down_times(config, k, Stream(state)) for k, state in enumerate(states))
    return tuple(tuple(before(intervals, until_s)) for intervals in found)


def before(intervals: Iterator[Interval], until_s: float) -> Iterator[Interval]:
    """Those that begin before `until_s`."""
    for interval in intervals:
        if interval[0] >= until_s:
            return
        yield interval


def down_times(config: EnvConfig, k: int, stream: Stream) -> Iterator[Interval]:
    """When machine `k` is down, for ever."""
    assert config.failures is not None
    laws = config.failures.laws(config.split)
    warm_up_s = to_ticks_s(config.failures.warm_up_s)
    if laws[0].kind == LISTED:
        yield from listed(config.failures, k, warm_up_s)
        return
    up, down = (Periods(law, stream) for law in laws)
    up_s, down_s = laws[0].mean_s, laws[1].mean_s
    place_s = stream.number() * (up_s + down_s + warm_up_s)
    if place_s < up_s:
        at_s = up.first_rest_s()
    else:
        back_s = in_ticks(up_s + down_s + warm_up_s - place_s)
        if place_s < up_s + down_s:
            back_s = down.first_rest_s() + warm_up_s
        yield 0.0, back_s
        at_s = back_s + up.next_s()
    while True:
        back_s = at_s + down.next_s() + warm_up_s
        yield at_s, back_s
        at_s = back_s + up.next_s()


def listed(failures: Failures, k: int, warm_up_s: float) -> Iterator[Interval]:
    """The outages of a list."""
    for outage in failures.outages_of(k):
        yield to_ticks_s(outage.from_s), to_ticks_s(outage.until_s) + warm_up_s
