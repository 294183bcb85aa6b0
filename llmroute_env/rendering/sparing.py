"""Pictures for those who keep every one of them, as gymnasium's RecordVideo does.

A picture takes 2.8 MB and an episode has tens of thousands of decisions.
"""

from __future__ import annotations

from llmroute_env.rendering.renderer import Frame, Renderer
from llmroute_env.specs import ConfigError, require
from traces.typed import conform

FIRST, REST = 100, 200
"""Pictures of an episode that show one decision each, and about how many share its requests."""


class SparingPictures:
    """Pictures of the first env; many calls in a row return one array, which is read-only."""

    def __init__(self, renderer: Renderer, decisions: int | None) -> None:
        """A picture stands for so many `decisions`; None for what FIRST and REST come to."""
        self.renderer, self.decisions = renderer, decisions
        self.begin()

    def begin(self) -> None:
        """Forget what was drawn: another episode, or another state of this one."""
        self._drawn, self._decision = 0, 0
        self._picture: Frame | None = None

    def picture(self) -> Frame:
        """The env as it is, or was less than a picture's decisions ago; at the end as it is."""
        env = self.renderer.simulation.state.envs[0]
        decision = int(env["decision"])
        new = decision - self._decision >= self._stands_for(int(env["end"] - env["first"]))
        if self._picture is None or new or env["over"]:
            self._picture = self.renderer.picture(0)
            # It is handed out again: whoever drew on it would change what others have.
            self._picture.flags.writeable = False
            self._drawn += 1
            self._decision = decision
        return self._picture

    def _stands_for(self, requests: int) -> int:
        if self.decisions is not None:
            return self.decisions
        return 1 if self._drawn < FIRST else -(-requests // REST)


def checked_decisions(given: object) -> int | None:
    """How many decisions a picture stands for, as a user has said it.

    Raises:
        ConfigError: neither None nor a whole number from 1 on.
    """
    name = "decisions_per_picture"
    decisions: int | None = conform(given, int | None, name, ConfigError)
    require(decisions is None or decisions >= 1, name, decisions, "None or >= 1")
    return decisions
