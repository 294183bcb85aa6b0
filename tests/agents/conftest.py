"""Common ground of the tests of learning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
import torch

from agents.heuristics.tuning import Choice, setting_scores
from llmroute_env import EnvConfig


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    # Threads of torch that compete for busy cores take many times as long as one.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tuned_once() -> Iterator[None]:
    """What heuristics earn is found once for all learners that begin in the same environment.

    That is most of what it takes to make a learner.
    """
    found: dict[str, dict[Choice, float]] = {}

    def remembered(
        names: Sequence[str], config: EnvConfig, episodes: int = 48
    ) -> dict[Choice, float]:
        asked = repr((names, config, episodes))
        if asked not in found:
            found[asked] = setting_scores(names, config, episodes)
        return found[asked]

    with pytest.MonkeyPatch.context() as patch:
        for place in ("heuristics.tuning", "learners.grounds", "learners.rollout_iteration"):
            patch.setattr(f"agents.{place}.setting_scores", remembered)
        yield
