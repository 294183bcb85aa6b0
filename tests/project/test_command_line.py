"""The `llmroute` command as a user meets it."""

import json
import os
import runpy
import subprocess
import sys
from contextlib import redirect_stdout
from functools import cache
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from agents.loading import load
from agents.runs.card import write_card
from agents.runs.plan import Plan
from agents.settings.families import FAMILIES, configurations
from benchmarks import cli
from benchmarks.cli import COMMANDS, Group, main
from benchmarks.commands.listing import LISTS
from benchmarks.commands.options import EnvOptions, problem_for
from benchmarks.shipping.pretrained import RECIPES
from benchmarks.speed.day import Day
from llmroute_env import Pool, profiles
from llmroute_env.scenarios import configure
from traces.lengths import FixedLengths

KEYS = {
    "agent",
    "scenario",
    "episodes",
    "seed",
    "requests",
    "utility_of_peak",
    "deadline_met",
    "goodput_per_s",
    "rejected",
    "share",
    "windows_at_least",
    "p50_s",
    "p99_s",
    "setting",
    "setting_from",
    "windows",
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where settings that are found for other problems are kept."""
    monkeypatch.chdir(tmp_path)


def words(commands: dict, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command and group, as the words that name it."""
    found = [before]
    for name, command in commands.items():
        inner = command.commands if isinstance(command, Group) else {}
        found += words(inner, (*before, name))
    return found


@cache
def help_of(command: tuple[str, ...]) -> str:
    """What a command prints when asked for help."""
    with redirect_stdout(StringIO()) as printed, pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    return printed.getvalue()


@pytest.mark.parametrize("command", words(COMMANDS), ids=" ".join)
def test_help_on_every_level(command: tuple[str, ...]):
    assert "usage: llmroute" in help_of(command)


@pytest.mark.parametrize("command", words(COMMANDS), ids=" ".join)
def test_help_speaks_of_options_and_not_of_python(command: tuple[str, ...]):
    printed = help_of(command)
    for word in ("STR", "{None}", "default: None", "default: )", "default: True", "default: False"):
        assert word not in printed


MAKES_NO_ENVIRONMENT = {
    *("list", "report", "validate", "leaderboard", "gpu-check"),
    *("replay", "latency", "trace", "fidelity"),
    *("ensemble", "distill"),
}
"""First words of commands that read of their environments what was recorded, or have none."""


@pytest.mark.parametrize("command", words(COMMANDS), ids=" ".join)
def test_whatever_makes_an_environment_takes_a_whole_problem(command: tuple[str, ...]):
    printed = help_of(command)
    is_group = command in ((), ("speed",))
    takes = not is_group and command[0] not in MAKES_NO_ENVIRONMENT
    for option in ("--env ", "--set ", "--trace ", "--scenario ", "--load "):
        assert (option in printed) == takes, option


@pytest.mark.parametrize("kind", LISTS)
def test_there_is_a_list_of_every_kind_of_name(kind: str, capsys: pytest.CaptureFixture[str]):
    assert main(["list", kind]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert main(["list", kind, "--json"]) == 0
    words = json.loads(capsys.readouterr().out)
    assert [line.split()[0] for line in lines] == list(words)
    assert all(words.values())


def test_names_of_lists_are_accepted_where_they_are_wanted():
    for name in LISTS["scenarios"]():
        assert configurations(name, {})
    for name in LISTS["profiles"]():
        assert configure("stable", profile=name, **engines_of(name))
    own = {f"pretrained:{name}": first_scenario(name) for name in RECIPES}
    own["admission"] = "admission"
    for name in LISTS["agents"]():
        assert load(name, configure(own.get(name, "unpredictable-1"))).name


def first_scenario(name: str) -> str:
    """Where the shipped router called `name` was trained, of a family the first environment."""
    families = {"any": "unpredictable-1", "any-world": "crash"}
    return families.get(RECIPES[name].scenario, RECIPES[name].scenario)


def engines_of(profile: str) -> dict[str, Any]:
    """What an environment of a profile for continuous batching says beside it."""
    known = profiles.load(profile)
    if not known.models[0].step_times:
        return {}
    pools, lengths = (Pool(1, known.model_names[:1]),), FixedLengths(100, 20)
    lengths_of = dict.fromkeys(known.tasks, lengths)
    return {"service": "continuous", "pools": pools, "lengths": lengths_of}


def test_the_package_says_where_to_go(capsys: pytest.CaptureFixture[str]):
    runpy.run_module("llmroute_env", run_name="__main__")
    printed = capsys.readouterr().out
    assert printed.startswith(f"llmroute {version('llmroute')}: ")
    assert "llmroute --help" in printed


@pytest.mark.parametrize("group", [name for name, c in COMMANDS.items() if isinstance(c, Group)])
def test_a_group_alone_says_what_there_is(group: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        main([group])
    assert stop.value.code == 2
    printed = capsys.readouterr()
    assert all(name in printed.err + printed.out for name in COMMANDS[group].commands)


def evaluation(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main(["evaluate", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_evaluate_prints_one_json_object_as_its_last_line(capsys: pytest.CaptureFixture[str]):
    row = evaluation(capsys, "largest-feasible", "--scenario", "stable", "--episodes", "3")
    assert row.keys() >= KEYS
    assert (row["agent"], row["scenario"], row["episodes"]) == ("largest-feasible", "stable", 3)
    utility = row["utility_of_peak"]
    assert 0.9 < utility["ci_low"] <= utility["mean"] <= 1
    assert utility["mean"] <= utility["ci_high"] < 1.1
    assert sum(row["share"].values()) == pytest.approx(1)
    assert set(row["windows_at_least"]) == {"0.96", "0.98", "0.99"}
    assert row["requests"] > 10_000
    assert row["p50_s"] < row["p99_s"] < 0.4


def test_episodes_are_paired_and_follow_the_seed(capsys: pytest.CaptureFixture[str]):
    arguments = ("--scenario", "stable", "--episodes", "2", "--seed")
    large, small, other = (
        evaluation(capsys, agent, *arguments, seed)
        for agent, seed in (("opt-6.7b", "1"), ("opt-125m", "1"), ("opt-125m", "2"))
    )
    assert large["requests"] == small["requests"] != other["requests"]


@pytest.mark.parametrize("episodes", ["1", "4"])
def test_load_sets_the_arrival_rate(capsys: pytest.CaptureFixture[str], episodes: str):
    rows = [
        evaluation(
            capsys, "opt-125m", "--scenario", "stable", "--load", load, "--episodes", episodes
        )
        for load in ("0.5", "2")
    ]
    assert rows[1]["requests"] / rows[0]["requests"] == pytest.approx(4, rel=0.1)


def test_a_faster_profile_brings_more_requests_at_the_same_load(capsys: pytest.CaptureFixture[str]):
    chosen = "largest-feasible", "--scenario", "stable", "--episodes", "1"
    slow, fast = (
        evaluation(capsys, *chosen, "--profile", profile) for profile in ("opt-a100", "opt-h100")
    )
    per_s = [configure("stable", profile=p).load_1_per_s for p in ("opt-a100", "opt-h100")]
    assert fast["requests"] / slow["requests"] == pytest.approx(per_s[1] / per_s[0], rel=0.1)


FEWER = 'pools=[{gpus=4, models=["opt-125m"]}]'
"""GPUs that host one of the models."""

REFUSALS = {
    "agent": (["evaluate", "nix"], "agent: got 'nix'; accepted: a run directory, or one of random"),
    "scenario": (["evaluate", "random", "--scenario", "nix"], "'nix' is unknown; accepted: stable"),
    "load": (["evaluate", "random", "--load", "-1"], "load: got -1.0; accepted: a number > 0"),
    "profile": (
        ["evaluate", "random", "--profile", "nix"],
        "'nix' is unknown; accepted: llama3, opt-a100",
    ),
    "episodes": (["evaluate", "random", "--episodes", "0"], "episodes: got 0; accepted: >= 1"),
    "split": (["evaluate", "random", "--split", "dev"], "split: got 'dev'; accepted: train"),
    "directory": (["evaluate", "tests"], "tests: is not a run directory"),
    "algorithm": (["train", "nix"], "algorithm: got 'nix'; accepted: "),
    "nothing to resume": (
        ["train", "ddqn", "--out", "tests", "--resume"],
        "tests: is not a run directory",
    ),
    "no folder": (["train", "ddqn", "--out", "Makefile/run"], "Makefile/run: Not a directory"),
    "no place": (
        ["record", "random", "--out", "Makefile/card.json"],
        "out: got 'Makefile/card.json'; accepted: a file in a folder that can be written to",
    ),
    "no video": (
        ["watch", "random", "--out", "x.avi"],
        "accepted: a name that ends in .mp4 or .gif",
    ),
    "no place for a video": (
        ["watch", "random", "--out", "Makefile/x.gif"],
        "out: got 'Makefile/x.gif'; accepted: a file in a folder that can be written to",
    ),
    "GIF too fast": (
        ["watch", "random", "--out", "x.gif", "--fps", "30", "--speed", "2"],
        "fps times speed: got 60.0; accepted: at most 50 frames per second in a GIF",
    ),
    "no time": (["watch", "random", "--seconds", "0"], "seconds: got 0.0; accepted: a number > 0"),
    "no speed": (["watch", "random", "--speed", "inf"], "speed: got inf; accepted: a number > 0"),
    "fps of no video": (["watch", "random", "--fps", "3"], "fps: got 3.0; accepted: with --out"),
    "nobody to watch": (["watch", "nix"], "agent: got 'nix'; accepted: a run directory, or one of"),
    "no demo": (["demo", "--episodes", "0"], "episodes: got 0; accepted: >= 1"),
    "no guard that counts where signals are exact": (
        ["train", "rollout-pi", "--hyper", "follows=concurrency-limit"],
        "follows: got 'concurrency-limit'; accepted: priced-pair, steep-pair where routers learn",
    ),
    "too short a training": (
        ["train", "rollout-pi", "--timesteps", "1000"],
        "decisions: got 1000; accepted: at least 3,130, in which there is something to learn from",
    ),
    "too short trainings of a suite": (
        ["bench", "learning", "--timesteps", "1000"],
        "decisions: got 1000; accepted: at least ",
    ),
    "too short a demo": (["demo", "--timesteps", "9"], "decisions: got 9; accepted: at least 3,13"),
    "no picture": (
        ["speed", "scaling", "--out", "Makefile/x.png"],
        "out: got 'Makefile/x.png'; accepted: a file in a folder that can be written to",
    ),
    "a router of fewer actions": (
        ["bench", "testing", "--agent", "pretrained:unpredictable", "--set", FEWER],
        "models: got",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_bad_input_is_said_on_standard_error(
    case: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(Path(__file__).parents[2])
    arguments, message = REFUSALS[case]
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


COMMAND = "import sys; from benchmarks.cli import main; sys.exit(main(sys.argv[1:]))"


WITHOUT = """
import contextlib, io, json, sys
from benchmarks.cli import main
answers = []
for module, extra, arguments in json.loads(sys.argv[1]):
    assert sys.modules.get(module) is None, f"{module} was imported before it is missing"
    sys.modules[module] = None
    with contextlib.redirect_stderr(io.StringIO()) as said:
        answers.append((main(arguments), said.getvalue()))
    del sys.modules[module]
print(json.dumps(answers))
"""
"""Commands one after the other, each of which lacks a module that no earlier one imports."""


@pytest.mark.parametrize(
    "cases",
    [
        [
            ("torch", "train", ["train", "ddqn", "--out", "out"]),
            ("matplotlib", "train", ["trace", "plot", "azure-conv", "--out", "out"]),
            ("PIL", "render", ["watch", "random", "--out", "x.gif"]),
            ("tensorboard", "train", ["demo", "--out", "out"]),
            ("optuna", "tune", ["tune", "ddqn", "--timesteps", "9", "--out", "out"]),
        ],
        pytest.param(
            [
                ("torch", "train", ["evaluate", "pretrained:paper"]),
                ("torch", "train", ["latency", "--out", "out"]),
                ("imageio_ffmpeg", "render", ["watch", "random", "--out", "x.mp4"]),
            ],
            marks=pytest.mark.verify,
        ),
        pytest.param(
            [("scipy", "train", ["bench", "testing", "--workers", "0", "--out", "out"])],
            marks=pytest.mark.verify,
        ),
    ],
    ids=["some", "others", "scipy"],
)
def test_a_missing_package_is_named_with_its_extra(
    cases: list[tuple[str, str, list[str]]], tmp_path: Path
):
    command = [sys.executable, "-c", WITHOUT, json.dumps(cases)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    for (module, extra, _), (code, said) in zip(cases, answers, strict=True):
        assert code == 2, (module, said)
        assert f"pip install 'llmroute[{extra}]'`" in said.splitlines()[-1], module
        assert "Traceback" not in said + done.stderr


def test_help_is_for_every_stream(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = subprocess.run([sys.executable, "-c", COMMAND, "--help"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: llmroute" in done.stdout


def test_a_reader_may_leave():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "--help"], stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_output_that_cannot_be_kept_is_no_crash():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr) == (2, "llmroute: output: No space left on device\n")


def test_an_existing_run_is_refused_with_the_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "config.json").touch()
    assert main(["train", "ddqn", "--out", str(tmp_path)]) == 2
    where = tmp_path / "config.json"
    accepted = "a new one, or --resume"
    assert capsys.readouterr().err == f"llmroute: directory: {where} exists; accepted: {accepted}\n"


def test_it_says_its_version(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"llmroute {version('llmroute')}\n"


def test_figures_of_a_day_are_also_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    day = Day(86_400_000, 9.0, 30.0, 3_000_000_000, 0.91)
    monkeypatch.setattr("benchmarks.speed.day.evaluate_day", lambda scenario, fields: day)
    assert main(["speed", "day", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == day._asdict()


def test_a_wrong_option_exits_non_zero():
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "random", "--episodes", "many"])
    assert stop.value.code == 2


def test_another_distribution_called_agents_is_noticed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    spec = cli.find_spec("json")
    monkeypatch.setattr(cli, "find_spec", lambda name: spec)
    assert main(["evaluate", "random"]) == 2
    assert "agents: the package found is" in capsys.readouterr().err


def test_help_imports_neither_numba_nor_torch():
    program = (
        "import sys\nfrom benchmarks.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('numba', 'torch', 'gymnasium', 'matplotlib') if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_run_is_evaluated_where_it_was_trained(tmp_path, capsys):
    run = str(tmp_path / "run")
    own = ("--scenario", "stable", "--load", "1.5", "--profile", "opt-h100")
    own += ("--set", "window_s=1")
    few, short = ("--episodes", "4"), ("--timesteps", "4096", "--no-reference")
    # Nothing that this is about is learned: without what a guard has to be tuned on.
    short += ("--hyper", "guarded=false", "demonstrators=0.0", "validation_episodes=4")
    assert main(["train", "ddqn", *own, *short, "--out", run]) == 0
    there, told = (evaluation(capsys, run, *options) for options in (few, (*own, *few)))
    assert there == told
    found = [there[key] for key in ("scenario", "load", "profile", "split")]
    assert found == ["stable", 1.5, "opt-h100", "test"]
    elsewhere = evaluation(capsys, run, "--set", "window_s=1", *few)
    assert (elsewhere["load"], elsewhere["profile"]) == (2.5, "opt-a100")


def test_a_router_for_a_family_is_evaluated_in_its_first_scenario(tmp_path, monkeypatch):
    monkeypatch.setitem(FAMILIES, "of two", (("chat", {}), ("burst", {})))
    plan = Plan(tmp_path, "of two", algorithm="rollout-pi-model-tokens")
    write_card(tmp_path, plan.card())
    found = problem_for(EnvOptions(), [str(tmp_path)])
    assert found.scenario == "chat"
    assert found.config().model_names == plan.card().models
    elsewhere = problem_for(EnvOptions(scenario="burst"), [str(tmp_path)])
    assert elsewhere.scenario == "burst"


@pytest.mark.parametrize("name", RECIPES)
def test_a_shipped_router_is_evaluated_where_it_was_trained(name):
    found = problem_for(EnvOptions(), [f"pretrained:{name}"])
    assert found.scenario == first_scenario(name)
    assert load(f"pretrained:{name}", found.config()).name
    assert problem_for(EnvOptions(scenario="stable"), [f"pretrained:{name}"]).scenario == "stable"
