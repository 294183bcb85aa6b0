"""Attention over GPUs: each sees all others, alike in every runtime and whatever their number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from agents.columns import gpu_inputs
from agents.compiled.making import COMPILED
from agents.compiled.networks import TIE, evaluate
from agents.compiled.policies import episode_scores
from agents.heuristics.tuning import run_episodes
from agents.routers.build import compiled_router, guard, q_network
from agents.routers.networks import GuardedPairs, QNetwork
from llmroute_env import EnvConfig, Pool, configure
from llmroute_env.dynamics.features import GPU_FEATURES

CONFIG = configure("overload", window_s=1.0, action="gpu-model", observation=GPU_FEATURES)
SEEDS = np.arange(4, dtype=np.uint64)
OWN = 12
"""Columns that belong to a GPU: the last ones of its row of inputs."""


def network(dueling: bool = False, config: EnvConfig = CONFIG, attention: int = 8) -> QNetwork:
    """With random weights, also where attention begins with none."""
    net, generator = q_network(config, (24, 8), dueling, 3, attention), torch.Generator()
    if net.attention is not None:
        for parameter in net.attention.joining.parameters():
            torch.nn.init.normal_(parameter, std=0.3, generator=generator.manual_seed(3))
    return net


def random_rows(config: EnvConfig = CONFIG, count: int = 50) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, config.layout.width)).astype(np.float32)


def by_torch(net: QNetwork, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Up to what is common to all actions."""
    with torch.inference_mode():
        values = net(torch.from_numpy(rows)).numpy()
    return values - values.mean(axis=1, keepdims=True)


def by_numpy(net: QNetwork, rows: NDArray[np.float32]) -> NDArray[np.float32]:
    values = net.preferences(rows)
    return values - values.mean(axis=1, keepdims=True)


def compiled(net: QNetwork, rows: NDArray[np.float32], config: EnvConfig) -> NDArray[np.float32]:
    own, found = compiled_router(net, config).network, []
    for row in rows:
        own.observation[:] = row
        evaluate(own)
        found.append(own.outputs - own.outputs.mean())
    return np.array(found)


def with_gpus(
    rows: NDArray[np.float32], order: list[int], config: EnvConfig = CONFIG
) -> NDArray[np.float32]:
    """Where each GPU is in the state that another one was in."""
    inputs, turned = gpu_inputs(config.layout), rows.copy()
    for gpu, other in enumerate(order):
        turned[:, inputs[gpu, -OWN:]] = rows[:, inputs[other, -OWN:]]
    return turned


@pytest.mark.parametrize("dueling", [False, True])
def test_gpus_that_change_places_change_values(dueling: bool) -> None:
    net, rows, order = network(dueling), random_rows(), [2, 0, 3, 1]
    turned = with_gpus(rows, order)
    for values_of in (by_torch, by_numpy):
        values = values_of(net, rows).reshape(-1, 4, 3)
        after = values_of(net, turned).reshape(-1, 4, 3)
        np.testing.assert_allclose(after, values[:, order], atol=1e-6)
        assert np.abs(values[:, order] - values).max() > 0.01


def test_a_gpu_sees_the_others_only_by_attention() -> None:
    rows = random_rows()
    changed = with_gpus(rows, [0, 1, 2, 2])
    for attention in (0, 8):
        net = network(attention=attention)
        moved = (net.preferences(changed) - net.preferences(rows)).reshape(-1, 4, 3)
        assert np.abs(moved[:, 3]).max() > 0.01
        assert bool(np.abs(moved[:, :3]).max() > 1e-3) == (attention > 0)


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("gpus", [1, 2, 4, 9])
def test_one_network_says_the_same_in_all_forms_of_any_number_of_gpus(
    gpus: int, dueling: bool
) -> None:
    config = replace(CONFIG, pools=(Pool(gpus),))
    made, here = network(dueling), network(dueling, config)
    rows, weights = random_rows(config), made.state_dict()
    here.load_state_dict(weights)
    values = by_torch(here, rows)
    with torch.inference_mode():
        told = made(torch.from_numpy(rows), torch.from_numpy(gpu_inputs(config.layout))).numpy()
    np.testing.assert_array_equal(told - told.mean(axis=1, keepdims=True), values)
    np.testing.assert_allclose(by_numpy(here, rows), values, atol=2e-6)
    np.testing.assert_allclose(compiled(made, rows, config), values, atol=2e-6)


def test_scores_of_any_size_stay_numbers() -> None:
    net = network()
    with torch.no_grad():
        net.attention.projection.weight.mul_(1e4)  # type: ignore[union-attr]
    rows = random_rows()
    values = by_torch(net, rows)
    assert np.isfinite(values).all()
    for found in (by_numpy(net, rows), compiled(net, rows, CONFIG)):
        np.testing.assert_allclose(found, values, rtol=1e-4, atol=1e-4 * np.abs(values).max())


def test_gpus_in_the_same_state_have_the_same_values() -> None:
    net, rows = network(), with_gpus(random_rows(), [0, 1, 0, 1])
    exact = compiled(net, rows, CONFIG).reshape(-1, 4, 3)
    np.testing.assert_array_equal(exact[:, 2:], exact[:, :2])
    for values in (by_torch(net, rows), by_numpy(net, rows)):
        twins = values.reshape(-1, 4, 3)
        assert np.abs(twins[:, 2:] - twins[:, :2]).max() < TIE / 4
    assert (net.greedy(rows) < 6).all(), "the first of those that tie is taken"


class Greedy:
    """A router as an agent."""

    name, observation, action = "router", GPU_FEATURES, "gpu-model"

    def __init__(self, router: GuardedPairs) -> None:
        self.router = router

    def begin(self, envs: int, rng: np.random.Generator) -> None:
        """It remembers nothing."""

    def act(self, observations: NDArray[np.float32]) -> NDArray[np.int64]:
        """As the router does."""
        return self.router.greedy(observations)


@pytest.mark.parametrize("caution", [0.0, 0.1, np.inf])
def test_whole_episodes_are_the_same_compiled_and_not(caution: float) -> None:
    config = replace(CONFIG, pools=(Pool(2), Pool(1, models=("opt-125m",))))
    heuristic = COMPILED["priced-pair"](config, 0.02)
    router = guard(network(config=config), config, heuristic, 3)
    router.caution.fill_(caution)
    scores = episode_scores(compiled_router(router, config), config, SEEDS)
    assert np.allclose(scores, run_episodes(Greedy(router), config, SEEDS))  # type: ignore[arg-type]
    assert np.array_equal(scores, episode_scores(heuristic, config, SEEDS)) == np.isinf(caution)


def least_loaded_error(attention: int, steps: int = 400) -> float:
    """Mean squared error of what is learned of "is this GPU the least loaded?", 3/16 at first."""
    net, rng = q_network(CONFIG, (24, 8), False, 3, attention), np.random.default_rng(1)
    load = gpu_inputs(CONFIG.layout)[:, -OWN]
    optimizer, losses = torch.optim.Adam(net.parameters(), lr=1e-2), []
    for _ in range(steps):
        rows = torch.zeros(256, CONFIG.layout.width)
        rows[:, load] = torch.from_numpy(rng.uniform(size=(256, 4))).float()
        wanted = (rows[:, load] == rows[:, load].amin(dim=1, keepdim=True)).float()
        loss = (net(rows).reshape(256, 4, 3) - wanted[:, :, None]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses[-50:]))


def test_what_needs_the_other_gpus_is_learned() -> None:
    # A GPU that sees only its own load u knows that it is the least of 4 with p = (1 - u)^3: what
    # is left is the mean of p (1 - p).
    alone = 1 / 4 - 1 / 7
    blind, seeing = least_loaded_error(0), least_loaded_error(16)
    assert alone * 0.95 < blind < alone * 1.1
    assert seeing < alone / 4


def test_without_attention_a_network_is_what_it_was_and_with_it_begins_as_that() -> None:
    plain, seeing = (q_network(CONFIG, (24, 8), False, 3, attention) for attention in (0, 8))
    assert [name for name, _ in plain.named_parameters()] == [
        f"body.{layer}.{part}" for layer in (0, 2, 4) for part in ("weight", "bias")
    ]
    for own, other in zip(plain.body.parameters(), seeing.body.parameters(), strict=True):
        assert torch.equal(own, other)
    np.testing.assert_array_equal(by_torch(plain, random_rows()), by_torch(seeing, random_rows()))
