"""A router out of an ONNX file that `llmroute export` wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agents.base import Actions, Learned, Observations, for_agent
from agents.columns import routes
from agents.runs.checkpoint import CheckpointError
from llmroute_env.config import EnvConfig
from traces.errors import InputError

ENTRIES = ("algorithm", "observation", "action", "models", "actions", "columns")
"""Of the metadata: what running the router needs."""


class OnnxRouter(Learned):
    """The router of an ONNX file: an Agent that needs no torch. One thread decides."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            CheckpointError: it is missing, damaged, or not a router.
            InputError: ONNX Runtime is not installed.
        """
        self.session = open_session(path)
        written = self.session.get_modelmeta().custom_metadata_map
        missing = [name for name in ENTRIES if name not in written]
        if missing:
            raise CheckpointError(f"{path}: is not an exported router: lacks {missing}")
        self.path, self.name = path, written["algorithm"]
        self.observation: tuple[str, ...] = tuple(json.loads(written["observation"]))
        self.action = written["action"]
        self.models: tuple[str, ...] = tuple(json.loads(written["models"]))
        self.actions, self.columns = int(written["actions"]), int(written["columns"])
        self.gpus = int(written["gpus"]) if "gpus" in written else None
        # Files of older versions do not name them.
        self.names = {n: tuple(json.loads(written.get(n, "[]"))) for n in ("tasks", "classes")}

    def act(self, observations: Observations) -> Actions:
        """The action for every row of `observations`, shape (E, F) -> (E,)."""
        actions: Actions = self.session.run(["actions"], {"observations": observations})[0]
        return actions

    def check_fit(self, config: EnvConfig) -> None:
        """Raise a CheckpointError unless it can route for `config`: pairs are those of its GPUs."""
        config = for_agent(config, self)
        if self.gpus not in (None, config.gpus):
            raise CheckpointError(
                f"gpus: got {config.gpus}; accepted by {self.path}: {self.gpus}, "
                f"as with pools=[{{gpus={self.gpus}}}]"
            )
        pairs = routes(config)
        # Who reads GPUs alike never rejects or defers.
        actions = pairs if self.gpus is not None and self.actions == pairs else config.actions
        ours = config.model_names, actions, config.layout.width
        theirs = self.models, self.actions, self.columns
        if ours != theirs:
            raise CheckpointError(
                f"models, actions, columns: got {ours}; accepted by {self.path}: {theirs}"
            )
        for what, found in (("tasks", config.tasks), ("classes", config.class_names)):
            named = self.names[what]
            if named and named != found:
                raise CheckpointError(
                    f"{what}: got {found!r}; accepted by {self.path}, in this order: {named!r}"
                )


def open_session(path: Path) -> Any:
    """ONNX Runtime's session of a file: on the calling thread alone."""
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise InputError(
            f"agent: got {str(path)!r}, which needs ONNX Runtime; accepted: after "
            "`pip install 'llmroute[export]'`"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except FileNotFoundError:
        raise CheckpointError(f"{path}: is missing") from None
    except Exception as error:
        # Its exceptions share no class of their own.
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: is not a readable ONNX model: {reason}") from None
