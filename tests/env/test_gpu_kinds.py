"""GPUs of several kinds: tables per (kind, model), and what follows from them."""

from dataclasses import replace

import numpy as np
import pytest

from agents.heuristics.models import RateThreshold
from llmroute_env import ConfigError, EnvConfig, GpuSpec, Pool, profiles
from llmroute_env.recording.serialization import config_sha256, read_config, to_plain
from llmroute_env.simulation.simulation import Simulation

OPT = profiles.load("opt-a100")
SLOW = replace(OPT, gpus=(*OPT.gpus, GpuSpec("slow", 80_000_000_000, 0.5)))
HALF = EnvConfig(profile=SLOW, pools=(Pool(4, gpu="slow"),))


def test_half_the_speed_sustains_less_than_half():
    largest, deadline_s = HALF.largest_model, HALF.deadline.deadline_s
    limit = HALF.batch_limit(largest)
    t_s = 2 * largest.batch_latency_s[limit - 1]
    assert 2 * t_s <= deadline_s < 4 * largest.batch_latency_s[limit]
    assert limit < EnvConfig().batch_limit(largest)
    assert HALF.load_1_per_s == pytest.approx(4 * limit / t_s)
    assert HALF.load_1_per_s < 0.5 * EnvConfig().load_1_per_s


@pytest.mark.parametrize("gpu", ["", "slow"])
def test_a_batch_after_another_is_in_time_at_the_default_limit(gpu: str):
    config = EnvConfig(profile=SLOW, pools=(Pool(1, gpu=gpu),))
    cluster = Simulation(config).cluster
    for m in range(3):
        finish_s = 2 * cluster.service.batch_s[0, m, cluster.batch_limit[0, m]]
        assert finish_s <= config.deadline.deadline_s


def test_every_pool_has_limits_of_its_own():
    mixed = EnvConfig(profile=SLOW, pools=(Pool(2), Pool(2, gpu="slow")))
    fast, slow = Simulation(mixed).cluster.batch_limit[:, 2]
    assert fast == EnvConfig().batch_limit(mixed.largest_model) > slow
    assert mixed.batch_limit(mixed.largest_model) == fast
    expected = 0.5 * (EnvConfig().load_1_per_s + HALF.load_1_per_s)
    assert mixed.load_1_per_s == pytest.approx(expected)


def test_a_threshold_on_the_rate_knows_the_speed():
    agent = RateThreshold("rate-threshold", HALF, 1.0)
    # The largest model alone sustains load 1, by definition.
    assert agent.log_limits[0] == pytest.approx(np.log1p(1.0))


def test_a_model_may_have_a_table_for_a_kind_of_gpu():
    table = tuple(0.02 + 0.001 * b for b in range(1, 33))
    models = (*OPT.models[:2], replace(OPT.models[2], latency_by_gpu={"other": table}))
    profile = replace(OPT, models=models, gpus=(*OPT.gpus, GpuSpec("other", 80_000_000_000)))
    config = EnvConfig(profile=profile, pools=(Pool(1), Pool(1, gpu="other")))
    cluster = Simulation(config).cluster
    np.testing.assert_allclose(cluster.service.batch_s[1, 2, 1:33], table, atol=1e-9)
    np.testing.assert_array_equal(cluster.service.batch_s[1, 0], cluster.service.batch_s[0, 0])
    assert cluster.batch_limit[1, 2] == 32
    assert read_config(to_plain(config)) == config


def test_a_table_for_a_gpu_that_is_not_there_is_refused():
    odd = replace(OPT.models[0], latency_by_gpu={"nix": (0.1,)})
    with pytest.raises(ConfigError, match="latency_by_gpu: got 'nix'; accepted: a100-80gb"):
        replace(OPT, models=(odd, *OPT.models[1:]))
    with pytest.raises(ConfigError, match=r"latency_by_gpu .x.: got -1.0"):
        replace(OPT.models[0], latency_by_gpu={"x": (-1.0,)})


def test_a_profile_file_holds_tables_by_gpu(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text(
        'extends = "opt-a100"\nname = "two"\n'
        '[[gpus]]\nname = "a"\nmemory_bytes = 80000000000\nrelative_speed = 1.0\n'
        '[[gpus]]\nname = "b"\nmemory_bytes = 80000000000\nrelative_speed = 1.0\n'
        '[[models]]\nname = "opt-6.7b"\n[models.on.b]\nbase_s = 0.01\nper_request_s = 0.001\n'
    )
    model, gpus = profiles.load(str(path)).models[2], profiles.load(str(path)).gpus
    assert model.latency_s(gpus[1])[:2] == pytest.approx((0.011, 0.012))
    assert model.latency_s(gpus[0]) == OPT.models[2].batch_latency_s


def test_fingerprints_of_one_kind_are_what_they_were():
    assert config_sha256(EnvConfig()).startswith("291435e0015e")
