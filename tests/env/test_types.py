"""One rule for the types of all fields: what is not of the declared type is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from llmroute_env import ConfigError, Deadline, EnvConfig, ModelSpec, Pool, RequestClass
from llmroute_env.recording.serialization import config_sha256, to_plain
from traces.errors import InputError
from traces.tasks import TaskMix
from traces.workloads import PoissonArrivals

WRONG = {
    "text as flag": (lambda: EnvConfig(shed_expired="False"), "shed_expired: got 'False'; .* true"),
    "off": (lambda: EnvConfig(deadline_aware_batching="off"), "got 'off'; accepted: true or false"),
    "number as flag": (lambda: EnvConfig(shed_expired=0), "shed_expired: got 0; .* true or false"),
    "part of a request": (lambda: EnvConfig(max_batch={"opt-6.7b": 2.9}), "max_batch: got .*2.9"),
    "flag as number": (lambda: EnvConfig(queue_capacity=True), "got True; accepted: an integer"),
    "flag as float": (lambda: EnvConfig(window_s=True), "window_s: got True; accepted: a number"),
    "text as number": (
        lambda: EnvConfig(load="2"),
        "load: got '2'; accepted: a number, or a tuple",
    ),
    "list": (lambda: EnvConfig(load=[1.0, 2.0]), r"load: got \[1.0, 2.0\]; accepted: a number"),
    "too many": (lambda: EnvConfig(rate_windows_s=(0.2, 2.0, 9.0)), "accepted: a tuple of 2"),
    "too small": (lambda: EnvConfig(rate_windows_s=(1e-320, 2.0)), "two finite lengths >= 9e-10 s"),
    "huge": (lambda: EnvConfig(window_s=10**400), "window_s: got 1000.*; accepted: a number"),
    "seed": (lambda: EnvConfig(workload_seed=-1), "workload_seed: got -1; accepted: >= 0"),
    "no mix": (lambda: EnvConfig(mix=None), "mix: got None; accepted: a Mix"),
    "class as recipe": (lambda: EnvConfig(workload=PoissonArrivals), "workload: got <class"),
    "path": (
        lambda: EnvConfig(workload="own.npz", load=None),
        "workload: got 'own.npz'; accepted: a Workload, or a Trace",
    ),
    "dict": (lambda: EnvConfig(deadline={"deadline_s": 1.0}), "deadline: got .*a Deadline"),
    "pool": (lambda: Pool(2.0), "pool gpus: got 2.0; accepted: an integer"),
    "models": (lambda: Pool(1, "opt-125m"), "pool models: got 'opt-125m'; accepted: a tuple"),
    "deadline": (lambda: Deadline("0.4"), "deadline deadline_s: got '0.4'; accepted: a number"),
    "class": (lambda: RequestClass("vip", weight="5"), "class 'vip' weight: got '5'"),
    "model": (lambda: ModelSpec("m", 1.5, 0, 0, (1.0,), (1.0,)), "model 'm' parameters: got 1.5"),
    "mix": (lambda: TaskMix("abcd"), "weights: got 'abcd'; accepted: a tuple, each entry a number"),
    "recipe": (lambda: PoissonArrivals("long"), "span_s: got 'long'; accepted: a number"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_value_of_another_type_is_refused(case: str) -> None:
    make, message = WRONG[case]
    with pytest.raises(InputError, match=message):
        make()


def test_refusals_of_an_environment_are_config_errors() -> None:
    with pytest.raises(ConfigError):
        EnvConfig(queue_capacity="5")


def test_numbers_of_numpy_are_numbers() -> None:
    own: dict[str, Any] = {
        "queue_capacity": np.int64(5),
        "load": (np.float32(0.5), np.int32(2)),
        "shed_expired": np.bool_(False),
        "max_batch": {"opt-6.7b": np.uint8(4)},
        "rate_windows_s": tuple(np.array([0.25, 2.0])),
    }
    plain = {
        "queue_capacity": 5,
        "load": (0.5, 2),
        "shed_expired": False,
        "max_batch": {"opt-6.7b": 4},
        "rate_windows_s": (0.25, 2.0),
    }
    one, other = EnvConfig(**own), EnvConfig(**plain)
    assert one == other
    assert config_sha256(one) == config_sha256(other)
    assert (type(one.queue_capacity), type(one.shed_expired)) == (int, bool)
    assert to_plain(one) == to_plain(other)


def test_what_fits_is_kept_as_it_is() -> None:
    batches = {"opt-6.7b": 4}
    config = EnvConfig(max_batch=batches, load=2)
    assert config.max_batch is batches
    assert type(config.load) is int
