"""One episode as a clairvoyant knows it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.bounds.up_times import ALWAYS, UpTimes
from llmroute_env.dynamics.cluster import Cluster
from llmroute_env.dynamics.reward import HARD, decay
from llmroute_env.dynamics.state import Records
from llmroute_env.specs import TICK_S

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Instance:
    """What a clairvoyant knows: the cluster, when it is up, when requests come, of which kind."""

    cluster: Cluster
    arrival_s: Floats  # (N,) sorted, whole ticks
    kind: Integers  # (N,) class of the user x number of tasks + task
    prompt_tokens: Integers  # (N,), or (0,) where the service reads no lengths
    output_tokens: Integers  # likewise
    up: UpTimes = ALWAYS

    @property
    def utility(self) -> Floats:
        """What an answer in time earns, by kind and model, shape (K, M)."""
        flat: Floats = self.cluster.utility.reshape(-1, self.cluster.utility.shape[2])
        return flat

    @property
    def terms(self) -> Records:
        """When an answer counts, by kind: TERMS, shape (K,)."""
        return self.cluster.terms.ravel()

    @property
    def expiry_s(self) -> float:
        """How long after its arrival a request of any kind can earn anything."""
        return float((self.terms["deadline_s"] + self.terms["grace_s"]).max())

    @property
    def given_up(self) -> float:
        """What a request earns whose router turns it away, or at least nothing."""
        return max(float(self.cluster.rules[0]["reject_utility"]), 0.0)

    @property
    def last_due_s(self) -> float:
        """When the last answer is due that is ever due."""
        terms, grace_s = self.terms, self.terms["grace_s"]
        after_s = [terms["deadline_s"] + grace_s, terms["patience_s"], terms["ttft_s"] + grace_s]
        if len(self.output_tokens):
            most_tokens = float(self.output_tokens.max())
            after_s.append(after_s[-1] + terms["tpot_s"] * most_tokens + grace_s)
        due_s = np.concatenate(after_s)
        longest_s = float(due_s[np.isfinite(due_s)].max(initial=0.0))
        return float(self.arrival_s[-1]) + longest_s

    def only(self, chosen: NDArray[Any]) -> Instance:
        """The same without the other requests."""
        tokens = [t[chosen] if len(t) else t for t in (self.prompt_tokens, self.output_tokens)]
        return replace(
            self,
            arrival_s=self.arrival_s[chosen],
            kind=self.kind[chosen],
            prompt_tokens=tokens[0],
            output_tokens=tokens[1],
        )


def lateness_levels(terms: np.void, steps: int) -> list[tuple[float, float]]:
    """(so late at most, share of the utility earned at most) of answers under these terms."""
    grace_s = float(terms["grace_s"])
    if terms["decay"] == HARD:
        return [(0.0, 1.0)]
    late_s = np.ceil(np.linspace(0.0, grace_s / TICK_S, steps + 1)) * TICK_S
    kept = [decay(int(terms["decay"]), grace_s, float(late)) for late in late_s[:-1]]
    return [(float(late), k) for late, k in zip(late_s[1:], kept, strict=True)]


def equal_slots_s(first_s: float, span_s: float, slot_s: float) -> Floats:
    """Edges of slots from `first_s` on, one more than the span needs; one slot if it is endless."""
    if slot_s == 0.0 or not np.isfinite(span_s):
        return np.array([first_s, np.inf])
    return first_s + slot_s * np.arange(np.ceil(span_s / slot_s) + 2, dtype=np.float64)
