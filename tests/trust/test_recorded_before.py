"""What earlier versions of this package wrote is read, and comes out the same bit by bit."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.report.report import write_report
from benchmarks.suites.validate import validate
from benchmarks.suites.workers import Workers
from llmroute_env.recording.run_card import read_card, replay
from llmroute_env.recording.serialization import config_sha256, read_config

OPT_ROWS = "rows/testing-stable/opt-6.7b-*.jsonl"
RECORDED = Path(__file__).with_name("recorded")


@pytest.mark.parametrize("name", ["model", "pair", "counts"])
def test_an_old_run_card_replays(name: str):
    card = read_card(RECORDED / f"{name}.json")
    assert len(card["actions"]) > 90
    assert replay(card) is None
    assert config_sha256(read_config(card["config"])) == card["config_sha256"]


def test_rows_of_an_old_suite_are_confirmed_and_reported(tmp_path: Path):
    directory = tmp_path / "suite"
    shutil.copytree(RECORDED / "suite", directory)
    verdict = validate(directory, None, 0, Workers(count=0))
    assert (verdict.cells, verdict.rows, list(verdict.findings)) == (4, 8, [])
    page, _ = write_report(directory)
    rows = directory.glob("rows/testing-stable/largest-feasible-*.jsonl")
    first = json.loads(next(rows).read_text().splitlines()[0])
    text = page.read_text()
    assert f"{first['utility_of_peak']:.3f}"[:4] in text
    # Goodput of rows that do not tell it.
    known = [json.loads(line) for line in next(directory.glob(OPT_ROWS)).read_text().splitlines()]
    in_time = sum(row["deadline_met"] * row["requests"] for row in known)
    assert "goodput_per_s" not in known[0]
    assert f">{in_time / sum(row['duration_s'] for row in known):.1f}<" in text
