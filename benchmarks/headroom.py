"""How much there is to gain in a problem, before anybody trains: rules, clairvoyants, the bound.

Three who know what no router does say what stands in its way: one to whom signals are exact; one
who knows the present exactly, and how requests come, but not which will; and one who knows what
will come. All meet the same test episodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.compiled.making import COMPILED
from agents.heuristics.lookahead import FUTURES, OVER_MODELS, Foresight, Hindsight
from agents.heuristics.table import make, tunable_in
from agents.settings.own import RolloutSettings
from benchmarks.bounds.upper import bound_of_peak
from benchmarks.evaluation.intervals import Interval
from benchmarks.evaluation.runner import Evaluation, differences, evaluate
from benchmarks.evaluation.settings import tuned_in
from llmroute_env.config import EnvConfig
from llmroute_env.signal_specs import Signals
from llmroute_env.simulation.episodes import episode_seeds

HORIZONS = (0.5, 1.0, 2.0)
"""How far the clairvoyant looks ahead, in units of the longest latency that earns something."""


class Rule(NamedTuple):
    """A heuristic with the setting that is best on validation episodes, and what it earns there."""

    name: str
    setting: float
    score: float

    def __str__(self) -> str:
        return f"{self.name} {self.setting:g}"


@dataclass(frozen=True)
class Level:
    """What somebody earns.

    Attributes:
        who: in words.
        earned: utility of peak by episode, shape (N,).
        gain: of the mean over the best rule's, paired.
    """

    who: str
    earned: NDArray[np.float64]
    gain: Interval | None = None

    def to_json(self) -> dict[str, Any]:
        """The mean and the gain as a JSON-ready object."""
        gain = None if self.gain is None else self.gain.to_json()
        return {"who": self.who, "utility_of_peak": float(self.earned.mean()), "gain": gain}


def headroom(
    config: EnvConfig, episodes: int, seed: int, folder: Path, horizons: Sequence[float] = HORIZONS
) -> list[Level]:
    """The best rule, the clairvoyants, and the bound, on the same test episodes of `config`.

    Settings that do not come with the package are found once and kept in `folder`.
    """
    config = replace(config, split="test")
    rules = rules_in(config, folder, tunable_in(config))
    best = max(rules, key=lambda rule: rule.score)
    found = {str(best): evaluate(make(best.name, config, best.setting), config, episodes, seed)}
    if config.signals.are_late:
        exact = replace(config, signals=Signals())
        # Who runs compiled is tuned in no time, and has the best of exact signals.
        quick = [name for name in tunable_in(exact) if name in COMPILED]
        seeing = max(rules_in(exact, folder, quick), key=lambda rule: rule.score)
        router = make(seeing.name, exact, seeing.setting)
        found[f"{seeing}, with exact signals"] = evaluate(router, exact, episodes, seed)
    for followed in followed_in(rules):
        horizons_s = [RolloutSettings(horizon=units).horizon_s(config) for units in horizons]
        if not config.comes_back:
            shortest_s = min(horizons_s)
            who = f"who tries in {FUTURES} sampled futures of {shortest_s:.3g} s, then {followed}"
            found[who] = improved(Foresight, config, followed, shortest_s, episodes, seed)
        for horizon_s in horizons_s:
            who = f"who knows {horizon_s:.3g} s of what comes, then {followed}"
            found[who] = improved(Hindsight, config, followed, horizon_s, episodes, seed)
    most = bound_of_peak(config, episode_seeds(seed, episodes))
    return [*levels(found), Level("no router can exceed", most)]


def improved(
    kind: type[Hindsight],
    config: EnvConfig,
    followed: Rule,
    horizon_s: float,
    episodes: int,
    seed: int,
) -> Evaluation:
    """What one step of policy improvement on `followed` earns, by who looks ahead so far."""
    name = kind.__name__.lower()
    router = kind(name, config, followed.setting, follows=followed.name, horizon_s=horizon_s)
    return evaluate(router, config, episodes, seed)


def rules_in(config: EnvConfig, folder: Path, names: Iterable[str]) -> list[Rule]:
    """The heuristics `names`, which have a setting in `config`, each at its best."""
    tunings = {name: tuned_in(name, config, folder)[0] for name in names}
    return [
        Rule(name, float(found["setting"]), float(found["validation_score"]))
        for name, found in tunings.items()
    ]


def followed_in(rules: Iterable[Rule]) -> list[Rule]:
    """Whom the clairvoyant follows: the best that decides models, and the best that decides pairs.

    Only those that run compiled can be followed; to turn away, or to put off, is no pair.
    """
    known = [rule for rule in rules if rule.name in COMPILED]
    over_models = [rule for rule in known if rule.name in OVER_MODELS]
    over_pairs = [rule for rule in known if rule.name not in OVER_MODELS]
    return [max(kind, key=lambda rule: rule.score) for kind in (over_models, over_pairs)]


def levels(found: dict[str, Evaluation]) -> list[Level]:
    """What each has earned, and over the first."""
    gains = [None, *differences(list(found.values()))]
    return [
        Level(who, evaluation.values("utility_of_peak"), gain)
        for (who, evaluation), gain in zip(found.items(), gains, strict=True)
    ]
