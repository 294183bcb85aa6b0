"""A profile of one's own may name its models as it likes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.loading import load
from agents.runs.card import read_card, write_card
from agents.runs.plan import Plan
from agents.settings.families import configurations
from benchmarks.evaluation.runner import evaluate
from llmroute_env import ConfigError, EnvConfig, Pool, configure, profiles
from llmroute_env.recording.serialization import config_sha256

OPT = profiles.load("opt-a100")
NAMES = ("tiny", "medium", "large")
OWN = replace(
    OPT,
    name="own",
    models=tuple(replace(m, name=n) for m, n in zip(OPT.models, NAMES, strict=True)),
)


def test_a_pool_that_names_no_models_hosts_all_of_the_profile():
    config = EnvConfig(profile=OWN, pools=(Pool(2), Pool(1, ("large",))))
    assert config.pools == (Pool(2, NAMES), Pool(1, ("large",)))
    assert EnvConfig(profile=OWN).model_names == NAMES


def test_naming_all_models_is_the_same_environment():
    named = EnvConfig(pools=(Pool(4, OPT.model_names),))
    assert named == EnvConfig(pools=(Pool(4),))
    assert config_sha256(named) == config_sha256(EnvConfig())


def test_a_models_name_is_a_router_on_its_own_profile_only():
    config = configure("stable", profile=OWN, window_s=1.0)
    for number, name in enumerate(NAMES):
        agent = load(name, config)
        rows = np.zeros((2, config.layout.width), np.float32)
        assert agent.act(rows).tolist() == [number] * 2
    with pytest.raises(ConfigError, match=r"agent: got 'opt-6.7b'; .* tiny, medium, large, "):
        load("opt-6.7b", config)
    with pytest.raises(ConfigError, match="agent: 'large' is not hosted; hosted: tiny"):
        load("large", configure("stable", profile=OWN, pools=(Pool(1, ("tiny",)),)))


def test_names_change_no_episode():
    fields = {"window_s": 2.0, "load": 2.0}
    theirs, ours = configure("stable", **fields), configure("stable", profile=OWN, **fields)
    one = evaluate(load("opt-1.3b", theirs), theirs, 2, 0)
    other = evaluate(load("medium", ours), ours, 2, 0)
    assert one.values("utility").tolist() == other.values("utility").tolist()


def test_families_place_the_profiles_own_models():
    dedicated = configurations("any", {"profile": OWN})[-1]
    assert dedicated.pools == (Pool(2, ("large",)), Pool(1, ("medium",)), Pool(1, ("tiny",)))
    assert configurations("any", {})[-1].pools[0] == Pool(2, ("opt-6.7b",))


def test_cards_name_the_models_of_pools(tmp_path: Path):
    write_card(tmp_path, Plan(tmp_path, fields={"pools": (Pool(2),)}).card())
    (said,) = read_card(tmp_path).fields["pools"]
    assert said["models"] == ["opt-125m", "opt-1.3b", "opt-6.7b"]
    assert (said["gpus"], said["gpu"]) == (2, "")
