"""Quoted cells of CSV, as RFC 4180 has them, and quotes that nothing closes."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traces.errors import TraceError
from traces.readers import blocks, quoting
from traces.readers.read import read

HEADER = "arrival_s,prompt,prompt_tokens,output_tokens\n"


@pytest.mark.parametrize(
    "prompt",
    [
        '"Hello, world"',
        '"a, b, c, d"',
        '"she said ""no"", and left"',
        '"two\nlines"',
        '"two\r\nlines, and\n\na third"',
        '""',
        '","',
        '""""',
        '"line with ,""x"", in it"',
        ' "after a blank"',
        'a 5" pipe',
        "plain",
    ],
)
@pytest.mark.parametrize("block_bytes", [4 << 20, 9])
def test_a_text_of_any_kind_costs_no_row(write, monkeypatch, prompt, block_bytes):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block_bytes)
    rows = [f"{i / 4},{prompt},{100 + i},{i}\n" for i in range(1, 21)]
    reading = read(write(HEADER + "".join(rows)))
    assert reading.report.rows_dropped == {}
    assert reading.content.prompt_tokens.tolist() == list(range(101, 121))
    assert reading.content.mean_rate_per_s == pytest.approx(20 / 5.25)


TEXT = st.text(st.sampled_from('ab,"\n 0'), max_size=8)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6), st.sampled_from([3, 16, 4096]))
def test_records_are_those_of_the_csv_module(tmp_path_factory, texts, block_bytes):
    table = io.StringIO()
    rows = [[i, first, 7 + i, second] for i, (first, second) in enumerate(texts)]
    csv.writer(table, lineterminator="\n").writerows(
        [["arrival_s", "a", "prompt_tokens", "b"], *rows]
    )
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_text(table.getvalue())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_BYTES", block_bytes)
        reading = read(path)
    assert reading.report.rows_dropped == {}
    assert reading.content.prompt_tokens.tolist() == [row[2] for row in rows]


def test_a_quote_that_nothing_closes_costs_its_own_row_alone(write, monkeypatch):
    lines = ["0,x,1,1", '1,"x,2,2', "2,x,3,3", '3,"a, b",4,4', "4,x,5,5", '5,"x,6,6']
    path = write(HEADER + "\n".join(lines) + "\n")
    for longest in (quoting.LONGEST_RECORD_BYTES, 4):
        monkeypatch.setattr(quoting, "LONGEST_RECORD_BYTES", longest)
        reading = read(path)
        assert reading.report.rows_dropped == {"quote that is not closed": 2}
        assert reading.report.first_dropped["quote that is not closed"].startswith("line 3: got '1")
        assert reading.content.prompt_tokens.tolist() == [1, 3, 4, 5]
    with pytest.raises(TraceError, match=r"trace.txt:3: quote that is not closed"):
        read(path, strict=True)


def test_quotes_around_everything_change_nothing(write):
    rows = "".join(f'"{i}","x","{i}","{i}"\n' for i in range(9))
    header = '"arrival_s","pro, mpt","prompt_tokens","output_tokens"\n'
    reading = read(write(header + rows))
    assert reading.content.output_tokens.tolist() == list(range(9))
    assert reading.report.columns["pro, mpt"] == "not read"


def test_commas_between_thousands(write):
    rows = ['0,x,"1,100",5', '1,x,950,"12,345,678"', '2,x,"1,10",5', '"1,250",x,3,5']
    reading = read(write(HEADER + "\n".join(rows)))
    assert reading.content.prompt_tokens.tolist() == [1100, 950]
    assert reading.content.output_tokens.tolist() == [5, 12_345_678]
    assert reading.report.notes == {"cells with commas between thousands": 2}
    # In a time a comma may as well stand for the decimal point.
    assert reading.report.first_dropped == {
        "prompt tokens": "line 4: got '1,10', expected a whole number of tokens in 'prompt_tokens'",
        "time": "line 5: got '1,250', expected a number of seconds",
    }
    counts = read(write('HashApp,1,2\na,"1,234",5\n'))
    assert np.array_equal(counts.content.counts, [[1234, 5]])
