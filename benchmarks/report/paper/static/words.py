"""In words, where the paper's headline figures on rates and windows are reached; from rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.evaluation.metrics import THRESHOLDS
from benchmarks.report.data import Results, ratio
from benchmarks.report.paper.static import choices
from benchmarks.report.paper.static.gpus import span
from benchmarks.report.paper.static.grid import (
    BEST_TUNED,
    PAPER_WINDOWS,
    RECIPE,
    SHEDDING,
    STATIC,
    Case,
    Multiples,
    Setting,
    cases,
    chosen,
    counts,
    nearest,
    reached,
    router,
    text,
)
from benchmarks.report.paper.windows import LARGEST
from benchmarks.report.text import listed, load_text, times

TAG, SHEDDING_TAG = "static-stable", "availability"
"""Tags of the entries of constant rate."""

PAPER_RATE, STEEP = 10.0, "steep-pair"
LEVELS = tuple(f"{100 * threshold:.0f}" for threshold in THRESHOLDS)


def of_availability(results: Results) -> Iterator[str]:
    """(a) the highest rate with 99 % in time."""
    if not results.tagged(TAG):
        return
    tuned = results.best_tuned(results.tagged(TAG)[0])
    names = list(dict.fromkeys(name for name in (chosen(results), RECIPE, tuned) if name))
    found = {name: rate_ratio(results, TAG, name) for name in names if ran(results, TAG, name)}
    text = (
        f"(a) Highest rate of the stable workload with 99 % in time, over that of {LARGEST} alone; "
        f"above {PAPER_RATE:g} times in the paper. With nothing shed {verdict(found)} "
        f"{rates(results, TAG, found)}."
    )
    shedding = {
        name: rate_ratio(results, SHEDDING_TAG, name)
        for name in names
        if ran(results, SHEDDING_TAG, name)
    }
    if shedding:
        text += f" With shedding: {rates(results, SHEDDING_TAG, shedding)}."
    yield text


def ran(results: Results, tag: str, agent: str) -> bool:
    """Whether a router can be set against the largest model alone on the entries of a tag."""
    loads = [results.highest_available(tag, LARGEST), *results.curve(tag, agent, "deadline_met")[0]]
    return None not in loads and len(loads) > 1


def rate_ratio(results: Results, tag: str, agent: str) -> float | None:
    """Highest available rate as a multiple of the largest model's alone."""
    load, base = (results.highest_available(tag, a) for a in (agent, LARGEST))
    return ratio(load, base)


def verdict(found: Mapping[str, float | None]) -> str:
    """By which routers the paper's figure is reproduced, and by which not."""
    yes = [name for name, value in found.items() if value is not None and value > PAPER_RATE]
    no = [name for name in found if name not in yes]
    by = [f"it is reproduced by {listed(yes)}"] if yes else []
    by += [f"{'' if yes else 'it is '}not reproduced by {listed(no)}"] if no else []
    return f"{', '.join(by) or 'it is not known'}:"


def rates(results: Results, tag: str, found: Mapping[str, float | None]) -> str:
    """Multiples and loads of some routers; none where even the lowest load is too much."""
    each = [
        f"{name} {times(value)} (load {load_text(results, name, tag=tag)})"
        if value is not None
        else f"{name} at no load"
        for name, value in found.items()
    ]
    return ", ".join([*each, f"{LARGEST} alone load {load_text(results, LARGEST, tag=tag)}"])


def of_windows(results: Results) -> Iterator[str]:
    """(b) windows near the peak."""
    wanted = [(STATIC, who) for who in (chosen(results), RECIPE, BEST_TUNED)]
    wanted += [(SHEDDING, who) for who in (chosen(results), STEEP)]
    found = {key: cases(results, *key) for key in dict.fromkeys(wanted)}
    if not any(found[key] for key in found if key[0] == STATIC):
        return
    paper = " / ".join(f"{value:g}" for value in PAPER_WINDOWS)
    yield (
        f"(b) Windows at >= {' / '.join(LEVELS)} % of peak, as multiples of those of {LARGEST} "
        f"alone; {paper} in the paper, the first two against static serving. A case is a workload, "
        "a load, a length of episodes and a length of windows. "
        + " ".join(reach(results, *key, values) for key, values in found.items() if values)
        + in_no_case(results)
    )


def reach(
    results: Results, setting: Setting, who: str | None, found: Mapping[Case, Multiples]
) -> str:
    """In how many cases one router reaches the paper's multiples, their range, and the nearest."""
    hits = counts(found.values())
    yes = [level for level, hit in zip(LEVELS, hits, strict=True) if hit]
    no = [level for level, hit in zip(LEVELS, hits, strict=True) if not hit]
    said = [f"reproduced at {listed(yes)} %"] if yes else []
    said += [f"not reproduced at {listed(no)} %"] if no else []
    together = sum(all(reached(values)) for values in found.values())
    close = nearest(found)
    text_of_nearest = ""
    if close:
        text_of_nearest = (
            f", nearest to all three {text(found[close])} on {close}{named(results, close, who)}"
        )
    return (
        f"{setting.words[0].upper()}{setting.words[1:]}, {who}: {', '.join(said)} "
        f"(in {' / '.join(map(str, hits))} of {len(found)} cases, all three in {together}); "
        f"multiples {' / '.join(ranges(found))}{text_of_nearest}."
    )


def named(results: Results, case: Case, who: str | None) -> str:
    """Which heuristic the best tuned one is."""
    return f" ({router(results, case.spot.entry, who)})" if who == BEST_TUNED else ""


def ranges(found: Mapping[Case, Multiples]) -> list[str]:
    """Least to largest multiple, by threshold."""
    columns = [[v for v in values if v is not None] for values in zip(*found.values(), strict=True)]
    return [span(values) if values else "-" for values in columns]


def in_no_case(results: Results) -> str:
    """With which choices the learned router never reaches the paper's multiple."""
    who = chosen(results)
    texts = choices.nowhere(cases(results, STATIC, who))
    return f" With nothing shed {who} reaches it in no case {'; '.join(texts)}." if texts else ""
