"""Open loops by the continuous batching of transformers, on the CPU, where it is installed."""

from __future__ import annotations

import inspect
import socket
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.measuring.bench import DTYPES
from benchmarks.measuring.network import EngineDecoder
from benchmarks.measuring.scheduling import Limits
from benchmarks.measuring.serving import Requests
from benchmarks.measuring.shapes import EngineShape
from benchmarks.measuring.transformers_engine import TransformersEngine
from benchmarks.measuring.transformers_model import configuration
from llmroute_env import ConfigError

SIZES = {"layers": 2, "hidden": 32, "heads": 4, "head_width": 8, "inner": 48, "vocabulary": 101}
GATED = EngineShape(**SIZES, kv_heads=2, context_tokens=1024)
PLAIN = EngineShape(**SIZES, kv_heads=4, context_tokens=1024, gated=False)
LIMITS = Limits(most_running=3, most_tokens=64, pages=16)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Transformers, if it is installed; whoever asks a network fails."""

    def refuse(*given: Any) -> None:
        raise AssertionError("nothing is to be downloaded")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return pytest.importorskip("transformers", reason="transformers is not installed")


def test_its_manager_has_what_is_asked_of_it(library: Any):
    batching = pytest.importorskip("transformers.generation.continuous_batching")
    manager = batching.ContinuousBatchingManager
    calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
        "start": ((), {}),
        "is_running": ((), {}),
        "get_result": ((), {"timeout": 0.0}),
        "add_request": (([1], "0", 3), {"record_timestamps": True, "eos_token_id": -1}),
        "stop": (
            (),
            {"block": True, "timeout": 1.0, "keep_for_next_session": True, "hard_stop": True},
        ),
    }
    for name, (given, options) in calls.items():
        bound = inspect.signature(getattr(manager, name)).bind(None, *given, **options)
        if name == "add_request":
            order = ["self", "input_ids", "request_id", "max_new_tokens"]
            assert list(bound.arguments)[:4] == order
            # Not among those which go on to what processes logits.
            assert "logit_processor_kwargs" not in bound.arguments


@pytest.mark.parametrize("shape", [GATED, PLAIN], ids=["qwen2", "opt"])
def test_its_decoders_are_of_the_size_of_ours(shape: EngineShape, library: Any):
    with torch.device("meta"):
        theirs = library.AutoModelForCausalLM.from_config(configuration(shape))
        ours = EngineDecoder(shape)
    sizes = [sum(p.numel() for p in network.parameters()) for network in (theirs, ours)]
    assert sizes[0] == sizes[1] > 10_000


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"biased": False, "kv_heads": 2}, "shape biased: got False; accepted: True"),
        ({"gated": False, "kv_heads": 2}, "shape kv_heads: got 2; accepted: 4, as many as heads"),
        ({"gated": False, "kv_heads": 4, "head_width": 16}, "shape head_width: got 16; accepted"),
    ],
)
def test_shapes_that_it_has_no_decoder_for_are_refused(
    sizes: dict[str, Any], said: str, library: Any
):
    with pytest.raises(ConfigError, match=said):
        configuration(EngineShape(**{**SIZES, "context_tokens": 1024, **sizes}))


@pytest.mark.parametrize("shape", [GATED, PLAIN], ids=["qwen2", "opt"])
def test_it_serves_requests_as_they_come(shape: EngineShape, library: Any):
    requests = Requests(np.array([0.0, 0.01, 0.3]), np.array([40, 300, 5]), np.array([3, 2, 1]))
    with torch.inference_mode():
        engine = TransformersEngine(shape, "cpu", LIMITS)
        found = engine.serve(requests, limit_s=60.0)
        long = Requests(np.zeros(3), np.array([40, 40, 40]), np.array([900, 900, 2]))
        cut = engine.serve(long, limit_s=1.0)
        again = engine.serve(requests, limit_s=60.0)
        engine.close()
    for one in (found, again):
        arrival, seen, first, last = (
            np.array(one[name], float)
            for name in ("arrival_s", "queued_s", "first_token_s", "last_token_s")
        )
        assert (arrival == requests.arrival_s).all()
        assert (seen >= arrival - 1e-6).all()
        assert (first > seen).all()
        assert (last[:2] > first[:2]).all()
        assert last[2] == first[2]
        # A prompt of 300 tokens takes five steps of 64.
        assert one["steps"] >= 5
    # Who was cut off has a first token and no last one; who was done is not lost.
    assert [at_s is None for at_s in cut["last_token_s"]] == [True, True, False]
    assert None not in cut["first_token_s"]
    assert found["attention"] == "transformers sdpa"
    assert engine.model.dtype == DTYPES["cpu"]
    assert engine.version == library.__version__


@pytest.mark.parametrize("shape", [GATED, PLAIN], ids=["qwen2", "opt"])
def test_its_answers_in_pieces_are_those_of_each_prompt_alone(shape: EngineShape, library: Any):
    torch.manual_seed(0)
    with torch.inference_mode():
        engine = TransformersEngine(shape, "cpu", LIMITS)
        for weight in engine.model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
        prompts = [torch.randint(101, (n,)).tolist() for n in (20, 300, 5)]
        manager, answers = engine._manager(), dict[str, list[int]]()
        manager.start()
        for number, prompt in enumerate(prompts):
            manager.add_request(prompt, str(number), 6, eos_token_id=-1)
        while len(answers) < 3 and (result := manager.get_result(timeout=60.0)) is not None:
            assert result.error is None
            answers[result.request_id] = result.generated_tokens
        manager.stop(block=True, timeout=60.0)
        alone = library.GenerationConfig(do_sample=False, max_new_tokens=6, pad_token_id=0)
        for number, prompt in enumerate(prompts):
            ids = torch.tensor([prompt])
            whole = engine.model.generate(
                ids, attention_mask=torch.ones_like(ids), generation_config=alone
            )
            assert answers[str(number)] == whole[0, len(prompt) :].tolist()
    assert len({tuple(words) for words in answers.values()}) > 1
