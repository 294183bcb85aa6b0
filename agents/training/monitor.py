"""What a training run reports: TensorBoard scalars and a progress bar, both rate-limited.

Names are the same for every algorithm; the x axis counts decisions, those of rollouts included, so
that it says little between algorithms: scores are also shown over the seconds of training.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams
from tqdm import tqdm

from agents.runs.plan import Plan

PERIOD_S = 0.5
"""Least time between two writes: a scalar costs 70 us, more than a step of many envs."""

SCORE, BEST = "eval/utility_of_peak", "eval/best_utility_of_peak"
"""The score on the validation episodes, and that of the weights that are kept."""
REGRET, BOUND = "eval/regret", "bound"
"""Distance from the score to the level called `bound`, where the plan has one."""
SCORE_BY_S, REGRET_BY_S = "by_seconds/utility_of_peak", "by_seconds/regret"
"""The same over seconds of training; TensorBoard sorts by name, so these come first."""
BY_SECONDS = (SCORE_BY_S, REGRET_BY_S)
"""Scalars whose steps are seconds; those of all others are decisions."""

LAYOUT = {
    "routers compared": {
        "utility of peak over seconds of training (higher is better)": ["Multiline", [SCORE_BY_S]],
        "regret over seconds of training (lower is better)": ["Multiline", [REGRET_BY_S]],
        "utility of peak over decisions (higher is better)": ["Multiline", [SCORE]],
        "best utility of peak so far, over decisions (higher is better)": ["Multiline", [BEST]],
    },
    "episodes of the training, over decisions": {
        "utility of peak (higher is better)": ["Multiline", ["in_training/utility_of_peak"]],
        "share of requests in time (higher is better)": ["Multiline", ["in_training/deadline_met"]],
        "requests in time per second (higher is better)": [
            "Multiline",
            ["in_training/goodput_per_s"],
        ],
        "share of requests rejected (lower is better)": ["Multiline", ["in_training/rejected"]],
    },
}
"""Of the page CUSTOM SCALARS; every run has it, and TensorBoard shows it once with all runs."""


ABOUT, WORDS = (
    "about",
    """**To compare runs, look at `by_seconds`**, or at the page CUSTOM SCALARS: score and regret on
the validation episodes over seconds of training. The other groups are over decisions, those of
rollouts included: of {decisions:,} here, which another algorithm takes in a multiple or a fraction
of the time. Runs of very different budgets share no useful axis there.

Horizontal lines are runs of their own: the bound, which no router can reach, and a tuned heuristic.
Weak learners are out of view until *Ignore outliers in chart scaling* is switched off in the
settings on the right.""",
)
"""A text of every run, under TEXT: which of its curves compare with another run's, and how."""


class Monitor:
    """Collects the summaries of finished episodes and writes their means now and then."""

    def __init__(self, plan: Plan, done: int, spent_s: float, shows_progress: bool) -> None:
        """Go on after `done` decisions, which took `spent_s` seconds."""
        # On resuming, what a killed process wrote beyond its last checkpoint is hidden, but not
        # the score that was written with that checkpoint.
        self.writer = SummaryWriter(str(plan.directory), purge_step=done + 1 if done else None)
        if not done:
            self.writer.add_text(ABOUT, WORDS.format(decisions=plan.budget))
            self.writer.add_custom_scalars(LAYOUT)
        self.levels, self.best = plan.levels, 0.0
        self.began_s = time.perf_counter() - spent_s
        self.bar = tqdm(
            total=plan.budget,
            initial=done,
            unit=" decisions",
            unit_scale=True,
            file=sys.stderr,
            disable=not shows_progress,
        )
        self.phase = ""
        self.episodes: list[Mapping[str, Any]] = []
        self.written_s, self.written_at = time.perf_counter(), done

    @property
    def spent_s(self) -> float:
        """Seconds of training, those of earlier processes included."""
        return time.perf_counter() - self.began_s

    def hyperparameters(self, values: Mapping[str, Any]) -> None:
        """Fill TensorBoard's HParams page, beside the scores."""
        shown = {n: v if isinstance(v, bool | int | float) else str(v) for n, v in values.items()}
        # In this run's own file: SummaryWriter.add_hparams would make a second run of it.
        writer = self.writer._get_file_writer()  # type: ignore[no-untyped-call]
        metrics = [BEST, SCORE, *([REGRET] if BOUND in self.levels else [])]
        for part in hparams(shown, dict.fromkeys(metrics, 0.0)):  # type: ignore[no-untyped-call]
            writer.add_summary(part)

    def episode_ended(self, summary: Mapping[str, Any]) -> None:
        """Count a finished training episode."""
        self.episodes.append(summary)

    def shows(self, phase: str) -> None:
        """Say on the bar what keeps it from advancing."""
        if self.phase != phase:
            self.phase = phase
            self.bar.set_description(phase)

    def report(self, decisions: int, scalars: Mapping[str, float]) -> None:
        """Advance the bar; write `scalars` and the episodes so far if it is time to."""
        self.shows("training")
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
        self.best = max(self.best, utility_of_peak)
        for name, value in scalars_of(utility_of_peak, self.best, self.levels).items():
            step = round(self.spent_s) if name in BY_SECONDS else decisions
            self.write(step, {name: value})
        self.bar.set_postfix_str(f"validation {utility_of_peak:.3f} of peak")

    def close(self) -> None:
        """Write what is buffered."""
        self.bar.close()
        self.writer.close()


def scalars_of(score: float, best: float, levels: Mapping[str, float]) -> dict[str, float]:
    """What a score on the validation episodes adds to the curves; BY_SECONDS says over what."""
    scalars = {SCORE: score, BEST: best, SCORE_BY_S: score}
    regret = levels.get(BOUND, math.nan) - score
    return scalars | ({} if math.isnan(regret) else {REGRET: regret, REGRET_BY_S: regret})


def episode_means(summaries: list[Mapping[str, Any]]) -> dict[str, float]:
    """Means over finished episodes, by scalar name; empty without any."""
    if not summaries:
        return {}
    count = len(summaries)
    means = {
        "in_training/return": sum(s["utility"] for s in summaries) / count,
        "in_training/utility_of_peak": sum(s["utility_of_peak"] for s in summaries) / count,
        "in_training/deadline_met": sum(s["deadline_met"] for s in summaries) / count,
        "in_training/goodput_per_s": sum(s["goodput_per_s"] for s in summaries) / count,
        "in_training/rejected": sum(s["rejected"] / s["requests"] for s in summaries) / count,
    }
    # Of the environments of a family some have what others do not: machines that fail, classes.
    failing = [s for s in summaries if "lost" in s]
    for name in ("lost", "retried") if failing else ():
        means[f"in_training/{name}"] = sum(s[name] / s["requests"] for s in failing) / len(failing)
    of_classes = [users for s in summaries for users in s.get("classes", {}).items()]
    for name in dict(of_classes):
        own = [users for known, users in of_classes if known == name]
        for figure in ("utility_of_peak", "deadline_met"):
            means[f"class_{name}/{figure}"] = sum(users[figure] for users in own) / len(own)
    for model in summaries[0]["share"]:
        means[f"share/{model}"] = sum(s["share"][model] for s in summaries) / count
    return means
