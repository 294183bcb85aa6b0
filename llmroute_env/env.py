"""The single environment: `gymnasium.make("LLMRoute-v0")`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from llmroute_env.dynamics.state import State
from llmroute_env.rendering.renderer import (
    RENDER_FPS,
    RENDER_MODES,
    Frame,
    Renderer,
    check_mode,
)
from llmroute_env.rendering.sparing import SparingPictures, checked_decisions
from llmroute_env.route_spec import RouteSpec
from llmroute_env.scenarios import USUAL, configure, named
from llmroute_env.simulation.episodes import evaluation_seeds
from llmroute_env.simulation.simulation import Simulation, as_integer
from llmroute_env.specs import ConfigError
from traces.typed import conform

Observation = NDArray[np.float32]


class LLMRouteEnv(gym.Env[Observation, np.int64]):
    """Route each arriving request to one of several sizes of a language model.

    One step is one decision, about one arrival. The action picks the model for the pending request,
    the dispatcher a GPU that hosts it; the clock then runs to the next arrival, and batches finish
    on the way.

    ### Action space
    `Discrete(M)`: the model, smallest first (`opt-125m`, `opt-1.3b`, `opt-6.7b`). With
    `action="gpu-model"`: `Discrete(G * M)`, GPU-major; `action_masks()` says which are hosted, and
    a request sent where its model is not hosted is rejected. With `reject=True` there is one action
    more, which turns the request away; with `defer` another, the last, after which the same request
    is pending again some time later. With `failures` machines go down: what they hold is pending
    again, or lost, and `action_masks()` leaves out what is believed to be down.

    ### Observation space
    A float32 `Box`; columns by default, for T tasks and M models:

    | name | columns | range | meaning |
    |---|---|---|---|
    | task | T | 0..1 | one-hot task of the pending request; all 0 after the last one |
    | fast_rate | 1 | 0..16 | log1p of the arrival rate over 0.2 s, in units of load 1 |
    | slow_rate | 1 | 0..16 | the same over 2 s |
    | backlog | M | 0..16 | log1p of the requests that wait for the model, per GPU |
    | running | M | 0..1 | requests in running batches / (GPUs x largest batch limit) |
    | busy | 1 | 0..1 | share of the GPUs that run a batch |
    | slack | M | -16..1 | predicted slack, 1 - latency / deadline; below -1 logarithmic |

    ### Reward
    The utility of the requests that ended during the step: accuracy(task, model) if in time, less
    or nothing if late, nothing if rejected or shed. `info["utility_in_time"]` and
    `info["utility_late"]` sum to it, with `reject=True` together with `info["utility_rejected"]`.

    ### Info
    Every step: `elapsed_s` since the previous decision (discount by exp(-beta * elapsed_s)), the
    reward terms, and `utility_of_peak`, the score of the episode so far: in the last step that of
    the episode, however it ends. With `completions=True` also `completions`, a list with one
    Completion (state.py) per request that ended: its decision, model, GPU, batch, times, outcome
    and utility. At the end also `summary`.

    ### Episode
    A window of the workload's trace, drawn by `reset(seed=...)`; `reset(options={"episode": i})`
    begins episode i of those that `llmroute evaluate` and `bench` score (with `split="test"`; of
    another `--seed` s: `{"episode": i, "evaluation_seed": s}`). It is `terminated` once the last
    request has been routed and every queue has drained.

    ### Rendering
    `render_mode="rgb_array"` gives a picture of 720 x 1280 pixels, `human` shows it in a window
    after every step, `ansi` gives text. Whoever calls `render` after every step, as gymnasium's
    RecordVideo does, which keeps all pictures until the episode ends, gets the first 100 of an
    episode one by one and then the same array for a 200th of its requests: 0.8 GB, not tens of GB.
    `decisions_per_picture=1` draws each. `llmroute watch` films by the clock and keeps none.
    """

    metadata = {  # noqa: RUF012 - gymnasium's own shape
        "render_modes": list(RENDER_MODES),
        "render_fps": RENDER_FPS,
    }

    _spec: RouteSpec | None = None

    def __init__(
        self,
        scenario: str | Mapping[str, Any] = USUAL,
        render_mode: str | None = None,
        completions: bool = False,
        decisions_per_picture: int | None = None,
        **fields: Any,
    ) -> None:
        """Build the env of `scenario`; every field of EnvConfig can be replaced by keyword.

        Args:
            scenario: a name from SCENARIOS; or a mapping with all arguments, as RLlib passes it.
            render_mode: None, "rgb_array", "human" or "ansi".
            completions: whether `info` lists what ended in the step, which is of changing length.
            decisions_per_picture: of "rgb_array", for which `render` returns one array; None: 1 at
                first, then as many as keep an episode's pictures to a few hundred.
            **fields: of EnvConfig.

        Raises:
            ConfigError: unknown scenario or field, or a value that a field does not accept.
            gymnasium.error.DependencyNotInstalled: the render mode needs the extra `render`.
        """
        if isinstance(scenario, Mapping):
            scenario, fields = named(scenario, fields)
            render_mode = fields.pop("render_mode", render_mode)
            completions = fields.pop("completions", completions)
            decisions_per_picture = fields.pop("decisions_per_picture", decisions_per_picture)
        check_mode(render_mode)
        self._tells_completions = conform(completions, bool, "completions", ConfigError)
        self.config = configure(scenario, **fields)
        self.render_mode = render_mode
        self.simulation = Simulation(self.config)
        self._renderer = None if render_mode is None else Renderer(render_mode, self.simulation)
        each = checked_decisions(decisions_per_picture)
        self._pictures = None if self._renderer is None else SparingPictures(self._renderer, each)
        low, high = self.simulation.observation_bounds()
        self.observation_space = spaces.Box(low, high, dtype=np.float32)
        self.action_space = spaces.Discrete(self.config.actions)
        self._seeded = self._pending = False
        self._all = np.ones(1, np.bool_)

    @property
    def spec(self) -> EnvSpec | None:
        """What `gymnasium.make` was told; its `to_json` keeps fields of every type."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = None if spec is None else RouteSpec.of(spec)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode; the same seed cuts the same window.

        Raises:
            ConfigError: `options` has another key than `episode` and `evaluation_seed`.
        """
        super().reset(seed=seed)
        chosen = evaluation_seeds(options, 1)
        if chosen is not None:
            self.simulation.seed(self._all, chosen)
            self._seeded = True
        elif seed is not None or not self._seeded:
            drawn = self.np_random.integers(2**64, size=1, dtype=np.uint64)
            self.simulation.seed(self._all, drawn)
            self._seeded = True
        self.simulation.reset(self._all)
        self._pending = True
        self._forget_pictures()
        self._show()
        return self._observation(), self._info()

    def step(self, action: np.int64 | int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Route the pending request and run to the next arrival.

        Raises:
            ConfigError: the action is out of range.
            gymnasium.error.ResetNeeded: there is no pending request.
        """
        if not self._pending:
            raise gym.error.ResetNeeded("no request is pending: call reset() first")
        self.simulation.step_one(as_integer(action))
        out = self.simulation.outputs
        info = self._info()
        over = out.terminated.item()
        if over:
            self._pending = False
            info["summary"] = self.summary()
        if self.render_mode == "human":
            self._show()
        return self._observation(), out.rewards.item(), over, False, info

    def _show(self) -> None:
        if self._renderer is not None and self.render_mode == "human":
            self._renderer.render()

    def render(self) -> Frame | str | None:
        """The state as the render mode says: a picture (720, 1280, 3), text, or on the screen.

        Raises:
            gymnasium.error.ResetNeeded: the env was never reset.
        """
        if self._renderer is None:
            gym.logger.warn("render() shows nothing: give the env a render_mode, say 'rgb_array'")
            return None
        if not self._seeded:
            raise gym.error.ResetNeeded("there is nothing to render: call reset() first")
        if self._pictures is not None and self.render_mode == "rgb_array":
            return self._pictures.picture()
        return self._renderer.render()

    def _forget_pictures(self) -> None:
        if self._pictures is not None:
            self._pictures.begin()

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._renderer is not None:
            self._renderer.close()

    def _observation(self) -> Observation:
        row: Observation = self.simulation.outputs.observations[0]
        return row.copy()

    def _info(self) -> dict[str, Any]:
        out = self.simulation.outputs
        # Scalars of NumPy, which are floats too: readers of infos ask for their dtype.
        found: dict[str, Any] = {
            "elapsed_s": out.elapsed_s[0],
            "utility_in_time": out.utility_in_time[0],
            "utility_late": out.utility_late[0],
            "utility_of_peak": out.utility_of_peak[0],
        }
        if self._tells_completions:
            found["completions"] = self.simulation.ended()
        if self.config.reject:
            found["utility_rejected"] = out.utility_rejected[0]
        if self.config.comes_back and self._tells_completions:
            found["origins"] = self.simulation.completion_origins
        return found

    def summary(self) -> dict[str, Any]:
        """What the episode has come to so far: see simulation.summary."""
        return self.simulation.summary(0)

    def action_masks(self) -> NDArray[np.bool_]:
        """Which actions lead to a GPU that hosts the model, or can be taken; shape (actions,)."""
        mask: NDArray[np.bool_] = self.simulation.action_masks()[0]
        return mask

    def snapshot(self) -> State:
        """A copy of everything that changes; `restore` continues from it identically."""
        return self.simulation.snapshot()

    def restore(self, snapshot: State) -> Observation:
        """Go back to a snapshot of this env, or of one with the same configuration.

        Returns:
            The observation at the snapshot.
        """
        self.simulation.restore(snapshot)
        self._seeded, self._pending = True, not snapshot.envs["over"].item()
        self._forget_pictures()
        return self._observation()
