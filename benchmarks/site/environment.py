"""Tables of docs/environment.md, from the code that they are about."""

from __future__ import annotations

import gymnasium

from benchmarks.shipping.problem_table import entries, meanings
from benchmarks.site.parts import table
from llmroute_env import profiles
from llmroute_env.config import EnvConfig
from llmroute_env.dynamics.actions import ACTIONS
from llmroute_env.dynamics.features import DEFAULT_FEATURES, FEATURES
from llmroute_env.dynamics.reward import REWARD_TERMS
from llmroute_env.env import LLMRouteEnv
from llmroute_env.scenarios import configure
from llmroute_env.specs import Pool
from llmroute_env.vector_env import LLMRouteVectorEnv

COLUMNS = {
    "task": "T",
    "once": "1",
    "model": "M",
    "gpu": "G",
    "gpu-model": "G x M",
    "class": "C",
}
"""How many columns a feature has, by what it is counted per."""

DECIDES = {
    "model": "the model; the dispatcher picks the GPU",
    "gpu-model": "the pair, GPU-major; `action_masks()` says which GPU hosts which model",
}

EARNED = {
    "utility_in_time": "accuracy(task, model) of each request whose latency is at most its "
    "deadline",
    "utility_late": "the same times the decay of a soft deadline: `linear` or `exponential`, 0 "
    "after `grace_s`; 0 if hard",
}

SAID_ABOVE = {
    "observation": "above",
    "workload": "the scenario's",
    "load": "the scenario's",
    "mix": "equal",
    "classes": "none",
    "class_mix": "equal",
    "engine": "as vLLM's",
    "lengths": "the workload's",
    "signals": "exact",
}
"""Defaults of fields that no short value tells."""


def overview() -> str:
    """What the default id is, as Gymnasium's pages begin."""
    config = configure("unpredictable-1")
    rows = [
        ("Action space", f"`Discrete({config.actions})`: {listed(config.model_names)}"),
        ("Observation space", f"`Box(low, high, ({config.layout.width},), float32)`, bounded"),
        ("Import", '`gymnasium.make("llmroute_env:LLMRoute-v0")`'),
        ("Tasks", listed(config.tasks)),
    ]
    return table(("", "of `LLMRoute-v0`, as it is by default"), rows)


def ids() -> str:
    """Registered ids and what is different about each."""
    specs = [spec for name, spec in gymnasium.registry.items() if name.startswith("LLMRoute")]
    return table(("id", "differs by"), [(f"`{s.id}`", said(s.kwargs)) for s in specs])


def said(kwargs: dict[str, object]) -> str:
    """Keyword arguments as code."""
    return ", ".join(f"`{name}={value!r}`" for name, value in kwargs.items()) or "the default"


def actions() -> str:
    """What a router can decide, and the space that this makes by default."""
    rows = []
    for kind in ACTIONS:
        config = EnvConfig(action=kind)
        usual = " (default)" if kind == EnvConfig().action else ""
        rows.append((f"`{kind}`{usual}", f"`Discrete({config.actions})`", DECIDES[kind]))
    head = (f"`action=`, for {EnvConfig().gpus} GPUs and {len(EnvConfig().models)} models", "space")
    return table((*head, "decides"), rows)


def observations() -> str:
    """Every feature, those of the default observation first, as they come there."""
    rows = []
    for feature in FEATURES:
        usual = "yes" if feature.name in DEFAULT_FEATURES else ""
        columns, bounds = COLUMNS[feature.per], f"{feature.low:g} to {feature.high:g}"
        rows.append((f"`{feature.name}`", columns, bounds, usual, feature.meaning))
    return table(("name", "columns", "range", "default", "meaning"), rows)


def rewards() -> str:
    """The terms that every step tells."""
    return table(("term", "meaning"), [(f"`{term}`", EARNED[term]) for term in REWARD_TERMS])


def arguments() -> str:
    """What `gymnasium.make` and `make_vec` take beside the fields."""
    single = entries(LLMRouteEnv.__init__, "Args")
    vector = entries(LLMRouteVectorEnv.__init__, "Args")
    rows = [(f"`{name}`", "both" if name in vector else "make", m) for name, m in single.items()]
    rows += [(f"`{name}`", "make_vec", m) for name, m in vector.items() if name not in single]
    return table(("argument", "of", "meaning"), rows)


def fields() -> str:
    """Every field of EnvConfig with its default."""
    rows = [(f"`{name}`", default_of(name), told) for name, told in meanings().items()]
    return table(("field", "default", "meaning"), rows)


def default_of(name: str) -> str:
    """A field's default, in short."""
    config = EnvConfig()
    if name == "pools":
        return f"`{Pool.__name__}({config.gpus})`, all {len(config.models)} models"
    if name == "deadline":
        return f"{config.deadline.deadline_s} s, `{config.deadline.kind}`"
    if name == "max_batch":
        return ", ".join(
            f"{config.batch_limit(model)} for `{model.name}`" for model in config.models
        )
    return SAID_ABOVE.get(name) or f"`{getattr(config, name)}`"


def shipped_profiles() -> str:
    """Models, tasks and GPUs of the profiles that come with the package."""
    rows = []
    for name in profiles.names():
        found = profiles.load(name)
        gpus = [gpu.name for gpu in found.gpus]
        rows.append((f"`{name}`", listed(found.model_names), listed(gpus), listed(found.tasks)))
    return table(("profile", "models", "GPUs", "tasks"), rows)


def listed(names: tuple[str, ...] | list[str]) -> str:
    """Names as code."""
    return ", ".join(f"`{name}`" for name in names)


def parts() -> dict[str, str]:
    """All of them, by name."""
    return {
        "overview": overview(),
        "ids": ids(),
        "actions": actions(),
        "observations": observations(),
        "rewards": rewards(),
        "arguments": arguments(),
        "fields": fields(),
        "profiles": shipped_profiles(),
    }
