"""Measured latencies: the network does the work it is said to do; fits are of the figures."""

import pytest
import torch

from benchmarks.latency import Shape, affine_fit, measure, random_decoder
from llmroute_env import ConfigError, profiles

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


def test_measures_a_model_on_a_processor():
    result = measure(models=("opt-125m",), batches=(1, 2), repeats=1, device="cpu")
    assert list(result["models"]) == ["opt-125m"]
    times_s = result["models"]["opt-125m"]["measured_s"]
    assert len(times_s) == 2
    assert min(times_s) > 0


def test_an_unknown_model_is_refused():
    with pytest.raises(ConfigError, match="'opt-9b' is unknown; accepted: opt-125m"):
        measure(models=("opt-9b",), device="cpu")


@pytest.mark.parametrize("name", profiles.names())
def test_a_profile_is_the_fit_of_its_measured_latencies(name):
    for row in profiles.tables(name)["models"]:
        if row["measured_s"]:
            fit = affine_fit(row["measured_batch"], row["measured_s"])
            assert row["base_s"] == pytest.approx(fit["base_s"], rel=0.01)
            assert row["per_request_s"] == pytest.approx(fit["per_request_s"], rel=0.01)
            assert fit["largest_error"] < 0.07
