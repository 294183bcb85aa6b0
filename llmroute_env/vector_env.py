"""The native vector environment: `gymnasium.make_vec("LLMRoute-v0", num_envs=256)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from llmroute_env.dynamics.state import (
    COMPLETION,
    OPAQUE,
    Records,
    State,
)
from llmroute_env.dynamics.stepping import DISABLED, NEXT_STEP, SAME_STEP
from llmroute_env.rendering.renderer import (
    RENDER_FPS,
    Frame,
    Renderer,
    check_mode,
)
from llmroute_env.scenarios import USUAL, configure, named
from llmroute_env.simulation.episodes import evaluation_seeds
from llmroute_env.simulation.simulation import Simulation
from llmroute_env.specs import ConfigError, require
from traces.typed import conform

_MODES = {
    AutoresetMode.NEXT_STEP: NEXT_STEP,
    AutoresetMode.SAME_STEP: SAME_STEP,
    AutoresetMode.DISABLED: DISABLED,
}

Array = TypeVar("Array", bound=NDArray[Any])

Batch = tuple[
    NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
]


class LLMRouteVectorEnv(gym.vector.VectorEnv[NDArray[np.float32], NDArray[np.int64], Any]):
    """Many LLMRouteEnv in one: env i with seed s + i equals the single env with that seed.

    `step` reports in `infos`: `elapsed_s`, the reward's terms and `utility_of_peak` so far, each
    (E,); where an episode has ended, `summary`; if the next begins in the same step, that is in
    `final_info`, with the last `utility_of_peak` and beside `final_obs`, as gymnasium's vector envs
    have it. With `completions=True` also all that has ended (a structured array, COMPLETION in
    state.py; `env` names the env) and, with `defer` or `failures`, `origins` (ORIGIN, likewise:
    which request each was about).
    Episodes are cut after `max_episode_steps` requests (`truncated`).
    """

    metadata = {  # noqa: RUF012 - gymnasium's own shape
        "render_modes": ["rgb_array"],
        "render_fps": RENDER_FPS,
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        scenario: str | Mapping[str, Any] = USUAL,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        copy: bool = True,
        threads: int = 1,
        render_mode: str | None = None,
        completions: bool = False,
        **fields: Any,
    ) -> None:
        """Build `num_envs` envs of `scenario`; every field of EnvConfig can be replaced by keyword.

        Args:
            num_envs: how many.
            scenario: a name from SCENARIOS; or a mapping with it and fields of EnvConfig.
            max_episode_steps: requests after which an episode is cut; None for no limit.
            autoreset_mode: when an env whose episode has ended begins the next one.
            threads: that share the envs of a step; pays from about a thousand envs on.
            copy: False returns the internal buffers, which the next step overwrites.
            render_mode: None or "rgb_array".
            completions: whether `infos` lists what ended in the step, which is of changing length.
            **fields: of EnvConfig.

        Raises:
            ConfigError: unknown scenario or field, or a value that a field does not accept.
        """
        check_mode(render_mode, ("rgb_array",))
        mode = AutoresetMode(autoreset_mode)
        self.num_envs = num_envs
        self.copy = copy
        self._tells_completions = conform(completions, bool, "completions", ConfigError)
        name, fields = named(scenario, fields)
        self.config = configure(name, **fields)
        self.simulation = Simulation(
            self.config, num_envs, _MODES[mode], max_episode_steps or 0, threads=threads
        )
        self.render_mode = render_mode
        self._renderer = None if render_mode is None else Renderer(render_mode, self.simulation)
        self.metadata = {**self.metadata, "autoreset_mode": mode}
        low, high = self.simulation.observation_bounds()
        self.single_observation_space = spaces.Box(low, high, dtype=np.float32)
        self.single_action_space = spaces.Discrete(self.config.actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._seeded, self._begun = np.zeros(num_envs, np.bool_), False
        self.autoreset_mode = mode
        self._waits = mode is AutoresetMode.DISABLED

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin episodes: seed s gives env i the seed s + i.

        `options`: `reset_mask` picks envs; `episode` k lets env i begin episode k + i of those that
        `llmroute evaluate` and `bench` score (of `evaluation_seed`, 0 by default).

        Raises:
            ConfigError: other options, or seeds or a mask of another shape.
        """
        chosen = np.ones(self.num_envs, np.bool_)
        if options is not None and "reset_mask" in options:
            chosen = np.asarray(options["reset_mask"], np.bool_)
            shape = (self.num_envs,)
            require(chosen.shape == shape, "reset_mask", chosen.shape, f"bool of shape {shape}")
        own = evaluation_seeds(options, self.num_envs, ("reset_mask",))
        self._seed(seed, chosen)
        if own is not None:
            self.simulation.seed(chosen, own[chosen])
        self.simulation.reset(chosen)
        observations = self._returned(self.simulation.outputs.observations)
        return observations, {"elapsed_s": self.simulation.outputs.elapsed_s.copy()}

    def _seed(self, seed: int | Sequence[int | None] | None, chosen: NDArray[np.bool_]) -> None:
        streams = begun_streams(seed, chosen, self._seeded)
        for i, stream in streams.items():
            self.simulation.state.envs["rng"][i] = stream
        self._seeded |= chosen
        self._begun = bool(self._seeded.all())

    def step(self, actions: NDArray[np.int64]) -> Batch:
        """Route the pending request of every env and run each to its next arrival.

        Raises:
            ConfigError: an action out of range; nothing has changed then.
            gymnasium.error.ResetNeeded: an env was never reset or, without autoreset, its episode
                has ended.
        """
        self._check_begun()
        self.simulation.step(actions)
        out = self.simulation.outputs
        return (
            self._returned(out.observations),
            self._returned(out.rewards),
            self._returned(out.terminated),
            self._returned(out.truncated),
            self._infos(),
        )

    def _check_begun(self) -> None:
        if not self._begun:
            missing = np.flatnonzero(~self._seeded).tolist()
            raise gym.error.ResetNeeded(f"call reset() first, of envs {missing}")
        if self._waits:
            over = self.simulation.state.envs["over"]
            if over.any():
                ended = np.flatnonzero(over).tolist()
                raise gym.error.ResetNeeded(
                    f"the episodes of envs {ended} have ended: "
                    'reset(options={"reset_mask": ...}) begins others'
                )

    def _returned(self, buffer: Array) -> Array:
        return buffer.copy() if self.copy else buffer

    def _infos(self) -> dict[str, Any]:
        out = self.simulation.outputs
        infos: dict[str, Any] = {
            "elapsed_s": self._returned(out.elapsed_s),
            "utility_in_time": self._returned(out.utility_in_time),
            "utility_late": self._returned(out.utility_late),
            "utility_of_peak": self._returned(out.utility_of_peak),
        }
        if self._tells_completions:
            infos["completions"] = self._completions()
        if self.config.reject:
            infos["utility_rejected"] = self._returned(out.utility_rejected)
        if self.config.comes_back and self._tells_completions:
            infos["origins"] = self.simulation.completion_origins
        ended = out.terminated | out.truncated
        if ended.any():
            infos |= self._final(ended)
        return infos

    def _completions(self) -> Records:
        records = self.simulation.completions
        return records.view(OPAQUE).copy().view(COMPLETION) if self.copy else records

    def _final(self, ended: NDArray[np.bool_]) -> dict[str, Any]:
        summaries: dict[str, Any] = {}
        for e in np.flatnonzero(ended):
            # As gymnasium joins the infos of single envs.
            told = {"summary": self.simulation.final_summary(int(e))}
            summaries = self._add_info(summaries, told, int(e))
        if self.autoreset_mode is not AutoresetMode.SAME_STEP:
            return summaries
        observations = np.full(self.num_envs, None, object)
        for e in np.flatnonzero(ended):
            observations[e] = self.simulation.outputs.final_observations[e].copy()
        score = np.where(ended, summaries["summary"]["utility_of_peak"], 0.0)
        found = {"utility_of_peak": score, "_utility_of_peak": ended.copy(), **summaries}
        return {
            "final_obs": observations,
            "_final_obs": ended.copy(),
            "final_info": found,
            "_final_info": ended.copy(),
        }

    def render(self) -> tuple[Frame, ...] | None:
        """One picture (720, 1280, 3) per env, or None without a render mode."""
        if self._renderer is None:
            gym.logger.warn("render() shows nothing: give the envs render_mode='rgb_array'")
            return None
        if not self._begun:
            raise gym.error.ResetNeeded("there is nothing to render: call reset() first")
        return tuple(self._renderer.picture(e) for e in range(self.num_envs))

    def action_masks(self) -> NDArray[np.bool_]:
        """Which actions lead to a GPU that hosts the model, or can be taken; (E, actions)."""
        return self.simulation.action_masks()

    def snapshot(self) -> State:
        """A copy of everything that changes."""
        return self.simulation.snapshot()

    def restore(self, snapshot: State) -> NDArray[np.float32]:
        """Go back to a snapshot; returns its observations."""
        self.simulation.restore(snapshot)
        self._seeded[:], self._begun = True, True
        return self._returned(self.simulation.outputs.observations)


def begun_streams(
    seed: int | Sequence[int | None] | None, chosen: NDArray[np.bool_], seeded: NDArray[np.bool_]
) -> dict[int, np.uint64]:
    """By the number of the env where each random stream begins that `reset(seed=...)` begins anew.

    Of the `chosen` envs, (E,), all that are given a seed or were never `seeded`.

    Raises:
        ConfigError: neither an integer, nor one per env.
    """
    envs = len(chosen)
    if isinstance(seed, (int, np.integer)):
        seeds: list[int | None] = [int(seed) + i for i in range(envs)]
    else:
        seeds = [None] * envs if seed is None else list(seed)
    require(len(seeds) == envs, "seed", seed, f"an integer, or one per env, {envs}")
    due = [i for i, s in enumerate(seeds) if chosen[i] and (s is not None or not seeded[i])]
    streams = {i: seeding.np_random(seeds[i])[0] for i in due}
    return {i: rng.integers(2**64, dtype=np.uint64) for i, rng in streams.items()}
