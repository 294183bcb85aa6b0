"""Measured latencies: the network does the work it is said to do; fits are of the figures."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.commands.latency import Latency
from benchmarks.latency import Shape, affine_fit, measure, random_decoder
from llmroute_env import ConfigError, EnvConfig, profiles

TINY = Shape(layers=2, heads=2, hidden=16)


def test_decoding_with_a_cache_is_decoding_from_scratch():
    torch.manual_seed(0)
    decoder = random_decoder(TINY, "cpu", torch.float64)
    text = torch.randint(50272, (3, 9))
    with torch.inference_mode():
        cache = decoder.cache(3, 9)
        decoder(text[:, :5], cache, 0)
        for end in range(6, 10):
            logits = decoder(text[:, end - 1 : end], cache, end - 1)
            from_scratch = decoder(text[:, :end], decoder.cache(3, end), 0)
            torch.testing.assert_close(logits, from_scratch)
        other = decoder(text.roll(1, 1), decoder.cache(3, 9), 0)
    assert (other - logits).abs().max() > 1e-3


def test_generates_what_is_likeliest_next():
    torch.manual_seed(0)
    decoder = random_decoder(TINY, "cpu", torch.float64)
    text = torch.randint(50272, (2, 5))
    with torch.inference_mode():
        answer = decoder.generate(text, decoder.cache(2, 8), 3)
        for token in answer.T:
            assert torch.equal(token, decoder(text, decoder.cache(2, 8), 0).argmax(-1))
            text = torch.cat([text, token[:, None]], 1)


@pytest.mark.parametrize("row", profiles.tables("opt-a100")["models"], ids=lambda row: row["name"])
def test_networks_have_as_many_parameters_as_the_models(row):
    shape = Shape(row["layers"], row["heads"], row["hidden"])
    decoder = random_decoder(shape, "meta", torch.float16)
    count = sum(parameter.numel() for parameter in decoder.parameters())
    assert count == pytest.approx(row["parameters"], rel=1e-4)


def test_a_network_is_measured(monkeypatch: pytest.MonkeyPatch):
    asked = list[Shape]()

    def tiny(shape: Shape, device: str, dtype: torch.dtype) -> Any:
        """In its place one that takes no seconds."""
        asked.append(shape)
        return random_decoder(TINY, device, dtype)

    monkeypatch.setattr("benchmarks.latency.random_decoder", tiny)
    measured = measure("opt-a100", ("opt-125m",), (1, 2), repeats=1, device="cpu")
    assert list(measured) == ["opt-125m"]
    assert len(measured["opt-125m"]) == 2
    assert all(time_s > 0 for time_s in measured["opt-125m"])
    assert asked == [Shape(layers=12, heads=12, hidden=768)]


def test_a_fit_never_falls():
    noisy = affine_fit((1, 2), (1.4, 1.0))
    assert (noisy.base_s, noisy.per_request_s) == (pytest.approx(1.2), 0.0)
    assert noisy.largest_error == pytest.approx(0.2)


@pytest.mark.parametrize("times_s", [(1.0, 3.0), (0.1, 0.9, 4.0), (2.0, 2.0, 9.0, 40.0)])
def test_a_fit_says_of_no_batch_that_it_takes_no_time(times_s: tuple[float, ...]):
    batches = tuple(2 ** (k + 4) for k in range(len(times_s)))
    fit = affine_fit(batches, times_s)
    assert min(fit.base_s, fit.per_request_s) >= 0
    assert fit.base_s + fit.per_request_s > 0
    worst = max(
        abs(fit.base_s + fit.per_request_s * b - t) / t
        for b, t in zip(batches, times_s, strict=True)
    )
    assert fit.largest_error == pytest.approx(worst)
    assert worst > 0.01


def test_what_was_measured_is_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # Times of our own: on a busy machine two requests may take less than one.
    monkeypatch.setattr("benchmarks.latency.measure_model", lambda *_: [0.3, 0.35])
    out = tmp_path / "mine.toml"
    Latency(models=("opt-125m",), batches=(1, 2), repeats=1, device="cpu", out=out).run()
    mine = EnvConfig(profile=str(out)).resolved_profile
    base = profiles.load("opt-a100")
    small, *others = mine.models
    one_s, two_s = profiles.tables(str(out))["models"][0]["measured_s"]
    assert small.batch_latency_s[:2] == pytest.approx((one_s, two_s), rel=0.01)
    assert small.accuracy == base.models[0].accuracy
    assert others == list(base.models[1:])
    assert [gpu.name for gpu in mine.gpus] == ["cpu"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"profile": "mine.toml"}, "profile: got 'mine.toml'; accepted: .*opt-a100, opt-h100"),
        ({"profile": "qwen2.5"}, "profile: got 'qwen2.5'; accepted: a profile of batches"),
        ({"models": ("opt-9b",)}, "'opt-9b' is unknown; accepted: opt-125m"),
        ({"batches": (1, 0)}, r"batches: got \(1, 0\); accepted: two sizes or more, >= 1"),
        ({"batches": (4,)}, "batches: got"),
        ({"repeats": 0}, "repeats: got 0; accepted: >= 1"),
        ({"device": "tpu"}, "device: got 'tpu'; accepted: cuda, cpu"),
    ],
)
def test_what_cannot_be_measured_is_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        Latency(**{"device": "cpu", **changes}).run()


def test_a_machine_without_a_gpu_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="accepted: cpu, as torch finds no CUDA GPU here"):
        Latency().run()


@pytest.mark.parametrize("name", profiles.names())
def test_a_profile_is_the_fit_of_its_measured_latencies(name):
    for row in profiles.tables(name)["models"]:
        if row.get("measured_s"):
            fit = affine_fit(row["measured_batch"], row["measured_s"])
            assert row["base_s"] == pytest.approx(fit.base_s, rel=0.01)
            assert row["per_request_s"] == pytest.approx(fit.per_request_s, rel=0.01)
            assert fit.largest_error < 0.07
