"""The ways in which a trained router can answer for one request."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from agents.runs.trained import TrainedRouter
from agents.serving.compiled import CompiledRouter
from agents.serving.export import Decision, export
from agents.serving.onnx import OnnxRouter
from llmroute_env.config import EnvConfig

DecideOne = Callable[[NDArray[np.float32]], int]
"""From an observation, shape (F,), to an action."""


def ways_to_decide(agent: TrainedRouter, config: EnvConfig) -> dict[str, DecideOne]:
    """The same decisions by torch, NumPy, ONNX Runtime and compiled code, by their names."""
    runtime = runtime_router(agent)
    return {
        "torch": torch_decider(agent),
        "numpy": lambda row: int(agent.act(row[None])[0]),
        "onnxruntime": lambda row: int(runtime.act(row[None])[0]),
        "compiled": CompiledRouter(agent, config).decide_one,
    }


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch to one thread: several that share a core wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def torch_decider(agent: TrainedRouter) -> DecideOne:
    """The module's forward pass, guard included."""
    decision = Decision(agent.network).eval()

    def decide(row: NDArray[np.float32]) -> int:
        with torch.inference_mode():
            actions, _ = decision(torch.from_numpy(row[None]))
            return int(actions)

    return decide


def runtime_router(agent: TrainedRouter) -> OnnxRouter:
    """The router as exported, in ONNX Runtime; it reads the file only once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "router.onnx"
        export(agent, path)
        return OnnxRouter(path)
