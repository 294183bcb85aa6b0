"""What a training run reports: TensorBoard scalars and a progress bar, both rate-limited.

Names are the same for every algorithm; the x axis counts decisions.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams
from tqdm import tqdm

PERIOD_S = 0.5
"""Least time between two writes: a scalar costs 70 us, more than a step of many envs."""

SCORE = "eval/utility_of_peak"
"""Name of the score on the validation episodes."""


class Monitor:
    """Collects the summaries of finished episodes and writes their means now and then."""

    def __init__(self, directory: Path, budget: int, done: int, shows_progress: bool) -> None:
        # On resuming, what a killed process wrote beyond its last checkpoint is hidden.
        self.writer = SummaryWriter(str(directory), purge_step=done or None)
        self.bar = tqdm(
            total=budget,
            initial=done,
            unit=" decisions",
            unit_scale=True,
            file=sys.stderr,
            disable=not shows_progress,
        )
        self.episodes: list[Mapping[str, Any]] = []
        self.written_s, self.written_at = time.perf_counter(), done

    def hyperparameters(self, values: Mapping[str, Any]) -> None:
        """Fill TensorBoard's HParams page, beside the scores `eval/utility_of_peak`."""
        shown = {n: v if isinstance(v, bool | int | float) else str(v) for n, v in values.items()}
        # In this run's own file: SummaryWriter.add_hparams would make a second run of it.
        writer = self.writer._get_file_writer()  # type: ignore[no-untyped-call]
        for part in hparams(shown, {SCORE: 0.0}):  # type: ignore[no-untyped-call]
            writer.add_summary(part)

    def episode_ended(self, summary: Mapping[str, Any]) -> None:
        """Count a finished training episode."""
        self.episodes.append(summary)

    def report(self, decisions: int, scalars: Mapping[str, float]) -> None:
        """Advance the bar; write `scalars` and the episodes so far if it is time to."""
        self.bar.update(decisions - self.bar.n)
        now_s = time.perf_counter()
        if now_s - self.written_s < PERIOD_S:
            return
        per_s = (decisions - self.written_at) / (now_s - self.written_s)
        self.write(
            decisions, {**scalars, **episode_means(self.episodes), "time/steps_per_s": per_s}
        )
        self.episodes.clear()
        self.written_s, self.written_at = now_s, decisions

    def write(self, decisions: int, scalars: Mapping[str, float]) -> None:
        """Write `scalars` now."""
        for name, value in scalars.items():
            self.writer.add_scalar(name, value, decisions)

    def evaluated(self, decisions: int, utility_of_peak: float) -> None:
        """Show and write the score on the validation episodes."""
        self.write(decisions, {SCORE: utility_of_peak})
        self.bar.set_postfix_str(f"validation {utility_of_peak:.3f} of peak")

    def close(self) -> None:
        """Write what is buffered."""
        self.bar.close()
        self.writer.close()


def episode_means(summaries: list[Mapping[str, Any]]) -> dict[str, float]:
    """Means over finished episodes, by scalar name; empty without any."""
    if not summaries:
        return {}
    count = len(summaries)
    means = {
        "episode/return": sum(s["utility"] for s in summaries) / count,
        "episode/utility_of_peak": sum(s["utility_of_peak"] for s in summaries) / count,
        "episode/deadline_met": sum(s["deadline_met"] for s in summaries) / count,
        "episode/rejected": sum(s["rejected"] / s["requests"] for s in summaries) / count,
    }
    for model in summaries[0]["share"]:
        means[f"share/{model}"] = sum(s["share"][model] for s in summaries) / count
    return means
