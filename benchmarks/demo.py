"""The main job in one command: train a router on real arrivals, compare it, show it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from agents.base import Agent
from agents.heuristics import models as heuristics
from agents.heuristics import table as controls
from agents.heuristics.tuning import tune
from agents.loading import load
from agents.runs.plan import Plan
from agents.settings.checks import USUAL
from agents.training.training import train
from benchmarks.bounds.upper import bound_of_peak
from benchmarks.evaluation.runner import (
    Evaluation,
    check_episodes,
    differences,
    evaluate,
    summarise,
)
from benchmarks.evaluation.stats import paired_difference
from benchmarks.figures import (
    per_window,
    save_result_figure,
    save_share_figure,
    save_utility_figure,
)
from benchmarks.tables import show
from llmroute_env.config import EnvConfig
from llmroute_env.scenarios import configure
from llmroute_env.simulation.episodes import episode_seeds

ALGORITHM = "rollout-pi"
CONTENDERS = (*heuristics.HEURISTICS, *USUAL["gpu-model"])
"""Heuristics that the router is compared with, beside each model alone."""

TUNING_EPISODES = 24


def demo(plan: Plan, episodes: int, title: str) -> None:
    """Train, evaluate against every heuristic on the same held-out episodes, draw.

    The router is kept where `plan` says, the rest in the folder that holds it; `title` is what the
    problem is called.

    Raises:
        ConfigError: a number out of range, or a problem for which some of them cannot route.
        KeyboardInterrupt: the training was interrupted; it has said how it goes on.
    """
    check_episodes(episodes, plan.seed)
    run, out, seed = plan.directory, plan.directory.parent, plan.seed
    config = configure(plan.scenario, **plan.fields, split="test")
    for name in names_of(config):
        controls.make(name, config)
    print(f"1. Training {ALGORITHM} on {title}: {config.load_1_per_s:.0f} requests/s is load 1")
    started_s = time.perf_counter()
    if train(plan).interrupted:
        print(f"   interrupted; it goes on by `{plan.card().command} --out {run} --resume`")
        raise KeyboardInterrupt
    print(f"   {time.perf_counter() - started_s:.0f} s; the router is in {run}")
    print(f"2. Comparing on {episodes} held-out episodes of {config.window_s:g} s")
    evaluations = []
    agents = tqdm(contenders(run, config), unit=" routers")
    for agent in agents:
        agents.set_description(agent.name)
        evaluations.append(evaluate(agent, config, episodes, seed))
    evaluations.sort(key=lambda e: -e.values("utility_of_peak").mean())
    rows = [summarise(e, title) for e in evaluations]
    show(rows, title=f"{title}, {rows[0]['requests']:,} requests")
    print(comparison(evaluations, seed))
    (out / "evaluation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    print("3. Drawing the result beside what no router can exceed, and the liveliest episode")
    for path in [draw_result(out, evaluations), *draw(out, config, evaluations, title)]:
        print(f"   {path}")
    print(f"TensorBoard: {tensorboard_command(out)}, then open the address it prints")


def contenders(run: Path, config: EnvConfig) -> list[Agent]:
    """The trained router and every heuristic, each tunable one with its best validation setting."""
    agents: list[Agent] = [load(str(run), config)]
    for name in (bar := tqdm(names_of(config), leave=False)):
        bar.set_description(f"tuning {name}" if name in controls.TUNABLE else name)
        setting = tune(name, config, TUNING_EPISODES) if name in controls.TUNABLE else None
        agent = controls.make(name, config, setting)
        if setting is not None:
            agent.name = f"{name} {setting:g}"
        agents.append(agent)
    return agents


def names_of(config: EnvConfig) -> tuple[str, ...]:
    """Every heuristic, each of the models alone among them."""
    return (*config.model_names, *CONTENDERS)


def comparison(evaluations: list[Evaluation], seed: int) -> str:
    """The router against the best heuristic, episode by episode; `evaluations` are best first."""
    router = next(e for e in evaluations if e.agent == ALGORITHM)
    other = next(e for e in evaluations if e is not router)
    rng = np.random.default_rng(seed)
    mine, theirs = (e.values("utility_of_peak") for e in (router, other))
    found = paired_difference(mine, theirs, rng, router.windows_s)
    of = ", 95 % interval over other arrivals of this kind" if found.known else ""
    return f"{router.agent} over {other.agent}: {found.text(4, sign='+')}, paired{of}"


def free_name(path: Path) -> Path:
    """`path`, or with the first number that makes it new: earlier results are never overwritten."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def draw_result(out: Path, evaluations: list[Evaluation]) -> Path:
    """The figure of all scores, with the bound and the differences to the best heuristic."""
    first, path = evaluations[0], out / "result.png"
    seeds = episode_seeds(first.seed, len(first.episodes))
    bounds = [bound_of_peak(first.config, s[None]) for s in tqdm(seeds, "bound", leave=False)]
    other = next(e for e in evaluations if e.agent != ALGORITHM)
    rest = [e for e in evaluations if e is not other]
    gains = dict(zip([e.agent for e in rest], differences([other, *rest]), strict=True))
    scores = {e.agent: e.interval("utility_of_peak") for e in evaluations}
    save_result_figure(path, scores, gains, float(np.mean(bounds)))
    return path


def draw(out: Path, config: EnvConfig, evaluations: list[Evaluation], problem: str) -> list[Path]:
    """Two figures of the episode in which the arrival rate varies most; returns their paths."""
    router = next(e for e in evaluations if e.agent == ALGORITHM)
    spread = [per_window(episode.completions).std() for episode in router.episodes]
    number = int(np.argmax(spread))
    runs = {e.agent: e.episodes[number].completions for e in shown(router, evaluations)}
    title = f"{problem}, held-out episode {number}"
    utility, share = out / "utility.png", out / "share.png"
    save_utility_figure(utility, config, runs, title)
    save_share_figure(share, config, runs[ALGORITHM], f"{title}: what {ALGORITHM} chose")
    return [utility, share]


def shown(router: Evaluation, evaluations: list[Evaluation]) -> list[Evaluation]:
    """The router, the best heuristic and the best single model; `evaluations` are best first."""
    others = [e for e in evaluations if e is not router]
    single = [e for e in others if e.agent in router.config.model_names]
    return list({e.agent: e for e in (router, others[0], single[0])}.values())


def tensorboard_command(out: Path) -> str:
    """How to look at the logs from the folder that the user is in."""
    return f"{Path(sys.executable).parent / 'tensorboard'} --logdir {out}"
