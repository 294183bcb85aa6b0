"""`llmroute trace`: what it prints, writes and refuses."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from benchmarks.cli import TRACE
from benchmarks.commands.trace.convert import Convert
from benchmarks.commands.trace.info import Info, Plot
from benchmarks.commands.trace.make import PROCESSES, Make
from traces import storage
from traces.errors import TraceError

KEYS = {
    *("format", "rows_read", "rows_kept", "rows_dropped", "requests", "span_s"),
    *("mean_rate_per_s", "cv", "peak_to_mean", "sha256"),
}


def info_of(*sources: str, capsys) -> dict:
    Info(sources, json=True).run()
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_info_of_bundled_traces(capsys):
    conversations = info_of("azure-conv", capsys=capsys)
    assert conversations.keys() >= KEYS
    assert conversations["requests"] == conversations["rows_kept"] == 19_366
    assert conversations["cv"] == pytest.approx(1.09, abs=0.01)
    assert conversations["peak_to_mean"] == pytest.approx(1.52, abs=0.01)
    functions = info_of("maf2019-500fn", capsys=capsys)
    assert (functions["requests"], functions["rows_kept"]) == (3_037_902, 500)
    assert functions["mean_rate_per_s"] == pytest.approx(105.5, abs=0.05)
    assert functions["peak_to_mean"] == pytest.approx(1.20, abs=0.01)


def test_info_counts_what_is_dropped_and_survives_a_single_request(tmp_path, capsys):
    path = tmp_path / "own.csv"
    path.write_text("arrival_s\n1\nx\n")
    row = info_of(str(path), capsys=capsys)
    assert row["rows_dropped"] == {"time": 1}
    assert row["cv"] is None
    Info((str(path),)).run()
    assert "1 dropped: time" in capsys.readouterr().out
    with pytest.raises(TraceError, match=r"own.csv:3: time"):
        Info((str(path),), strict=True).run()


def test_info_says_what_every_column_and_length_is(tmp_path, capsys):
    path = tmp_path / "own.csv"
    path.write_text("arrival_s,input_tokens,user\n1,10,a\n2,30,b\n3,x,c\n")
    row = info_of(str(path), capsys=capsys)
    roles = {"arrival_s": "arrival, seconds", "input_tokens": "prompt tokens", "user": "not read"}
    assert row["columns"] == roles
    assert row["lengths"] == {"prompt_tokens": {"mean": 20.0, "most": 30}, "output_tokens": None}
    assert row["first_dropped"]["prompt tokens"].startswith("line 4: got 'x'")
    assert row["warnings"] == [
        "1 of 3 rows (33%) dropped: rates are too low",
        "1 s before the first request are part of the observation: cut them with --start",
    ]
    Info((str(path),)).run()
    said = capsys.readouterr().out
    assert "column    input_tokens: prompt tokens" in said
    assert "lengths   prompt_tokens: mean 20, at most 30" in said
    assert "lengths   output_tokens: none" in said
    assert "dropped: prompt tokens (line 4: got 'x', expected a whole number" in said
    assert info_of("maf2019-500fn", capsys=capsys)["columns"]["480 to 959"].endswith("480 minutes")
    Make(tmp_path / "t.npz", rate=5.0, span=10.0).run()
    capsys.readouterr()
    assert info_of(str(tmp_path / "t.npz"), capsys=capsys)["columns"]["task"] == "task"


@pytest.mark.parametrize(
    ("columns", "kept", "drawn"),
    [
        ("input_tokens,output_tokens", ("prompt_tokens", "output_tokens"), ()),
        ("output_tokens", ("output_tokens",), ("prompt_tokens",)),
        ("num_prefill_tokens", ("prompt_tokens",), ("output_tokens",)),
        ("user", (), ("prompt_tokens", "output_tokens")),
    ],
)
def test_convert_draws_the_lengths_that_a_trace_lacks_and_says_so(
    tmp_path, capsys, columns, kept, drawn
):
    width = columns.count(",") + 1
    rows = [f"{i}," + ",".join([str(7 + i)] * width) for i in range(50)]
    (tmp_path / "t.csv").write_text("\n".join([f"arrival_s,{columns}", *rows]))
    Convert((str(tmp_path / "t.csv"),), tmp_path / "t.npz").run()
    trace = storage.load(tmp_path / "t.npz")
    for name in kept:
        assert getattr(trace, name).tolist() == list(range(7, 57))
    for name in drawn:
        assert len(set(getattr(trace, name).tolist())) > 10
    said = capsys.readouterr().out
    assert (f"{', '.join(drawn)}: drawn from azure-conv, as the trace has none" in said) == bool(
        drawn
    )


def test_convert_and_plot_say_what_was_dropped_and_is_doubtful(tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_text("arrival_s\n0\n5\n9\n2\nx\n")
    Convert((str(path),), tmp_path / "t.npz").run()
    said = capsys.readouterr().err
    assert "1 dropped: time (line 6: got 'x', expected a number of seconds)" in said
    assert "warning: jump back of 7 s in line 5" in said


@pytest.mark.parametrize("rate", [5000.0, 1e300])
def test_convert_refuses_more_requests_than_fit_into_memory(tmp_path, rate):
    path = tmp_path / "t.csv"
    path.write_text("arrival_s\n0\n5000000\n10454400\n")
    with pytest.raises(TraceError, match=r"expected arrivals: got \d+; accepted: at most 100,000,"):
        Convert((str(path),), tmp_path / "t.npz", rate=rate).run()
    assert not (tmp_path / "t.npz").exists()


def test_make_refuses_more_days_than_fit_into_memory(tmp_path):
    with pytest.raises(TraceError, match="functions times bins times days: got 2"):
        Make(tmp_path / "t.npz", process="like", like="maf2019-500fn", days=1_000_000).run()


def test_a_folder_and_a_pipe_are_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TraceError, match="a directory"):
        Info((str(tmp_path),)).run()
    with pytest.raises(TraceError, match="not a regular file"):
        Info((str(tmp_path / "pipe"),)).run()
    with pytest.raises(TraceError, match="accepted: an existing file"):
        Info(("x" * 5000,)).run()


def test_unknown_sources_are_named():
    for command in (Info(("nowhere",)), Plot(("nowhere",)), Info(())):
        with pytest.raises(TraceError, match="azure-conv"):
            command.run()


def test_convert_applies_everything_in_order(tmp_path):
    out = tmp_path / "t.npz"
    Convert(("azure-code",), out, start=60.0, end=1800.0, stretch=0.5, beyond="clamp").run()
    trace = storage.load(out)
    assert trace.span_s == pytest.approx(870.0)
    assert int((trace.prompt_tokens + trace.output_tokens).max()) == 2048
    done = [operation.split()[0] for operation in trace.provenance.operations]
    assert done == ["read", "slice", "rescale", "context"]


def test_convert_filters_triggers_and_gives_lengths(tmp_path):
    out = tmp_path / "t.csv"
    path = tmp_path / "counts.csv"
    cells = ",".join(["60"] * 20)
    header = ",".join(["HashFunction,Trigger", *map(str, range(1, 21))])
    path.write_text(f"{header}\nf,http,{cells}\ng,timer,{cells}\n")
    Convert((str(path),), out, without_trigger=("timer",), rate=2.0, end=600.0).run()
    rows = out.read_text().splitlines()
    assert rows[0] == "arrival_s,task,prompt_tokens,output_tokens"
    assert len(rows) == pytest.approx(1201, abs=5 * 1200**0.5)
    with pytest.raises(TraceError, match="trigger filter"):
        Convert(("azure-code",), out, only_trigger=("http",)).run()


@pytest.mark.parametrize("process", PROCESSES)
def test_make_every_process(tmp_path, process):
    for name in ("a.npz", "b.npz"):
        Make(tmp_path / name, process=process, rate=20.0, span=600.0, cv=2.0, seed=3).run()
    first, again = (storage.load(tmp_path / name) for name in ("a.npz", "b.npz"))
    assert np.array_equal(first.arrival_s, again.arrival_s)
    assert first.mean_rate_per_s == pytest.approx(20.0, rel=0.2) or process in (
        "spike",
        "flash-crowd",
        "mmpp",
    )
    assert first.prompt_tokens.min() > 0


def test_make_fresh_days_like_a_file(tmp_path):
    path = tmp_path / "counts.csv"
    minutes = ",".join(map(str, range(1, 101)))
    path.write_text(f"{minutes}\n{','.join(['3'] * 100)}\n{','.join(['0', '8'] * 50)}\n")
    Make(tmp_path / "d.npz", process="like", like=str(path), days=2).run()
    trace = storage.load(tmp_path / "d.npz")
    assert trace.span_s == 12_000
    assert len(trace) == pytest.approx(1400, rel=0.15)
    for like in (None, "azure-code"):
        with pytest.raises(TraceError, match="like: got"):
            Make(tmp_path / "d.npz", process="like", like=like).run()


def test_plot_writes_a_picture_and_refuses_what_it_cannot_draw(tmp_path):
    pytest.importorskip("matplotlib")
    Plot(("maf2021-998",), tmp_path / "p.png").run()
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(TraceError, match="picture: got"):
        Plot(("maf2021-998",), tmp_path / "p.nothing").run()
    (tmp_path / "one.csv").write_text("arrival_s\n1\n")
    with pytest.raises(TraceError, match="at least 3"):
        Plot((str(tmp_path / "one.csv"),), tmp_path / "p.png").run()


def test_every_command_is_offered():
    assert list(TRACE) == ["info", "convert", "make", "plot"]
