"""The callback that puts a Stable-Baselines3 script on the same axes."""

from __future__ import annotations

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import TensorBoardOutputFormat

from agents.base import Observations
from benchmarks.curves.scores import TRIES, Act, Scores, Writer
from llmroute_env.specs import require


class ScoreCallback(BaseCallback):
    """Scores a model of Stable-Baselines3 as `llmroute train` does its own, into the same curves.

    >>> from stable_baselines3 import PPO
    >>> from llmroute_env import LLMRouteEnv
    >>> env = LLMRouteEnv("overload", window_s=0.2)
    >>> model = PPO("MlpPolicy", env, n_steps=64, tensorboard_log="runs/own")  # doctest: +SKIP
    >>> model.learn(128, callback=ScoreCallback())  # doctest: +SKIP

    Works on single envs, Dummy- and SubprocVecEnv and `llmroute_env.sb3.SB3VecEnv`, alone or in a
    list of callbacks. What a wrapper does to observations is not done to those of the validation
    episodes: give `policy` then.

    Attributes:
        scores: from the beginning of the training on.
    """

    scores: Scores

    def __init__(
        self, tries: int = TRIES, reference: bool = True, policy: Act | None = None
    ) -> None:
        """Score so many times, with lines to compare with; `policy` instead of the model's own."""
        super().__init__()
        self.tries, self.reference, self.policy = tries, reference, policy

    def _on_training_start(self) -> None:
        config = self.training_env.get_attr("config")[0]
        total = self.model._total_timesteps
        self.scores = Scores(self._writer(), config, total, self.tries, self.reference)

    def _writer(self) -> Writer:
        formats = self.logger.output_formats
        found = [f.writer for f in formats if isinstance(f, TensorBoardOutputFormat)]
        accepted = "a folder: TensorBoard shows what lies there"
        require(bool(found), "tensorboard_log", self.model.tensorboard_log, accepted)
        return found[0]

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "summary" in info:
                self.scores.episode_ended(info["summary"])
        self.scores.watch(self.num_timesteps, self.policy or self._greedy)
        return True

    def _on_training_end(self) -> None:
        self.scores.evaluate(self.num_timesteps, self.policy or self._greedy)

    def _greedy(self, observations: Observations) -> Observations:
        actions, _ = self.model.predict(observations, deterministic=True)
        return actions
