"""Predictions beside measurements: what reaches its target, and that the page says what is so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cli import main
from benchmarks.fidelity import comparison, serving
from benchmarks.fidelity.closed_loop import CLOSE, steady
from benchmarks.fidelity.comparison import Compared, TpotPair, compared, paired, reached
from benchmarks.fidelity.page import Findings, findings, text
from benchmarks.fidelity.recorded import (
    DATA,
    Assumptions,
    Setup,
    TpotRow,
    runs,
    step_times_of,
    tpot_rows,
)
from benchmarks.fidelity.serving import Requests, serve
from benchmarks.shipping.fidelity_page import DOCUMENT
from llmroute_env.engine_specs import Line, StepTimes, Surface
from llmroute_env.errors import ConfigError

ASSUMED = Assumptions()


def sample() -> list[TpotRow]:
    """Every row of the tables of TPOT but most of aiconfigurator's, which take half a second."""
    rows = tpot_rows()
    slow = [row for row in rows if row.source == "aiconfigurator"]
    kept = [*slow[1::6], *(row for row in rows if row not in slow)]
    assert {row.concurrency for row in kept} >= {1, 4, 8, 16, 32, 64}
    return kept


@pytest.fixture(scope="module", params=["some", pytest.param("all", marks=pytest.mark.verify)])
def found(request: pytest.FixtureRequest) -> Findings:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "some":
            patch.setattr(comparison, "tpot_rows", sample)
        return findings()


def of(found: Findings, run: str, figure: str, statistic: str) -> Compared:
    wanted = run, figure, statistic
    return next(row for row in found.runs if row[:3] == wanted)


def test_the_document_has_the_tables_of_today(found: Findings):
    said, again = (
        DOCUMENT.read_text(encoding="utf-8"),
        "run `python -m benchmarks.shipping.fidelity_page`",
    )
    rows = [line for line in text(found).splitlines() if line.startswith("|")]
    assert set(rows) <= set(said.splitlines()), again
    if len(found.tables) == len(tpot_rows()):
        assert text(found) in said, again


def test_measurements_are_those_that_were_published(found: Findings):
    # LLMServingSim's own summaries; theirs count from when the engine took a request.
    assert of(found, "RTX4090", "TPOT", "mean").measured_s == pytest.approx(0.0324, abs=1e-4)
    assert of(found, "RTX4090", "E2E", "p99").measured_s == pytest.approx(153.63, abs=0.05)
    assert of(found, "RTXPRO6000", "TTFT", "mean").measured_s == pytest.approx(7.10, abs=0.03)
    assert of(found, "RTXPRO6000", "E2E", "mean").measured_s == pytest.approx(28.20, abs=0.03)


def test_every_mean_and_every_p99_reaches_its_target(found: Findings):
    named = [row for row in found.runs if row.statistic in ("mean", "p99")]
    assert len(named) == 12
    assert all(map(reached, named))
    assert max(abs(row.error) for row in named) < 0.04


def within(pairs: list[TpotPair], source: str) -> float:
    return float(np.mean([abs(pair.error) for pair in pairs if pair.row.source == source]))


def test_tables_of_tpot(found: Findings):
    assert within(found.tables, "aiconfigurator") < 0.06
    assert within(found.tables, "yobitel-bench") < 0.03
    large = [pair for pair in found.tables if pair.row.model in ("qwen2.5-14b", "qwen2.5-32b")]
    assert within(large, "Qwen2.5") < 0.02


def test_a_closed_loop_of_one_is_a_step_per_token():
    # Two requests one after the other: TPOT is host + linear + decode + head, no more.
    setup = Setup("h100-tp1/qwen2.5-7b", 8, 2048, 1000)
    one = Requests(np.zeros(1), np.full(1, 64, np.int32), np.full(1, 2, np.int32))
    times = step_times_of(setup, ASSUMED)
    decode = times.decode.seconds[0]
    share = 1 / (times.decode.columns[1] - times.decode.columns[0])
    attention = decode[0] + (decode[1] - decode[0]) * share
    expected = times.host_s + times.linear.seconds[0] + times.head.seconds[0] + attention
    assert times.decode.columns[0] == 64
    tpot_s = serve(setup, ASSUMED, one).figures["TPOT"][0]
    assert tpot_s == pytest.approx(expected, abs=2e-9)


def test_a_mixed_step_takes_what_was_measured_of_one(monkeypatch: pytest.MonkeyPatch):
    # One writes its answer; the other's whole prompt is computed in the second step of the first.
    # With 23 tokens of prompts beside it that takes 0.2 + 0.1 x 7 / 16 longer.
    grid = Surface((1, 2), (16, 32), ((1.0, 3.0), (1.5, 3.5)))
    times = StepTimes(
        linear=Line((1, 2048), (0.0, 0.0)),
        decode=Surface((1, 2), (16, 32), ((0.1, 0.3), (0.15, 0.35))),
        prefill=Surface((16,), (0,), ((0.01,),)),
        head=Line((1,), (0.0,)),
        mixed=grid,
        beside=Surface((1,), (16, 32), ((0.2, 0.3),)),
    )
    monkeypatch.setattr(serving, "step_times_of", lambda *_: times)
    setup = Setup("any", 8, 2048, 1000)
    lengths = np.full(2, 23, np.int32), np.full(2, 3, np.int32)
    served = serve(setup, ASSUMED, Requests(np.array([0.0, 0.005]), *lengths))
    # 24 tokens of context lie half way between the knots; then both decode, 25 and 24 of them.
    longer_s = 0.2 + 0.1 * 7 / 16
    assert served.first_token_s == pytest.approx([0.01, 2.02 + longer_s], abs=1e-8)
    both_s = 0.15 + (0.35 - 0.15) * (49 / 2 - 16) / 16
    assert served.last_token_s[0] == pytest.approx(2.02 + longer_s + both_s, abs=1e-8)


def test_mixed_has_the_contexts_of_decode():
    one = Surface((1,), (16,), ((0.1,),))
    other = Surface((1,), (32,), ((0.1,),))
    with pytest.raises(ConfigError, match=r"mixed columns: got \(32,\); accepted: those of decode"):
        StepTimes(Line((1,), (0.1,)), one, one, Line((1,), (0.1,)), mixed=other)


def test_a_steady_loop_has_as_many_in_flight(monkeypatch: pytest.MonkeyPatch):
    from benchmarks.fidelity import closed_loop

    row = TpotRow("any", Setup("h100-tp1/qwen2.5-7b", 64, 2048, 5000), "any", 1, 100, 50, 8, 1.0)
    gaps: list[float] = []

    def noted(*arguments: object):
        gaps.append(arguments[2])  # type: ignore[arg-type]
        return steady(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(closed_loop, "steady", noted)
    closed_loop.predicted_tpot_s(row, ASSUMED)
    served = steady(row, ASSUMED, gaps[-1])
    # Counted at moments, not by Little's law.
    at = np.linspace(served.arrival_s[8], served.arrival_s[-1], 500)
    flying = [np.sum((served.arrival_s <= t) & (served.last_token_s > t)) for t in at]
    assert np.mean(flying) == pytest.approx(8, rel=0.05)
    assert np.mean(served.figures["E2E"]) / gaps[-1] == pytest.approx(8, rel=CLOSE)


def test_a_prediction_depends_on_the_run_that_it_is_of():
    first, second = (compared(paired(run))[0] for run in runs())
    assert first.predicted_s > 5 * second.predicted_s


@pytest.mark.verify
def test_the_command_draws_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["fidelity", "--json", "--out", str(tmp_path)]) == 0
    numbers = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(numbers["runs"]) == 30
    assert numbers["tpot"][0]["error"] == pytest.approx(
        numbers["tpot"][0]["predicted_s"] / numbers["tpot"][0]["measured_s"] - 1
    )
    for name in ("runs.png", "tpot.png"):
        assert (tmp_path / name).stat().st_size > 10_000


def test_shipped_data_stay_small():
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 150_000
