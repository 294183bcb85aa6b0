"""rl-baselines3-zoo by its command: train, enjoy, optimize and plots, with `--env-kwargs`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .needs import needs

needs("rl_zoo3", "requests", "seaborn", "pandas")

import pandas as pd

pytestmark = pytest.mark.verify

SETTINGS = """
LLMRoute-v0:
  n_envs: 2
  n_timesteps: 400
  policy: MlpPolicy
  n_steps: 64
  batch_size: 64
  normalize: true
"""
WHERE = ["--algo", "ppo", "--env", "LLMRoute-v0", "--gym-packages", "llmroute_env"]
SHORT = ["--env-kwargs", "scenario:'overload'", "window_s:0.1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a PPO has been trained with two seeds."""
    folder = tmp_path_factory.mktemp("zoo")
    (folder / "settings.yml").write_text(SETTINGS)
    judged = ["--eval-freq", "200", "--eval-episodes", "2", "--n-eval-envs", "1"]
    for seed in ("1", "2"):
        told = ["-conf", "settings.yml", "-f", "logs", *judged, "--seed", seed]
        zoo(folder, "train", *WHERE, *SHORT, *told)
    return folder


def zoo(folder: Path, *words: str) -> str:
    """What a command of the zoo prints."""
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "rl_zoo3.cli", *words],
        cwd=folder,
        env={**os.environ, "MPLBACKEND": "agg", "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_train_leaves_a_model_and_its_evaluations(folder: Path):
    run = folder / "logs/ppo/LLMRoute-v0_1"
    assert (run / "best_model.zip").stat().st_size > 1000
    judged = np.load(run / "evaluations.npz")
    assert judged["results"].shape == (2, 2)
    assert judged["results"].min() > 5.0


def test_enjoy_plays_where_it_was_trained(folder: Path):
    """The settings of the environment are those of the run: its episodes are short."""
    told = ["-f", "logs", "--no-render", "-n", "400", "--load-best"]
    printed = zoo(folder, "enjoy", *WHERE, *told)
    lengths = [int(found) for found in re.findall(r"Episode Length (\d+)", printed)]
    assert lengths
    assert max(lengths) < 400
    assert float(re.search(r"Mean reward: ([\d.]+)", printed)[1]) > 5.0


def test_optimize_finds_a_best_trial(folder: Path):
    trials = ["--optimize", "--n-trials", "2", "--n-startup-trials", "1", "--n-evaluations", "1"]
    told = ["--eval-episodes", "1", "-n", "200", "--sampler", "random", "--pruner", "none"]
    zoo(folder, "train", *WHERE, *SHORT, "-conf", "settings.yml", "-f", "found", *trials, *told)
    (report,) = folder.glob("found/ppo/report_LLMRoute-v0_*.csv")
    assert pd.read_csv(report)["value"].gt(5.0).sum() == 2


def test_plots_are_drawn(folder: Path):
    zoo(folder, "plot_train", "-a", "ppo", "-e", "LLMRoute-v0", "-f", "logs", "-w", "2")
    told = ["-a", "ppo", "-e", "LLMRoute", "-f", "logs", "--no-million", "-o", "all"]
    assert "LLMRoute" in zoo(folder, "all_plots", *told)
    zoo(folder, "plot_from_file", "-i", "all.pkl", "-o", "all.png")
    assert (folder / "all.png").stat().st_size > 1000
