"""How much there is to gain: what each level may be, and who is asked."""

import json
from dataclasses import replace

import pytest

from agents.heuristics.table import make, tunable_in
from benchmarks.cli import main
from benchmarks.evaluation import settings
from benchmarks.evaluation.runner import evaluate
from benchmarks.headroom import Rule, followed_in, headroom
from llmroute_env.scenarios import configure
from llmroute_env.signal_specs import Signals

EPISODES, SEED = 4, 3
SHORT = configure("overload", load=4.0, window_s=0.5)
LATE = replace(SHORT, signals=Signals(1.0, 0.05))


RULES = ("largest-feasible", "steep-pair", "reckoned-pair")


@pytest.fixture(autouse=True)
def _tunes_little(monkeypatch):
    """Those that run compiled, on few episodes."""

    def known(config):
        return [name for name in tunable_in(config) if name in RULES]

    monkeypatch.setattr(settings, "EPISODES", 2)
    monkeypatch.setattr("benchmarks.headroom.tunable_in", known)


@pytest.mark.verify
def test_whoever_knows_what_comes_is_between_the_rule_and_the_bound(tmp_path):
    rule, *clairvoyants, bound = headroom(SHORT, EPISODES, SEED, tmp_path, (1.0, 2.0))
    name, setting = rule.who.split()
    alone = evaluate(
        make(name, SHORT, float(setting)), replace(SHORT, split="test"), EPISODES, SEED
    )
    assert rule.earned == pytest.approx(alone.values("utility_of_peak"))
    # One who samples and each of two horizons, after a rule over models and after one over pairs.
    assert len(clairvoyants) == 6
    assert [level.who.startswith("who tries") for level in clairvoyants] == [True, False, False] * 2
    assert max(level.earned.mean() for level in clairvoyants) > rule.earned.mean() + 0.005
    for level in clairvoyants:
        assert (level.earned <= bound.earned).all()
        assert level.gain.mean == pytest.approx((level.earned - rule.earned).mean())


@pytest.mark.verify
def test_exact_signals_earn_what_the_rule_does_in_a_world_that_has_them(tmp_path):
    late, exact, *_ = headroom(LATE, EPISODES, SEED, tmp_path, (1.0,))
    at_once = headroom(SHORT, EPISODES, SEED, tmp_path, (1.0,))[0]
    assert exact.who.endswith("with exact signals")
    if exact.who.split(",")[0] == at_once.who:
        assert exact.earned == pytest.approx(at_once.earned)
    assert exact.earned.mean() > late.earned.mean()


def test_the_clairvoyant_follows_the_best_of_those_that_run_compiled():
    rules = [
        Rule("route-balance", 0.1, 0.9),
        Rule("largest-feasible", 0.2, 0.7),
        Rule("priced-pair", 0.02, 0.8),
        Rule("steep-pair", 0.02, 0.85),
    ]
    assert followed_in(rules) == [rules[1], rules[3]]


def test_the_command_says_every_level(tmp_path, capsys, monkeypatch):
    known = {}

    def once(*of):
        if str(of) not in known:
            known[str(of)] = headroom(*of)
        return known[str(of)]

    monkeypatch.setattr("benchmarks.headroom.headroom", once)
    asked = ["headroom", "--scenario", "overload", "--load", "4", "--set", "window_s=0.1"]
    asked += ["--episodes", "2", "--horizons", "1", "--tuned", str(tmp_path)]
    assert main([*asked, "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["scenario"] == "overload"
    earned = [level["utility_of_peak"] for level in said["levels"]]
    assert earned[0] <= max(earned[:-1]) < earned[-1]
    assert main(asked) == 0
    shown = capsys.readouterr().out
    assert all(f"{value:.4f}" in shown for value in earned)
    assert len(known) == 1, "the same is asked, whatever is printed of it"


def test_a_horizon_of_nothing_is_refused(capsys):
    assert main(["headroom", "--horizons", "0"]) == 2
    assert "horizons: got (0.0,); accepted: at least one, all above 0" in capsys.readouterr().err
