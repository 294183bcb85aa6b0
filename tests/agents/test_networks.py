"""Decisions in NumPy are those of the weights as they are now."""

import copy

import numpy as np
import pytest
import torch

from agents.routers.networks import QNetwork

ROWS = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)


def network(seed: int) -> QNetwork:
    return QNetwork(5, (16, 8), 3, dueling=False, seed=seed)


def agrees(net: QNetwork) -> bool:
    with torch.inference_mode():
        expected = net(torch.from_numpy(ROWS)).numpy()
    return np.allclose(net.preferences(ROWS), expected, atol=1e-5)


def test_weights_that_change_in_place_are_seen():
    net = network(0)
    before = net.preferences(ROWS)
    assert net.layers() is net.layers()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2.0)
    assert not np.allclose(net.preferences(ROWS), before)
    assert agrees(net)


@pytest.mark.parametrize("assign", [False, True])
def test_weights_that_are_loaded_are_seen(assign: bool):
    net, other = network(0), network(1)
    net.preferences(ROWS)
    net.load_state_dict(other.state_dict(), assign=assign)
    assert np.array_equal(net.preferences(ROWS), other.preferences(ROWS))


def test_a_copy_has_weights_of_its_own():
    net = network(0)
    before = net.preferences(ROWS)
    twin = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1.0)
    assert agrees(twin)
    assert np.array_equal(net.preferences(ROWS), before)
    assert not np.allclose(twin.preferences(ROWS), before)
