"""The wheel in an environment of its own, outside the tree, with the base install alone."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.project.clean_environment import Clean, build

if find_spec("pip") is None:
    pytest.skip("pip installs the wheel", allow_module_level=True)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Clean:
    return build(tmp_path_factory.mktemp("installed"))


PROGRAM = """
import importlib.util as u, llmroute_env
print(llmroute_env.__file__)
print([name for name in ("torch", "matplotlib", "scipy", "PIL") if u.find_spec(name)])
for needs in ("import llmroute_env.sb3", "llmroute_env.LLMRouteEnv(render_mode='rgb_array')"):
    try:
        exec(needs)
    except Exception as error:
        print(error)
"""


def test_it_is_imported_from_the_wheel_and_says_which_extra_is_missing(clean: Clean):
    done = clean.run("python", "-W", "error", "-c", PROGRAM)
    assert done.returncode == 0, done.stderr
    place, extras, sb3, render = done.stdout.splitlines()
    assert Path(place).is_relative_to(clean.place)
    assert extras == "[]"
    assert sb3.endswith("pip install 'llmroute[sb3]'")
    assert render.endswith("pip install 'llmroute[render]'")


def test_the_command_answers(clean: Clean):
    done = clean.run("llmroute", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: llmroute" in done.stdout
    assert clean.run("llmroute", "--version").stdout.startswith("llmroute 0.")


NEEDS_AN_EXTRA = {
    "train": ("train", "ddqn", "--timesteps", "4096"),
    "sb3": ("train", "sb3-dqn", "--timesteps", "4096"),
    "tune": ("tune", "ddqn", "--trials", "1"),
    "export": ("export", "pretrained:paper", "--out", "router.onnx"),
}
"""By the extra: a command that needs it."""


@pytest.mark.verify
@pytest.mark.parametrize("extra", NEEDS_AN_EXTRA)
def test_a_missing_extra_is_named(clean: Clean, extra: str):
    done = clean.run("llmroute", *NEEDS_AN_EXTRA[extra])
    assert done.returncode != 0
    last = done.stderr.splitlines()[-1]
    assert f"pip install 'llmroute[{extra}]'" in last, done.stderr


WITHOUT_EXTRAS = (
    ("evaluate", "largest-feasible", "opt-1.3b", "--episodes", "2"),
    ("record", "priced-pair", "--out", "card.json"),
    ("replay", "card.json"),
    ("timeline", "largest-feasible", "--out", "timeline.json"),
    ("trace", "make", "--span", "60", "--out", "made.npz"),
    ("trace", "info", "azure-code"),
    ("list", "agents"),
)
"""Commands of the base install, in an order in which they can be run."""


@pytest.mark.verify
def test_heuristics_are_evaluated_and_episodes_kept_without_any_extra(clean: Clean):
    for words in WITHOUT_EXTRAS:
        done = clean.run("llmroute", *words)
        assert done.returncode == 0, (words, done.stderr)
    best = clean.run("llmroute", "evaluate", "largest-feasible", "--episodes", "2", "--json")
    assert 0.7 < json.loads(best.stdout.splitlines()[-1])["utility_of_peak"]["mean"] < 1.0
