"""Signals that are late: what the routers of an env see of a GPU is what its last scrape found.

A GPU changes only where something happens at it. Before it does, and before a decision, `catch_up`
takes what its scrapes have seen since it last changed: of these the last that has arrived, and one
that has not, are all that anybody will ever ask for.
"""

from __future__ import annotations

from typing import Any

from llmroute_env.dynamics.compiled import compiled
from llmroute_env.dynamics.dispatch import update_load
from llmroute_env.dynamics.noise import (
    APART,
    arrives,
    factor,
    first_after,
    noisy_count,
    noisy_until,
)
from llmroute_env.dynamics.records import copy_record
from llmroute_env.dynamics.service.border import reckon, show
from llmroute_env.dynamics.streams import bits
from llmroute_env.dynamics.tournament import ARRIVAL, fill_tree, set_key, winner
from llmroute_env.dynamics.world import World, if_exact, view_of
from llmroute_env.specs import TICKS_PER_S


def nothing(world: World, e: int) -> None:
    """Of what there is with signals that are late."""


def nothing_at(world: World, e: int, gpu: int, what: Any) -> None:
    """Likewise."""


def nothing_between(world: World, source: int, target: int) -> None:
    """Likewise."""


@if_exact(nothing)
def begin_scrapes(world: World, e: int) -> None:
    """Begin the episode's streams of scrapes: the last before it found an empty cluster."""
    rules, s = world.cluster.rules[0], world.state
    for gpu in range(rules.gpus):
        s.gpus[e, gpu].stream = bits(s.envs[e].rng ^ APART, gpu + 1)
        first_s = first_after(world, e, gpu) / TICKS_PER_S
        for row in (view_of(world, e), on_the_way(world, e)):
            copy_shown(world, e, row, gpu)
            s.gpus[row, gpu].scraped_s = first_s - rules.scrape_s
            show(world, e, row, gpu)
        s.contests[e, ARRIVAL, gpu].key = first_s + rules.delay_s
    for m in range(rules.models):
        seen = s.models[view_of(world, e), m]
        seen.waiting, seen.running = 0, 0
    fill_tree(s.contests, e, ARRIVAL, 0, rules.gpus)


@compiled
def on_the_way(world: World, e: int) -> int:
    """The row of what was scraped and has not arrived."""
    return int(e + 2 * world.cluster.rules[0].view_rows)


@if_exact(nothing)
def look(world: World, e: int) -> None:
    """Let the routers of env `e` see what has arrived before now."""
    rules, s = world.cluster.rules[0], world.state
    gpu = winner(s.contests, e, ARRIVAL, 0, rules.gpus, 1)
    while s.contests[e, ARRIVAL, gpu].key < s.envs[e].now_s:
        catch_up(world, e, gpu, s.envs[e].now_s)
        gpu = winner(s.contests, e, ARRIVAL, 0, rules.gpus, 1)


@if_exact(nothing_at)
def before_change(world: World, e: int, gpu: int, at_s: float) -> None:
    """Something is about to happen on `gpu`: take what was seen before it."""
    catch_up(world, e, gpu, at_s)


@compiled
def catch_up(world: World, e: int, gpu: int, at_s: float) -> None:
    """Take what scrapes of `gpu` before `at_s` have seen, and let arrive what does before then."""
    rules, s = world.cluster.rules[0], world.state
    seen, coming = s.gpus[view_of(world, e), gpu], s.gpus[on_the_way(world, e), gpu]
    interval, delay = int(rules.scrape_s * TICKS_PER_S), int(rules.delay_s * TICKS_PER_S)
    now = int(at_s * TICKS_PER_S)
    if seen.scraped_s < coming.scraped_s and int(coming.scraped_s * TICKS_PER_S) + delay < now:
        arrive(world, e, gpu)
    known = int(max(seen.scraped_s, coming.scraped_s) * TICKS_PER_S)
    last = known + (now - 1 - known) // interval * interval
    found = last_that_arrives(world, e, gpu, known, last)
    if found > known and found + delay >= now:
        # Until it arrives the one before it is seen, which may not have been taken yet.
        before = last_that_arrives(world, e, gpu, known, found - interval)
        if before > known:
            take(world, e, gpu, before)
            arrive(world, e, gpu)
    if found > known:
        take(world, e, gpu, found)
        if found + delay < now:
            arrive(world, e, gpu)
    next_s = coming.scraped_s
    if coming.scraped_s <= seen.scraped_s:
        next_s = (last + interval) / TICKS_PER_S
    if s.contests[e, ARRIVAL, gpu].key != next_s + rules.delay_s:
        set_key(s.contests, e, ARRIVAL, 0, rules.gpus, gpu, next_s + rules.delay_s)


@compiled
def last_that_arrives(world: World, e: int, gpu: int, after: int, last: int) -> int:
    """The last scrape after tick `after`, up to `last`, that is not lost; `after` if none is."""
    at = last
    while at > after and not arrives(world, e, gpu, at):
        at -= int(world.cluster.rules[0].scrape_s * TICKS_PER_S)
    return max(at, after)


@compiled
def take(world: World, e: int, gpu: int, at: int) -> None:
    """What `gpu` is now is what its scrape at tick `at` found."""
    row = on_the_way(world, e)
    copy_shown(world, e, row, gpu)
    world.state.gpus[row, gpu].scraped_s = at / TICKS_PER_S
    if world.cluster.rules[0].noise > 0.0:
        add_noise(world, e, gpu, at)
    show(world, e, row, gpu)


@compiled
def copy_shown(world: World, source: int, target: int, gpu: int) -> None:
    """Copy the records of `gpu` from one row to another."""
    s = world.state
    copy_record(s.gpus[target, gpu], s.gpus[source, gpu])
    for m in range(world.cluster.rules[0].models):
        copy_record(s.queues[target, gpu, m], s.queues[source, gpu, m])


@compiled
def add_noise(world: World, e: int, gpu: int, at: int) -> None:
    """Multiply what is counted and timed in the scrape of `gpu` at tick `at`."""
    s, row = world.state, on_the_way(world, e)
    seen = s.gpus[row, gpu]
    at_s = at / TICKS_PER_S
    if seen.running > 0:
        seen.finish_s = noisy_until(at_s, seen.finish_s, factor(world, e, gpu, at, 0))
    seen.drain_s = noisy_until(at_s, seen.drain_s, factor(world, e, gpu, at, 1))
    seen.waiting, seen.running = 0, 0
    for m in range(world.cluster.rules[0].models):
        queue = s.queues[row, gpu, m]
        if queue.waiting > 0:
            queue.waiting = noisy_count(queue.waiting, factor(world, e, gpu, at, 2 + 2 * m))
        if queue.running > 0:
            # That something runs is no count.
            by = factor(world, e, gpu, at, 3 + 2 * m)
            queue.running = max(noisy_count(queue.running, by), 1)
        seen.waiting += queue.waiting
        seen.running += queue.running


@compiled
def arrive(world: World, e: int, gpu: int) -> None:
    """What is on the way is seen from now on."""
    s, source, target = world.state, on_the_way(world, e), view_of(world, e)
    for m in range(world.cluster.rules[0].models):
        old, new, model = s.queues[target, gpu, m], s.queues[source, gpu, m], s.models[target, m]
        model.waiting += new.waiting - old.waiting
        model.running += new.running - old.running
    copy_shown(world, source, target, gpu)
    show(world, source, target, gpu)
    update_load(world, e, gpu)


@if_exact(nothing_at)
def believe_down(world: World, e: int, gpu: int, at_s: float) -> None:
    """Something has failed on `gpu`: its circuit is broken until it has been scraped since."""
    if not world.cluster.rules[0].breaks_circuits:
        return
    catch_up(world, e, gpu, at_s)
    for row in (view_of(world, e), on_the_way(world, e)):
        world.state.gpus[row, gpu].is_up = 0
    update_load(world, e, gpu)


@if_exact(nothing_at)
def note_sent(world: World, e: int, gpu: int, model: int) -> None:
    """The router knows at once what it has sent."""
    for row in (view_of(world, e), on_the_way(world, e)):
        add_sent(world, e, row, gpu, model)
    if world.cluster.rules[0].reckons:
        world.state.models[view_of(world, e), model].waiting += 1
        update_load(world, e, gpu)


@compiled
def add_sent(world: World, e: int, row: int, gpu: int, model: int) -> None:
    """One more request for `model` was sent since what `row` has of `gpu` was so."""
    s = world.state
    seen, queue = s.gpus[row, gpu], s.queues[row, gpu, model]
    queue.sent += 1
    if world.cluster.rules[0].reckons:
        added_s = reckon(world, e, row, gpu, model)
        seen.drain_s = max(seen.drain_s, s.envs[e].now_s) + added_s
        queue.waiting += 1
        seen.waiting += 1


@if_exact(nothing_between)
def copy_view(world: World, source: int, target: int) -> None:
    """Copy what routers of one env see, and what is on its way to them, to another."""
    rules, s = world.cluster.rules[0], world.state
    for block in (rules.view_rows, 2 * rules.view_rows):
        for gpu in range(rules.gpus):
            copy_shown(world, source + block, target + block, gpu)
            show(world, source + block, target + block, gpu)
        for m in range(rules.models):
            copy_record(s.models[target + block, m], s.models[source + block, m])
    for gpu in range(rules.gpus):
        copy_record(s.contests[target, ARRIVAL, gpu], s.contests[source, ARRIVAL, gpu])
