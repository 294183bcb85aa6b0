"""Tables, programs and commands of docs/ against the code."""

import ast
import dataclasses
import re
import shlex
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.cli import parse
from benchmarks.site import citation, environment, gallery
from benchmarks.site.parts import filled
from benchmarks.site.rates import Rates, picture
from llmroute_env import SCENARIOS, EnvConfig, LLMRouteEnv, scenarios
from llmroute_env.dynamics.actions import ACTIONS
from llmroute_env.dynamics.features import DEFAULT_FEATURES, FEATURES, PAPER_FEATURES
from llmroute_env.dynamics.reward import REWARD_TERMS
from llmroute_env.scenarios import rate_spread

from .pages import DOCS, PAGES, ROOT, commands, part, programs, rows, section, text_of

PER = {"task": "T", "once": "1", "model": "M", "gpu": "G", "gpu-model": "G x M", "class": "C"}
ENVIRONMENT, SCENARIOS_PAGE = "docs/environment.md", "docs/scenarios.md"
AGAIN = "run `python -m benchmarks.site`"


@pytest.fixture(scope="module")
def rates() -> dict[str, gallery.Rates]:
    return gallery.all_rates()


def test_parts_are_those_of_today(rates: dict[str, gallery.Rates]):
    made = {ENVIRONMENT: environment.parts(), SCENARIOS_PAGE: gallery.parts(rates)}
    made["docs/cite.md"] = citation.parts()
    for page, parts in made.items():
        assert filled(text_of(page), parts) == text_of(page), AGAIN


def test_pictures_are_those_of_today(rates: dict[str, gallery.Rates]):
    kept = {path.name: path.read_text() for path in (DOCS / gallery.FOLDER).iterdir()}
    assert kept == gallery.pictures(rates), AGAIN


def test_a_picture_shows_means_and_busiest_seconds():
    calm = picture(Rates((1.0,) * 440))
    (load_1,) = re.findall(r'stroke-dasharray="5 3" d="M32 ([\d.]+)H', calm)
    assert re.findall(r"V([\d.]+)h", calm) == [load_1] * 440
    # A column is of two seconds: in one of them there are 4 and 1, of which 2.5 is the mean.
    burst = picture(Rates((*(1.0,) * 200, 4.0, *(1.0,) * 239)))
    heights = [float(y) for y in re.findall(r"V([\d.]+)h", burst)]
    (load_1,) = map(float, re.findall(r'stroke-dasharray="5 3" d="M32 ([\d.]+)H', burst))
    unit = 126 - load_1
    assert {126 - heights[place] for place in range(440) if place not in (100, 320)} == {unit}
    assert 126 - heights[100] == pytest.approx(unit * 4.0**0.5, abs=0.1)
    assert 126 - heights[320] == pytest.approx(unit * 2.5**0.5, abs=0.1)


def test_observation():
    expected = [[f.name, PER[f.per], f"{f.low:g} to {f.high:g}", f.meaning] for f in FEATURES]
    found = rows(part(ENVIRONMENT, "observations"))
    assert [[*row[:3], row[4]] for row in found] == expected
    assert tuple(row[0] for row in found if row[3] == "yes") == DEFAULT_FEATURES
    assert f"`{', '.join(PAPER_FEATURES)}`" in text_of(ENVIRONMENT)


def test_action_and_reward():
    kinds = {
        row[0].removesuffix(" (default)"): row[1] for row in rows(part(ENVIRONMENT, "actions"))
    }
    assert list(kinds) == list(ACTIONS)
    assert kinds == {"model": "Discrete(3)", "gpu-model": "Discrete(12)"}
    assert [row[0] for row in rows(part(ENVIRONMENT, "rewards"))] == list(REWARD_TERMS)


def test_info():
    told = {key.strip() for row in rows(section(ENVIRONMENT, "Info")) for key in row[0].split(",")}
    env = LLMRouteEnv("admission", completions=True, window_s=0.05)
    _, info = env.reset(seed=0)
    found, over = set(info), False
    while not over:
        _, _, over, _, info = env.step(0)
        found |= set(info)
    assert told == found | {"origins"}


def test_scenarios(rates: dict[str, gallery.Rates], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scenarios, "arrival_rates", lambda name: rates[name].per_s)
    found = {row[0].split("]")[0][1:]: row[1:] for row in rows(part(SCENARIOS_PAGE, "overview"))}
    assert found.keys() == SCENARIOS.keys() == gallery.HARD.keys()
    for name, (summary, load, spread) in found.items():
        low, high = SCENARIOS[name].config.load_range
        assert summary == SCENARIOS[name].summary
        assert load == (f"{low:g}" if low == high else f"{low:g} to {high:g}")
        least, most = rate_spread(name)
        mean = (low * high) ** 0.5
        assert spread == f"{least * low / mean:.2f} to {most * high / mean:.2f}"


def test_configuration():
    found = {row[0]: row[1] for row in rows(part(ENVIRONMENT, "fields"))}
    config = EnvConfig()
    assert list(found) == [field.name for field in dataclasses.fields(EnvConfig)]
    for name in ("profile", "dispatcher", "action", "split", "service"):
        assert found[name] == getattr(config, name)
    for name in ("queue_capacity", "shed_expired", "deadline_aware_batching", "window_s"):
        assert found[name] == str(getattr(config, name))
    assert found["deadline"] == f"{config.deadline.deadline_s} s, {config.deadline.kind}"
    assert found["rate_windows_s"] == str(config.rate_windows_s)


@pytest.mark.parametrize("model", EnvConfig().models, ids=lambda model: model.name)
def test_batch_limits(model):
    assert f"{EnvConfig().batch_limit(model)} for `{model.name}`" in part(ENVIRONMENT, "fields")


def test_load_1():
    assert f"{EnvConfig().load_1_per_s:.0f} requests/s" in section(ENVIRONMENT, "Description")


@pytest.mark.parametrize("name", ["paper", "paper-setting"])
def test_the_papers_table_is_that_of_the_committed_report(name: str):
    folder = ROOT / "benchmarks" / "results" / name
    kept = words((folder / "table.md").read_text())
    assert kept in words(text_of("docs/paper.md"))
    report = (folder / "report.md").read_text()
    assert kept in words(report)
    for figure in re.findall(r"\]\((figures/[^)]+)\)", report):
        assert (folder / figure).stat().st_size > 1000
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 1_000_000


def words(text: str) -> str:
    """What is said, in lines of any length."""
    return " ".join(text.split())


EVERY_COMMAND = [(page, command) for page in PAGES for command in commands(page)]


@pytest.mark.parametrize(("page", "command"), EVERY_COMMAND)
def test_commands_are_ones(page: str, command: str):
    arguments = shlex.split(command, comments=True)[1:]
    if "--help" in arguments:
        with pytest.raises(SystemExit, match=r"^0$"):
            parse(arguments)
    else:
        parse(arguments)


def a_day() -> str:
    """Calls per minute, for an hour of a day."""
    minutes = range(1, 61)
    ids = ("HashOwner", "HashApp", "HashFunction", "Trigger")
    head, calls = ",".join([*ids, *map(str, minutes)]), ",".join(["600"] * len(minutes))
    return f"{head}\na,b,c,http,{calls}\n"


def with_a_problem() -> None:
    Path("day.csv").write_text(a_day())
    model = '[[models]]\nname = "opt-6.7b"\nbase_s = 0.08\nper_request_s = 0.006\n'
    Path("my-gpu.toml").write_text(f'name = "my-gpu"\nextends = "opt-a100"\n{model}')


def with_a_router() -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    parse(["export", "pretrained:unpredictable", "--out", "router.onnx"]).run()


GIVEN: dict[str, Callable[[], None]] = {
    "docs/problem.md": with_a_problem,
    "docs/learners.md": with_a_router,
}
"""What a page's programs find where they are run, beside TOML of the page itself."""

LEARNS = ("docs/how-to/train.md", "docs/how-to/deploy.md")

READ_ONLY = {
    "docs/benchmarks.md": "they train for minutes",
    "docs/clients.md": "they need libraries that do not go together",
    "docs/gpu.md": "they need a CUDA device",
}
"""Pages whose programs are not run, and why: only their imports from here are tried."""

OURS = ("agents", "benchmarks", "llmroute_env", "traces")


@pytest.mark.parametrize("page", [page for page in PAGES if page in READ_ONLY])
def test_programs_that_are_not_run_import_what_there_is(page: str):
    for program in programs(page):
        for node in ast.walk(ast.parse(program)):
            if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in OURS:
                pytest.importorskip("torch")
                module = import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names), program


@pytest.mark.parametrize("page", [p for p in PAGES if programs(p) and p not in READ_ONLY])
def test_programs_run_as_printed(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    if page in LEARNS:
        pytest.importorskip("torch")
    for block in re.findall(r"^```toml\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE):
        if named := re.match(r"# (\S+\.toml)\n", block):
            Path(named[1]).write_text(block)
    GIVEN.get(page, lambda: None)()
    # Whoever reads on has what the programs before it made.
    names: dict[str, object] = {}
    for program in programs(page):
        exec(compile(program, page, "exec"), names)


@pytest.mark.parametrize("page", PAGES)
def test_lists_within_lists_are_some_on_the_site_too(page: str):
    """It wants all that is within an item indented by 4."""
    text, before = re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.M), ""
    for line in text.splitlines():
        if re.match(r" *(- |\d+\. )", line) or not before:
            assert (len(line) - len(line.lstrip(" "))) % 4 == 0, line
        before = line
