"""Continuous batching of the library transformers, with decoders of the same shapes.

Its manager serves in a thread of its own and notes when each token came, by the clock that we send
by. It gets the limits of our engine as far as it can keep to them, random prompts, of which it can
share no block, and nothing that would stop an answer before its last token. It decides how it
attends and whether a GPU replays graphs. Nothing is downloaded: sizes are ours, weights are random,
there is no tokenizer, and kernels of a hub are left alone.

With 5.24 decoders of both kinds were seen to be served on a CPU. On a GPU nothing of it was seen to
run: neither Flash Attention nor graphs, and not whether masks fit beside the cache.
"""

from __future__ import annotations

import importlib.util
import time
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from benchmarks.measuring.scheduling import PAGE, Limits
from benchmarks.measuring.serving import Requests, told_of
from benchmarks.measuring.shapes import EngineShape
from benchmarks.measuring.transformers_model import attention_on, random_model
from llmroute_env.specs import require

STOP_S = 30.0
"""What a manager may take to stop, which it does between two steps."""

MASKED_PAGES = 512
"""Pages where attention needs a mask: of all tokens of a step by all of the cache, 0.5 GB then."""

FREE_SHARE = 0.25
"""Of the pages that fit beside our engine's weights; what else a manager holds lies there."""

NEEDED = ("AutoModelForCausalLM", "ContinuousBatchingConfig", "GenerationConfig")

PATHS = "prompts", "decoding"
"""Kinds of steps that may have graphs of their own: any, and those in which all decode."""


class Manager(Protocol):
    """What is asked of a manager of transformers."""

    current_batch: int
    continuous_batching_config: Any

    def start(self) -> None:
        """Serve, in a thread."""

    def stop(
        self, block: bool, timeout: float | None, keep_for_next_session: bool, hard_stop: bool
    ) -> None:
        """End that thread; what was not answered comes as a failed result."""

    def is_running(self) -> bool:
        """Whether that thread lives."""

    def add_request(
        self,
        input_ids: list[int],
        request_id: str | None,
        max_new_tokens: int | None,
        *,
        record_timestamps: bool,
        eos_token_id: int | list[int] | None,
    ) -> str | None:
        """Send one; its name, or None where it is not taken."""

    def get_result(self, request_id: str | None = None, timeout: float | None = None) -> Any:
        """What became of some request, or None after so many seconds."""


@dataclass
class Log:
    """What is known of N requests: times in seconds after `started_s`, NaN where there is none."""

    requests: Requests
    started_s: float

    def __post_init__(self) -> None:
        self.seen, self.first, self.last = np.full((3, len(self.requests.arrival_s)), np.nan)
        self.sent = self.ended = 0

    def note(self, result: Any) -> None:
        """A request ended, or was cut off."""
        number, stamps = int(result.request_id), result.timestamps or []
        self.ended += 1
        # Of what was begun anew after the cache was full, only the last times are kept.
        if not stamps or len(stamps) != len(result.generated_tokens):
            return
        self.first[number] = stamps[0] - self.started_s
        if len(stamps) == self.requests.output_tokens[number]:
            self.last[number] = stamps[-1] - self.started_s


class TransformersEngine:
    """A decoder with random weights, and the manager that serves by it.

    Raises:
        ConfigError: the installed release has no continuous batching, or no such decoder.
        RuntimeError: it could not answer a short request.
    """

    def __init__(self, shape: EngineShape, device: str, limits: Limits) -> None:
        import transformers

        self.version: str = transformers.__version__
        lacks = [name for name in NEEDED if not hasattr(transformers, name)]
        said = f"version {self.version} without {', '.join(lacks)}"
        require(not lacks, "transformers", said, "a release with continuous batching, as 5.24")
        self.shape, self.limits = shape, limits
        self.attention = attention_on(device)
        self.model = random_model(shape, device, self.attention)
        trial = Requests(np.zeros(1), np.array([8]), np.array([2]))
        answered = self.serve(trial, limit_s=STOP_S)["last_token_s"]
        if answered == [None]:
            raise RuntimeError(f"2 tokens took longer than {STOP_S:g} s")

    def serve(self, requests: Requests, limit_s: float) -> dict[str, Any]:
        """As `serving.serve`, by the manager."""
        rng = np.random.default_rng(0)
        prompts = [rng.integers(self.shape.vocabulary, size=n) for n in requests.prompt_tokens]
        manager: Manager = self._manager()
        graphs = [path for path, has in zip(PATHS, graphs_of(manager), strict=True) if has]
        manager.start()
        log = Log(requests, time.perf_counter())
        try:
            send(manager, log, [prompt.tolist() for prompt in prompts], limit_s)
        finally:
            spent_s = time.perf_counter() - log.started_s
            halt(manager)
        while (result := manager.get_result(timeout=0.0)) is not None:
            log.note(result)
        return {
            "attention": f"transformers {self.attention}",
            "graphs": graphs,
            "without_graphs": "" if graphs else f"transformers has none with {self.attention}",
            "steps": manager.current_batch,
            "spent_s": spent_s,
            **told_of(requests, log.sent, (log.seen, log.first, log.last)),
        }

    def _manager(self) -> Any:
        """The manager, kept from run to run with its cache and its graphs."""
        from transformers import ContinuousBatchingConfig, GenerationConfig

        batching = ContinuousBatchingConfig(
            page_size=PAGE,
            num_blocks=self.limits.pages,
            max_batch_tokens=self.limits.most_tokens,
            max_requests_per_batch=self.limits.most_running,
            allow_block_sharing=False,
            safety_margin=0.0,
            auto_switch_to_flash=False,  # It would look for kernels on a hub.
        )
        generation = GenerationConfig(do_sample=False, eos_token_id=-1)
        manager = self.model.init_continuous_batching(
            generation_config=generation, continuous_batching_config=batching
        )
        if not manager.warmed_up:
            manager.warmup()
        return manager

    def close(self) -> None:
        """Give back the manager's memory."""
        self.model.destroy_cached_continuous_batching_manager()


def installed() -> bool:
    """Whether transformers is there; it is not imported."""
    return importlib.util.find_spec("transformers") is not None


def send(manager: Manager, log: Log, prompts: list[list[int]], limit_s: float) -> None:
    """Send requests when they are due and note what ends, for so many seconds at most.

    Raises:
        RuntimeError: the manager failed.
    """
    arrival_s, outputs = log.requests.arrival_s, log.requests.output_tokens
    while True:
        now_s = time.perf_counter() - log.started_s
        while log.sent < len(prompts) and arrival_s[log.sent] <= now_s:
            name, most = str(log.sent), int(outputs[log.sent])
            options: Any = {"record_timestamps": True, "eos_token_id": -1}
            if manager.add_request(prompts[log.sent], name, most, **options) is None:
                raise RuntimeError(f"transformers took no request after {now_s:.3f} s")
            log.seen[log.sent] = time.perf_counter() - log.started_s
            log.sent += 1
        all_sent = log.sent == len(prompts)
        if now_s >= limit_s or (all_sent and log.ended == log.sent):
            return
        until_s = limit_s if all_sent else min(limit_s, float(arrival_s[log.sent]))
        now_s = time.perf_counter() - log.started_s
        receive(manager, log, max(until_s - now_s, 0.0))


def receive(manager: Manager, log: Log, timeout_s: float) -> None:
    """Wait for a request to end, no longer than that.

    Raises:
        RuntimeError: the manager failed.
    """
    result = manager.get_result(timeout=timeout_s)
    if result is not None and result.error is not None:
        raise RuntimeError(f"transformers failed: {result.error}")
    if result is not None:
        log.note(result)
    elif not manager.is_running():
        raise RuntimeError("the thread of transformers ended")


def halt(manager: Manager) -> None:
    """Stop after this step; what was not answered is given up.

    Raises:
        RuntimeError: it does not stop.
    """
    manager.stop(block=True, timeout=STOP_S, keep_for_next_session=True, hard_stop=True)
    if manager.is_running():
        raise RuntimeError(f"transformers did not stop within {STOP_S:g} s")


def graphs_of(manager: Manager) -> tuple[bool, bool]:
    """Which of PATHS a GPU replays as CUDA graphs."""
    prompts, decoding = manager.continuous_batching_config.cuda_graph_booleans
    return bool(prompts), bool(decoding)


def limits_beside(limits: Limits, most_tokens: int, attention: str) -> Limits:
    """What a manager of transformers gets of our engine's limits.

    It takes blocks as requests grow and begins anew whom the cache has no room for, which ours
    never does. So many run that all of them have room at `most_tokens` each.
    """
    pages = int(limits.pages * (1 - FREE_SHARE))
    if not attention.startswith("flash"):
        pages = min(pages, MASKED_PAGES)
    running = pages // -(-most_tokens // PAGE)
    return replace(limits, pages=pages, most_running=max(min(limits.most_running, running), 1))
