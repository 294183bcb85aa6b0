"""Signals: how late, noisy and incomplete is what a router knows of the GPUs.

docs/service-model.md has the rules.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmroute_env.errors import ConfigError, require
from traces.typed import check_fields

SHORTEST_S, LONGEST_S = 2.0**-30, 1e6
"""Of an interval between scrapes: the shortest is a tick of the clock."""


@dataclass(frozen=True)
class Signals:
    """How a router comes to know of the GPUs: each is scraped every so often.

    Attributes:
        scrape_interval_s: time between two scrapes of a GPU; 0: all is known exactly and at once.
        delay_s: from a scrape until the router has it.
        noise: of the factors, log-normal with mean 1, of what is counted and timed: the standard
            deviation of their logarithms.
        lost: share of the scrapes that never arrive.
        dead_reckoning: whether what the router has sent since is added to what it sees.
        circuit_breaker: whether a GPU on which something is known to have failed is believed to be
            down until it is scraped again.
    """

    scrape_interval_s: float = 0.0
    delay_s: float = 0.0
    noise: float = 0.0
    lost: float = 0.0
    dead_reckoning: bool = False
    circuit_breaker: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "signals ", ConfigError)
        interval_s = self.scrape_interval_s
        valid = interval_s == 0 or SHORTEST_S <= interval_s <= LONGEST_S
        accepted = f"{SHORTEST_S:.3g} to {LONGEST_S:g} s, or 0 for exact signals"
        require(valid, "signals scrape_interval_s", interval_s, accepted)
        accepted = f"0 to scrape_interval_s, {interval_s:g} s"
        require(0 <= self.delay_s <= interval_s, "signals delay_s", self.delay_s, accepted)
        require(0 <= self.noise <= 1, "signals noise", self.noise, "0 to 1")
        require(0 <= self.lost < 1, "signals lost", self.lost, "a share >= 0 and < 1")
        for name in ("noise", "lost", "dead_reckoning", "circuit_breaker"):
            value = getattr(self, name)
            accepted = "nothing of it with scrape_interval_s 0, whose signals are exact"
            require(interval_s > 0 or not value, f"signals {name}", value, accepted)

    @property
    def are_late(self) -> bool:
        """Whether a router sees anything else than what is."""
        return self.scrape_interval_s > 0
