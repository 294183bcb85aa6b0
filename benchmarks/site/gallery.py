"""Scenarios of docs/scenarios.md: a table; of each a picture, figures, and what is hard."""

from __future__ import annotations

import json
import math
import textwrap

from benchmarks.evaluation.settings import SHIPPED, fingerprint
from benchmarks.site.hard import HARD
from benchmarks.site.parts import table
from benchmarks.site.rates import Rates, picture
from llmroute_env.config import EnvConfig
from llmroute_env.scenarios import SCENARIOS, Scenario, arrival_rates
from llmroute_env.specs import Deadline

FOLDER = "figures/rates"
"""Of the pictures, from the page."""

COLUMNS = 128
"""Of a line of the page."""

CHAPTERS = ("static", "tokens", "world", "tokens-world")


def chapter_of(scenario: Scenario) -> str:
    """Where in the gallery a scenario is."""
    parts = [tag for tag in ("tokens", "world") if tag in scenario.tags]
    return "-".join(parts) or "static"


def all_rates() -> dict[str, Rates]:
    """Arrival rates of the whole workload of every scenario."""
    return {name: Rates(tuple(arrival_rates(name).tolist())) for name in SCENARIOS}


def overview(rates: dict[str, Rates]) -> str:
    """One row a scenario."""
    rows = []
    for name, s in SCENARIOS.items():
        load, varies = span(*s.config.load_range), spread(s.config, rates[name])
        rows.append((f"[`{name}`](#{name})", s.summary, load, varies))
    return table(("name", "arrivals", "load", "rate over 1 s / load 1"), rows)


def spread(config: EnvConfig, rates: Rates) -> str:
    """How far the rate over a second varies, from the lowest load of an episode to the highest."""
    low, high = rates.spread
    least, most = drawn(config)
    return f"{low * least:.2f} to {high * most:.2f}"


def drawn(config: EnvConfig) -> tuple[float, float]:
    """Lowest and highest load of an episode, in units of that of the whole workload."""
    low, high = config.load_range
    return low / math.sqrt(low * high), high / math.sqrt(low * high)


def span(low: float, high: float) -> str:
    """One number or two."""
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def pictures(rates: dict[str, Rates]) -> dict[str, str]:
    """Files of the pictures, by name."""
    return {file_of(name, rates): picture(found) for name, found in rates.items()}


def file_of(name: str, rates: dict[str, Rates]) -> str:
    """The picture of a scenario; those with the same arrivals share one, that of the first."""
    same = (other for other, found in rates.items() if found == rates[name])
    return f"{next(same)}.svg"


def chapter(name: str, rates: dict[str, Rates]) -> str:
    """All scenarios of a chapter."""
    members = [scenario for scenario in SCENARIOS.values() if chapter_of(scenario) == name]
    return "\n\n".join(entry(scenario, rates) for scenario in members)


def entry(scenario: Scenario, rates: dict[str, Rates]) -> str:
    """One scenario."""
    name = scenario.name
    shown = f"![Arrival rate of {name} over time]({FOLDER}/{file_of(name, rates)})"
    told = [figures_of(scenario.config, rates[name]), f"**What is hard**: {HARD[name]}"]
    words = [sentence(scenario.summary), *told, tuned(scenario.config)]
    first, *rest = (textwrap.fill(text, COLUMNS, break_on_hyphens=False) for text in words)
    return "\n\n".join([f"### {name}", first, shown, *rest])


def sentence(words: str) -> str:
    """Words as a sentence; a scenario's name at its beginning stays as it is."""
    named = words.split()[0] in SCENARIOS
    return f"{words}." if named else f"{words[0].upper()}{words[1:]}."


def figures_of(config: EnvConfig, rates: Rates) -> str:
    """What a scenario is in figures."""
    busiest = rates.most * drawn(config)[1]
    return (
        f"**Load** {span(*config.load_range)} · **rate over 1 s / load 1** "
        f"{spread(config, rates)}, at most {busiest:.1f} · "
        f"**load 1** {config.load_1_per_s:.3g} requests/s · "
        f"**cluster** {config.gpus} GPUs, {len(config.models)} models · "
        f"**due** {due(config)} · **episodes** {config.window_s:g} s"
    )


def due(config: EnvConfig) -> str:
    """Every deadline that there is."""
    users = config.resolved_classes
    known = {u.deadline_of(task, config.deadline): None for u in users for task in config.tasks}
    return " or ".join(limits(deadline) for deadline in known)


def limits(deadline: Deadline) -> str:
    """A deadline in words."""
    parts = [("", deadline.deadline_s), ("first token ", deadline.ttft_s)]
    parts += [("tokens every ", deadline.tpot_s)]
    said = " and ".join(f"{what}{s:g} s" for what, s in parts if math.isfinite(s))
    soft = f", {deadline.kind} over {deadline.grace_s:g} s"
    return said if deadline.kind == "hard" else said + soft


def tuned(config: EnvConfig) -> str:
    """The best and the worst of the tuned rules, by validation."""
    found = json.loads(SHIPPED.read_text())[fingerprint(config)]
    scores = {rule: f["validation_score"] for rule, f in found.items() if rule != "scenario"}
    best, worst = max(scores, key=scores.__getitem__), min(scores, key=scores.__getitem__)
    return (
        f"**Tuned rules**, utility of peak on validation episodes: `{best}` {scores[best]:.3f} at "
        f"best, `{worst}` {scores[worst]:.3f} at worst."
    )


def parts(rates: dict[str, Rates]) -> dict[str, str]:
    """All of the page that is made, by name."""
    return {"overview": overview(rates)} | {name: chapter(name, rates) for name in CHAPTERS}
