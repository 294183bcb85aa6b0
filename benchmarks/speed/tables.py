"""What was measured, as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table


def show_rates(figures: Mapping[str, Any]) -> None:
    """Print what benchmarks.speed.rates measured."""
    table = Table(title="steps/s", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("envs", "llmroute", "CartPole", "ratio"):
        table.add_column(name, justify="right")
    for envs, rate in figures["env_steps_per_s"].items():
        other, ratio = figures["cartpole_steps_per_s"][envs], figures["ratio"][envs]
        table.add_row(envs, f"{rate:,.0f}", f"{other:,.0f}", f"{ratio:.2f}")
    Console().print(table)
    gains = ", ".join(f"{gain:.2f} at {n}" for n, gain in figures["two_threads"].items())
    print(f"two threads         times the steps/s of one: {gains} envs")
    print(f"compiled heuristic  {figures['heuristic_requests_per_s']:,.0f} requests/s")
    for name, rate in figures["train_steps_per_s"].items():
        print(f"training {name:10} {'not installed' if rate is None else f'{rate:,.0f} steps/s'}")
    print(f"memory              {figures['bytes_per_env']:,} bytes per env")
    compile_s = figures["compile_s"]
    print(f"first step          {compile_s['cold']:.1f} s, cached {compile_s['cached']:.2f} s")
    print(f"import              {figures['import_s']:.2f} s after gymnasium and numba")


def show_device(figures: Mapping[str, Any]) -> None:
    """Print what benchmarks.speed.device measured."""
    table = Table(title=figures["device"], title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("envs", "steps/s", "of the CPU's", "bytes/env", "first step"):
        table.add_column(name, justify="right")
    cpu = figures["cpu_steps_per_s"]
    for envs, found in figures["envs"].items():
        if "refused" in found:
            table.add_row(envs, found["refused"])
            continue
        rate, size = found["steps_per_s"], found["bytes_per_env"]
        row = f"{rate:,.0f}", f"{rate / cpu:.1f}", f"{size:,.0f}", f"{found['first_s']:.1f} s"
        table.add_row(envs, *row)
    Console().print(table)
    print(f"CPU, one core       {cpu:,.0f} steps/s with {figures['cpu_envs']:,} envs")


def show_engines(figures: Mapping[str, Any]) -> None:
    """Print what benchmarks.speed.engines measured."""
    fast, slow = figures["heuristic_requests_per_s"], figures["stepping_requests_per_s"]
    print(f"compiled heuristic  {fast:,.0f} requests/s; taking every step by itself {slow:,.0f}")
    print(f"leaping             {figures['leaping_over_stepping']:.1f} times as fast")
    for envs, rate in figures["env_steps_per_s"].items():
        print(f"envs {envs:14} {rate:,.0f} steps/s")
    for axis in ("instances", "running", "load"):
        costs = figures[f"ns_by_{axis}"].items()
        print(f"by {axis:16} " + ", ".join(f"{n}: {cost:,.0f} ns" for n, cost in costs))
    print(f"19,366 conversations {figures['hour_of_conversations_ms']:.1f} ms")


def show_decisions(figures: Mapping[str, Any]) -> None:
    """Print what benchmarks.speed.decisions measured."""
    title = f"{figures['agent']}: {figures['decisions']:,} decisions on one core"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("by", "p50 us", "p99 us", "cpu p50", "cpu p99"):
        table.add_column(name, justify="left" if name == "by" else "right")
    for way, times in figures["decision_us"].items():
        table.add_row(way, *(f"{time_us:.2f}" for time_us in times.values()))
    Console().print(table)
    print(
        "compiled loop: means of blocks that never return to Python; the rest one call each\n"
        "cpu: without the time in which other processes had the core"
    )


def show_training(figures: Mapping[str, Any]) -> None:
    """Print what benchmarks.speed.training measured."""
    title = f"{figures['scenario']}: seconds of training until the score of tuned heuristics"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    levels = [f"{name} {score:.4f}" for name, score in figures["heuristics"].items()]
    for column in ("learner", *levels, f"by {figures['gain']:g} more", "best", "trained"):
        table.add_column(column, justify="left" if column == "learner" else "right")
    for learner, run in figures["learners"].items():
        times = [seconds(time) for time in (*run["reached_s"].values(), run["exceeded_s"])]
        table.add_row(learner, *times, f"{run['best']:.4f}", seconds(run["spent_s"]))
    Console().print(table)
    print(
        "scores: utility of peak on validation episodes; a guarded router begins at the heuristic"
    )


def seconds(value: float | None) -> str:
    """A time, or that there was none."""
    return "never" if value is None else f"{value:.1f} s"
