"""Hyper-parameter studies with Optuna, in a journal that survives interruption: `llmroute tune`.

Trials are scored on validation episodes, as the best weights of a training are: test episodes are
never seen.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.compiled.guards import Overruling
from agents.runs.plan import Plan
from agents.settings.families import configurations
from agents.settings.presets import PRESETS
from agents.training.outcome import overruling_of
from agents.training.training import train
from llmroute_env.recording.files import alone, write_atomically
from llmroute_env.recording.serialization import anywhere, to_plain
from llmroute_env.specs import require
from traces.errors import InputError
from traces.typed import differing, shown

if TYPE_CHECKING:
    from optuna import Study, Trial

JOURNAL, BEST, STUDY = "journal.jsonl", "best.json", "study.json"

OVERRULED, GAIN = "overruled", "gain"
"""What a trial with a guarded router says beside its score: compiled.guards.Overruling."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, evenly in their logarithm."""

    low: float
    high: float


Space = Mapping[str, Range | tuple[Any, ...]]
"""By field of the settings: a range, or the values to choose from."""

SPACES: dict[str, Space] = {
    "ddqn": {
        "learning_rate": Range(1e-4, 1e-2),
        "n_step": (1, 8, 32, 128),
        "discount_rate_per_s": Range(0.2, 10.0),
        "hidden": ((64, 64), (128, 128), (256, 256)),
        "replay_ratio": Range(0.25, 4.0),
    },
    "rollout-pi": {
        "learning_rate": Range(5e-4, 5e-3),
        "hidden": ((64, 64), (128, 64), (128, 128)),
        "horizon": (0.25, 0.5, 0.75, 1.25),
        "skipped_decisions": (30, 100, 300),
    },
}
"""What is searched; an algorithm that is not here has its learning rate searched."""

ELSE: Space = {"learning_rate": Range(1e-5, 1e-2)}


@dataclass(frozen=True)
class StudyPlan:
    """A study, before it begins.

    Attributes:
        trials: in all, those of earlier runs included.
        timesteps: decisions of each training; None for the algorithm's own.
    """

    directory: Path
    algorithm: str
    scenario: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    trials: int = 20
    timesteps: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.algorithm in PRESETS, "algorithm", self.algorithm, ", ".join(PRESETS))
        require(self.trials >= 1, "trials", self.trials, ">= 1")

    @property
    def space(self) -> Space:
        """The values of each setting that is searched."""
        return SPACES.get(self.algorithm, ELSE)

    @property
    def training(self) -> Plan:
        """The training of every trial, but for its settings and where it is kept."""
        return Plan(
            directory=self.directory,
            scenario=self.scenario,
            fields=self.fields,
            seed=self.seed,
            decisions=self.timesteps,
            algorithm=self.algorithm,
        )

    @property
    def definition(self) -> dict[str, Any]:
        """What all trials have in common, with the whole environment, as JSON gives it back."""
        training = self.training
        config = configurations(self.scenario, self.fields)[0]
        space = {
            n: dataclasses.asdict(v) if isinstance(v, Range) else v for n, v in self.space.items()
        }
        found = {
            "algorithm": self.algorithm,
            "scenario": self.scenario,
            "fields": {name: to_plain(getattr(config, name), name) for name in self.fields},
            "config_sha256": training.config_sha256,
            "timesteps": training.budget,
            "seed": self.seed,
            "space": space,
        }
        plain: dict[str, Any] = json.loads(json.dumps(found))
        return plain


def tune(plan: StudyPlan) -> dict[str, Any]:
    """Run the trials that are missing; returns the best settings and their score.

    Raises:
        InputError: Optuna is not installed.
        ConfigError: the directory holds a study of something else, or another process is in it.
    """
    plan.directory.mkdir(parents=True, exist_ok=True)
    with alone(plan.directory):
        return search(plan)


def search(plan: StudyPlan) -> dict[str, Any]:
    """`tune`, in a directory that no other process is in."""
    write_definition(plan)
    study = open_study(plan)
    finished = [trial for trial in study.trials if trial.state.is_finished() and trial.values]
    for _ in range(plan.trials - len(finished)):
        study.optimize(lambda trial: score(plan, trial), n_trials=1)
    scored = [trial for trial in study.trials if trial.values]
    best = {
        "algorithm": plan.algorithm,
        "utility_of_peak": study.best_value,
        "settings": {name: choice(plan, name, value) for name, value in study.best_params.items()},
        "trials": len(scored),
        "overruled": study.best_trial.user_attrs.get(OVERRULED),
        "gain_over_guard": study.best_trial.user_attrs.get(GAIN),
        "never_overruled": sum(trial.user_attrs.get(OVERRULED) == 0.0 for trial in scored),
    }
    (plan.directory / BEST).write_text(json.dumps(best, indent=1) + "\n")
    return best


def words(best: Mapping[str, Any]) -> list[str]:
    """What `tune` found about guarded routers, in lines; none about others."""
    lines = []
    if best["overruled"] is not None:
        lines.append(Overruling(best["overruled"], best["gain_over_guard"]).words())
    if best["never_overruled"]:
        lines.append(
            f"in {best['never_overruled']} of {best['trials']} trials the network never overruled "
            "its heuristic: they tie at its score, which says nothing about their settings"
        )
    return lines


def write_definition(plan: StudyPlan) -> None:
    """Say what the directory is a study of, or check that it is one of the same."""
    path, wanted = plan.directory / STUDY, plan.definition
    if path.exists():
        held = json.loads(path.read_bytes())
        for name, value in anywhere(wanted).items():
            before = anywhere(held.get(name))
            where, got, accepted = differing(name, value, before)
            accepted = f"{shown(accepted)}, as in {path}, or another --out"
            require(before == value, where, got, accepted)
        return
    begun = (plan.directory / JOURNAL).exists()
    accepted = f"another --out: that study has no {STUDY}, which says what it is of"
    require(not begun, "out", str(plan.directory), accepted)
    write_atomically(path, json.dumps(wanted, indent=1).encode())


def open_study(plan: StudyPlan) -> Study:
    """The study of the plan's directory, new or continued; trials that were cut off have failed."""
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        raise InputError(
            "tune: Optuna is not installed; accepted: after `pip install 'llmroute[tune]'`"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    backend = JournalFileBackend(str(plan.directory / JOURNAL))
    study = optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        study_name=f"{plan.algorithm} on {plan.scenario}",
        direction="maximize",
        load_if_exists=True,
    )
    for trial in study.trials:
        if not trial.state.is_finished():
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    # Another seed after each interruption, lest the same settings be drawn again.
    study.sampler = optuna.samplers.TPESampler(seed=plan.seed + len(study.trials))
    return study


def score(plan: StudyPlan, trial: Trial) -> float:
    """Train with the settings that the trial suggests; utility of peak on validation episodes."""
    suggested = {name: suggest(plan, trial, name) for name in plan.space}
    run = plan.directory / f"trial-{trial.number}"
    shutil.rmtree(run, ignore_errors=True)
    settings = dataclasses.replace(PRESETS[plan.algorithm], **suggested)
    training = dataclasses.replace(plan.training, directory=run, settings=settings)
    result = train(training, shows_progress=False)
    if result.interrupted:
        raise KeyboardInterrupt
    if said := overruling_of(training):
        trial.set_user_attr(OVERRULED, said.share)
        trial.set_user_attr(GAIN, said.gain)
    return float(result.utility_of_peak)


def suggest(plan: StudyPlan, trial: Trial, name: str) -> Any:
    """A value for one field."""
    values = plan.space[name]
    if isinstance(values, Range):
        return trial.suggest_float(name, values.low, values.high, log=True)
    # By number: journals hold no tuples.
    return values[trial.suggest_int(name, 0, len(values) - 1)]


def choice(plan: StudyPlan, name: str, value: Any) -> Any:
    """The value of a field that a journal's entry stands for."""
    values = plan.space[name]
    return value if isinstance(values, Range) else values[int(value)]
