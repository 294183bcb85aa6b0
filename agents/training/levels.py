"""Horizontal lines in TensorBoard: what scores are compared with.

Each level is a run of its own, so that it lies on the axes of the trained runs, under their tags.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from agents.training.monitor import BOUND, BY_SECONDS, REGRET, REGRET_BY_S, SCORE, SCORE_BY_S

POINTS = 60
"""In a line: with fewer TensorBoard would take it for an outlier, and leave it out of the view."""


def draw_levels(
    directory: Path, levels: Mapping[str, float], decisions: int, seconds: float
) -> None:
    """Write every level into its own folder, up to where the longest training ends.

    What an earlier call wrote there is replaced.
    """
    for name, value in levels.items():
        run = directory / name
        for earlier in run.glob("events.out.tfevents.*"):
            earlier.unlink(missing_ok=True)
        scalars = {SCORE: value, SCORE_BY_S: value}
        if BOUND in levels:
            scalars |= dict.fromkeys((REGRET, REGRET_BY_S), levels[BOUND] - value)
        draw_level(run, scalars, decisions, seconds)


def draw_level(run: Path, scalars: Mapping[str, float], decisions: int, seconds: float) -> None:
    """A line for each of `scalars`, from the beginning of a training to its end."""
    now_s = time.time()
    with SummaryWriter(str(run)) as writer:
        for name, value in scalars.items():
            end = seconds if name in BY_SECONDS else decisions
            for i in range(POINTS + 1):
                done = i / POINTS
                writer.add_scalar(name, value, round(done * end), walltime=now_s + done * seconds)
