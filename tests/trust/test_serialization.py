"""Configurations survive JSON, and what cannot be read is refused by name."""

import dataclasses
import json
import math

import numpy as np
import pytest

from llmroute_env import SCENARIOS, ConfigError, Deadline, EnvConfig, Pool, profiles
from llmroute_env.dynamics.state import COMPLETION
from llmroute_env.recording.serialization import (
    config_sha256,
    from_plain,
    pack,
    read_config,
    to_plain,
    trace_sha256,
    unpack,
)
from traces.trace import Provenance, Trace
from traces.workloads import GammaArrivals

TRACE = Trace(
    arrival_s=np.array([0.0, 1 / 3, 2.0]),
    task=np.array([0, 1, 3], np.int16),
    prompt_tokens=np.array([1, 2, 3], np.int32),
    output_tokens=np.array([4, 5, 6], np.int32),
    span_s=3.0,
    provenance=Provenance("test", "", ("slice 0 3",)),
)
CONFIGS = {
    **{name: scenario.config for name, scenario in SCENARIOS.items()},
    "own profile": EnvConfig(profile=profiles.load("opt-a100")),
    "everything": EnvConfig(
        pools=(Pool(2), Pool(1, ("opt-6.7b",))),
        deadline=Deadline(math.inf),
        max_batch={"opt-6.7b": 3},
        workload=GammaArrivals(0.5),
        load=(0.1, 1 / 3),
        window_s=math.inf,
    ),
}


def through_json(value: object) -> object:
    return json.loads(json.dumps(to_plain(value), allow_nan=False))


@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_come_back_equal(name: str):
    config = CONFIGS[name]
    again = read_config(through_json(config))
    assert again == config
    assert config_sha256(again) == config_sha256(config)


def test_a_trace_comes_back_bit_by_bit():
    config = EnvConfig(workload=TRACE, load=None, split="all")
    again = read_config(through_json(config)).workload
    assert trace_sha256(again) == trace_sha256(TRACE)
    assert again.provenance == TRACE.provenance
    later = dataclasses.replace(TRACE, arrival_s=np.nextafter(TRACE.arrival_s, 9.0))
    assert trace_sha256(later) != trace_sha256(TRACE)


def test_fingerprints_tell_configurations_apart():
    digests = {config_sha256(config) for config in CONFIGS.values()}
    # The default configuration is the scenario `stable`, with or without the profile's name.
    assert len(digests) == len(CONFIGS) - 1
    assert config_sha256(EnvConfig(load=2)) == config_sha256(EnvConfig(load=2.0))
    assert config_sha256(EnvConfig(load=2.0)) != config_sha256(EnvConfig(load=2.5))


def test_fields_left_out_take_their_defaults():
    assert read_config({"$type": "EnvConfig"}) == EnvConfig()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"$type": "Deadline", "seconds": 1}, "config: Deadline cannot be read"),
        ({"$type": "os.system"}, r"config \$type: got 'os.system'; accepted: EnvConfig"),
        ({"$type": "EnvConfig", "pools": [{"$type": "Pool", "gpus": 0}]}, "pool gpus: got 0"),
        ({"$type": "EnvConfig", "load": "much"}, "load: got 'much'; accepted: a number"),
        ({"$type": "EnvConfig", "mix": {"$type": "array", "dtype": "O"}}, "config.mix: array"),
        ([1], "config: got tuple; accepted: an EnvConfig"),
        (None, "config: got NoneType"),
    ],
)
def test_refusals(data: object, message: str):
    with pytest.raises(ConfigError, match=message):
        read_config(data)


def test_what_is_no_data_is_named():
    class Mine:
        def trace(self, rate_per_s, rng):
            return TRACE

    with pytest.raises(ConfigError, match=r"config.workload: got <.*Mine"):
        to_plain(EnvConfig(workload=Mine()))


@pytest.mark.parametrize("value", [0.1, -0.0, math.inf, -math.inf, 5e-324, 2**53 + 1, np.int64(3)])
def test_numbers_are_exact(value: float):
    again = from_plain(through_json(value))
    assert (again, str(again)) == (value, str(value))


def test_arrays_are_exact_and_never_objects():
    records = np.zeros(3, COMPLETION)
    records["utility"] = [0.1, math.nan, -0.0]
    again = unpack(json.loads(json.dumps(pack(records))))
    assert again.dtype == records.dtype
    assert again.tobytes() == records.tobytes()
    with pytest.raises(ValueError, match="accepted: numbers"):
        unpack({**pack(np.zeros(1)), "dtype": "|O"})
