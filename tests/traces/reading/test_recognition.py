"""A format is known by what is its own; what is of no format is refused in words."""

from __future__ import annotations

import pytest

from traces.counts import CountTable
from traces.errors import TraceError
from traces.readers.read import read

IDS = "HashOwner,HashApp,HashFunction,Trigger"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        # Lists of numbers, and rows whose header was cut off.
        ("3\n5\n8\n", "'3', which looks like a row"),
        ("1\n2\n5\n", "'1', which looks like a row"),
        ("0\n1\n2\n", "'0', which looks like a row"),
        ("0.0,512\n0.4,80\n", "looks like a row"),
        ("1,512\n2,80\n", "looks like a row.* 2 minutes from 1 to 512"),
        ("2,1\n3,1\n", "looks like a row"),
        ("0,1,2\n4,5,6\n", "looks like a row"),
        ("5,GPT-4,100,20,120,API log\n7,GPT-4,1,2,3,API log\n", "looks like a row"),
        ("2024-05-12 00:00:00.5+00:00,5,6\n", "looks like a row"),
        ("o,a,f,timer,0,0,1,0\no,a,g,timer,1,2,3,4\n", "looks like a row"),
        ("o,a,f,timer,1,2,3,4\n", "looks like a row"),
        # Numbers in a header that are no minutes.
        ("region,tokens,2024\nus,12,5\n", "looks like a row"),
        ("region,1\nus,12\n", "looks like a row"),
        ("function,20190715,20190716\nf,1,2\n", "looks like a row"),
        ("function,1,2,3\nf,1,2,3\n", "looks like a row"),
        (f"name,{','.join(map(str, range(1, 32)))}\n", "looks like a row"),
        (f"{IDS},20190715,20190716\no,a,f,http,1,2\n", "accepted: minutes of the 14 days"),
        (f"{IDS},2019,2020,2021\no,a,f,http,1,2,3\n", "no years"),
        (f"{IDS},1,2,2\no,a,f,http,1,2,3\n", "3 minutes from 1 to 2"),
        (f"HashApp,{IDS},1,2\na,o,a,f,http,1,2\n", "column 'hashapp': got 2"),
        # JSON is never a table.
        ('{"at_ns": 0, "ids": [1, 2, 3]}\n', "unknown: at_ns, ids"),
        ("[1, 2, 3]\n", "JSON array"),
        ('[{"timestamp": 1, "input_length": 1, "output_length": 1}]', "JSON array.*jq"),
        ('[\n{"timestamp": 1},\n{"timestamp": 2}\n]\n', "JSON array"),
        ('{\n "timestamp": 1\n}\n', "no JSON object on one line"),
        ('{"requests": [{"timestamp": 1, "input_length": 1}]}\n', "unknown: requests"),
        # Profiles of ServeGen, as published.
        ("0,1.33,8.59,Weibull,0.37,0.39\n600,0,0,,0,0\n", "profile of a ServeGen client"),
        ("600,0,0,,0,0\n1200,1.5,2.0,Gamma,0.3,4.5\n", "profile of a ServeGen client"),
        ('{"0": {"input_tokens": "{224: 0.5, 225: 0.5}"}}\n', "profile of a ServeGen client"),
        ('{\n  "0": {\n    "text_tokens": "{136: 1.0}",\n', "profile of a ServeGen client"),
        # Other separators, and one column twice.
        ("arrival_s;prompt_tokens\n1;2\n", "separated by ';'"),
        ("arrival_s\tprompt_tokens\n1\t2\n", "separated by"),
        ("arrival_s,arrival_s\n1,2\n", "column 'arrival_s': got 2"),
    ],
)
def test_what_is_of_no_format_is_refused_in_words(write, content, said):
    with pytest.raises(TraceError, match=f"(?s){said}"):
        read(write(content))


@pytest.mark.parametrize(
    ("header", "first", "minutes"),
    [
        (f"{IDS},0,1,2", 0, 3),
        (f"{IDS},minute_0,minute_1", 0, 2),
        (f"{IDS},480,481", 480, 2),
        (f"{IDS},1441,1442", 1441, 2),
        (f"{IDS},-1,0,1,2", 1, 2),
        ("function,minute_1,minute_2", 1, 2),
        (f"name,{','.join(map(str, range(1, 1441)))}", 1, 1440),
    ],
)
def test_minutes_of_a_header_that_is_one(write, header, first, minutes):
    cells = ["7"] * (header.count(",") + 1)
    reading = read(write(f"{header}\n{','.join(cells)}\n"))
    assert isinstance(reading.content, CountTable)
    assert reading.content.first_bin == first
    assert reading.content.counts.tolist() == [[7] * minutes]
    said = f"{first} to {first + minutes - 1}"
    assert reading.report.columns[said] == f"calls in each of {minutes} minutes"


def test_several_files_in_one_are_refused(write, monkeypatch):
    day = f"{IDS},1,2\no,a,f,http,3,4\n"
    for block_bytes in (4 << 20, 8):
        monkeypatch.setattr("traces.readers.blocks.BLOCK_BYTES", block_bytes)
        with pytest.raises(TraceError, match="the header once more"):
            read(write(day + day))


def test_a_few_numbers_from_1_on_are_taken_for_a_header_and_doubted(write):
    reading = read(write("1,2\n3,80\n"))
    assert "taken for labels of minutes" in reading.report.warnings[0]
    assert read(write(f"{IDS},1,2\no,a,f,http,1,2\n")).report.warnings == []


@pytest.mark.parametrize(
    ("header", "rows", "kept"),
    [
        # What lacks one of the three ids may be many functions.
        ("HashApp,Trigger,1,2", ["a,timer,1,1"] * 4, 4),
        ("HashOwner,HashFunction,1,2", ["o,f,1,1"] * 3, 3),
        ("HashOwner,HashApp,HashFunction,1,2", ["o,a,,1,1"] * 3, 3),
        # Ids are compared each by itself, and a function may have two triggers.
        ("HashOwner,HashApp,HashFunction,1,2", ["o/a,b,f,1,1", "o,a/b,f,1,1"], 2),
        (f"{IDS},1,2", ["o,a,f,http,1,1", "o,a,f,timer,1,1"], 2),
        (f"{IDS},1,2", ["o,a,f,http,1,1", "o,a,f,http,1,1"], 1),
    ],
)
def test_rows_are_duplicates_only_if_they_wholly_name_one_function(write, header, rows, kept):
    reading = read(write("\n".join([header, *rows])))
    assert reading.report.rows_kept == kept
    assert reading.report.rows_dropped == ({"duplicate row": 1} if kept < len(rows) else {})


LENGTHS = [
    ("prompt_tokens", "output_tokens"),
    ("input_tokens", "output_tokens"),
    ("ContextTokens", "GeneratedTokens"),
    ("Request tokens", "Response tokens"),
    ("request_tokens", "response_tokens"),
    ("num_prefill_tokens", "num_decode_tokens"),
    ("input_length", "output_length"),
    ("prompt_tokens", "completion_tokens"),
]


@pytest.mark.parametrize(("prompt", "output"), LENGTHS)
def test_lengths_are_found_under_every_name_that_a_format_has_for_them(write, prompt, output):
    for names, row, sums in (
        ((prompt, output), "3,4", (6, 8)),
        ((output,), "4", (0, 8)),
        ((prompt,), "3", (6, 0)),
    ):
        reading = read(write(f"arrival_s,{','.join(names)}\n0,{row}\n1,{row}\n"))
        trace = reading.content
        assert (trace.prompt_tokens.sum(), trace.output_tokens.sum()) == sums
        roles = {prompt: "prompt tokens", output: "output tokens"}
        told = {name.lower(): roles[name] for name in names}
        assert reading.report.columns == {"arrival_s": "arrival, seconds", **told}


def test_columns_that_are_not_read_are_named_and_two_for_one_length_are_refused(write):
    report = read(write("arrival_s,n_tokens_in,user\n0,3,x\n1,4,y\n")).report
    assert report.columns["n_tokens_in"] == report.columns["user"] == "not read"
    assert report.warnings == [
        "column 'n_tokens_in' is not read: no known format calls a length so"
    ]
    with pytest.raises(TraceError, match="input_tokens, input_length"):
        read(write("arrival_s,input_tokens,input_length\n0,3,3\n"))
    trace = read(write("arrival_s,prompt_tokens,input_tokens\n0,3,9\n")).content
    assert trace.prompt_tokens.tolist() == [3]
