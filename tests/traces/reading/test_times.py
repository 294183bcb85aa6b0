"""Units, clocks and origins of times: judged by what stands there, and said."""

from __future__ import annotations

import json

import numpy as np
import pytest

from traces.errors import TraceError
from traces.readers.read import Reading, read

SERVEGEN = "timestamp,input_tokens,output_tokens\n"
BURST = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


def rows(header: str, stamps, tail: str = "10,2") -> str:
    return header + "".join(f"{stamp},{tail}\n" for stamp in stamps)


def mooncake(stamps) -> str:
    return "".join(
        json.dumps({"timestamp": stamp, "input_length": 10, "output_length": 5}) + "\n"
        for stamp in stamps
    )


def told(reading: Reading) -> str:
    return "; ".join(reading.report.warnings)


@pytest.mark.parametrize("unit", [1, 1_000, 1_000_000, 1_000_000_000])
@pytest.mark.parametrize("header", [SERVEGEN, "arrival_s,input_tokens,output_tokens\n", AZURE])
def test_stamps_since_1970_are_known_by_their_size_and_warned_of(write, header, unit):
    stamps = [1_731_000_000 * unit + i * unit // 2 for i in range(12)]
    reading = read(write(rows(header, stamps)))
    assert reading.content.arrival_s == pytest.approx(np.floor(np.arange(12) * unit / 2) / unit)
    assert reading.report.rows_dropped == {}
    assert "since 1970" in told(reading)
    names = {1: "seconds", 1_000: "milliseconds", 1_000_000: "microseconds"}
    said = f"arrival, {names.get(unit, 'nanoseconds')}"
    assert reading.report.columns[header.split(",")[0].lower()] == said


def test_one_stamp_of_another_unit_is_dropped_and_shown(write):
    stamps = [1_731_000_000_000 + 500 * i for i in range(9)]
    reading = read(write(rows(SERVEGEN, [*stamps, "1731000000000000000"])))
    assert reading.report.first_dropped["time"] == (
        "line 11: got '1731000000000000000', expected a number of milliseconds"
    )
    assert "1 of 10 rows (10%) dropped: rates are too low" in told(reading)
    assert len(reading.content) == 9


@pytest.mark.parametrize(
    ("stamps", "unit_s", "said"),
    [
        # Fractions, and a rate that no unit but seconds explains.
        ([i * 0.2 for i in range(30)], 1.0, "taken for seconds"),
        ([i * 0.25 + 100 for i in range(30)], 1.0, "taken for seconds"),
        # Fractions, at the rate of a service.
        ([i * 200.125 for i in range(30)], 1e-3, "taken for milliseconds"),
        # Whole, as the format has them: its own unit, in doubt if that is absurd.
        (list(range(30)), 1e-3, "is that the unit of the file?"),
        ([i * 3000 for i in range(30)], 1e-3, ""),
        ([1_731_000_000_000 + i * 250 for i in range(30)], 1e-3, "since 1970"),
        ([1_731_000_000.5 + i * 0.25 for i in range(30)], 1.0, "since 1970"),
    ],
)
def test_milliseconds_or_seconds(write, stamps, unit_s, said):
    reading = read(write(mooncake(stamps)))
    expected = (np.array(stamps) - stamps[0]) * unit_s
    assert reading.content.arrival_s == pytest.approx(expected, abs=1e-6)
    assert said in told(reading) if said else told(reading) == ""
    unit = {1.0: "seconds", 1e-3: "milliseconds"}[unit_s]
    assert reading.report.columns["timestamp"] == f"arrival, {unit}"


def test_seconds_that_may_be_milliseconds_are_doubted(write):
    assert "is that the unit" in told(read(write(rows(SERVEGEN, range(0, 15_000, 500)))))
    assert told(read(write(rows(SERVEGEN, range(0, 150, 5))))) == ""


@pytest.mark.parametrize(
    "template",
    ["2026-07-15T10:00:{:02}Z", "2026-07-15 10:00:{:02}.25", "2026-07-15T10:00:{:02}+02:00"],
)
def test_dates_where_a_format_has_numbers(write, template):
    for header, tail in ((SERVEGEN, "10,2"), (BURST, "ChatGPT,1,2,3,API log")):
        reading = read(write(rows(header, map(template.format, range(12)), tail)))
        assert reading.content.arrival_s.tolist() == list(range(12))
        assert "dates where" in told(reading)
        assert reading.report.columns["timestamp"] == "arrival, a date and time of day"


def test_what_most_cells_are_decides(write):
    dates = [f"2026-07-15 10:00:0{i}" for i in range(5)]
    for header in (AZURE, SERVEGEN):
        reading = read(write(rows(header, [*dates, 7])))
        assert reading.content.arrival_s.tolist() == [0, 1, 2, 3, 4]
        assert "got '7', expected a date" in reading.report.first_dropped["time"]
        reading = read(write(rows(header, [dates[0], 1, 2, 3])))
        assert reading.content.arrival_s.tolist() == [0, 1, 2]
        assert "expected a number of seconds" in reading.report.first_dropped["time"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (rows("arrival_s\n", ["2026-07-15T10:00:00Z"], ""), "number of cells"),
        (
            "arrival_s\n2026-07-15T10:00:00Z\n",
            r"line 2: got '2026-07-15T10:00:00Z', expected a number of seconds",
        ),
        (rows(SERVEGEN, ["07/15/2026 10:00"]), "got '07/15/2026 10:00', expected a number of sec"),
        (rows(AZURE, ["15.07.2026 10:00"]), "got '15.07.2026 10:00', expected a date and time"),
        (rows(SERVEGEN, ["10:00:01"]), "got '10:00:01', expected a number of seconds"),
        (mooncake(["2026-07-15T10:00:00Z"]), 'got .{"timestamp": "2026-07-15.*milliseconds'),
        (rows(SERVEGEN, [1], "many,2"), "'many', expected a whole number of tokens in 'input_tok"),
        (rows(SERVEGEN, [1], ",2"), "got '', expected a whole number"),
        ("app,func,end_timestamp,duration\na,f,1,long\n", "'long', expected a number of seconds"),
        ("arrival_s,task\n1,chess\n", "'chess', expected one of hellaswag"),
        ("HashApp,1,2\na,1,-7\n", "got '-7', expected a whole number from 0 to 2.40"),
        ("HashApp,1,2\na,1,x\n", "got 'x', expected a whole number"),
    ],
)
def test_the_first_bad_cell_is_shown_with_what_was_expected(write, content, said):
    with pytest.raises(TraceError, match=f"(?s)none is usable.*{said}"):
        read(write(content))


def test_a_request_that_waits_for_an_answer_is_refused_with_its_line(write):
    later = '{"session_id": 1, "delay": 2000, "input_length": 15, "output_length": 2}\n'
    with pytest.raises(TraceError, match=r"trace.txt:3: got a request with a `delay`"):
        read(write(mooncake([0, 500]) + later))
    both = '{"timestamp": 900, "delay": 2000, "input_length": 15, "output_length": 2}\n'
    assert len(read(write(mooncake([0, 500]) + both)).content) == 3


DAY = list(range(0, 86_400, 7200))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (rows(BURST, DAY + DAY, "m,1,2,3,l"), "jump back of 79200 s in line 14.*midnight"),
        (rows(BURST, [0, 50, 90, 0, 30], "m,1,2,3,l"), "back of 90 s in line 5.*clock starts"),
        (
            rows(AZURE, [f"2025-10-26 0{h}:{m:02}:00" for h in (1, 2, 2, 3) for m in (0, 20, 40)]),
            "jump back of 2400 s in line 8.*daylight saving",
        ),
        (
            rows(AZURE, [f"2025-10-26 {t}:00" for t in ("02:15", "02:45", "02:15", "03:15")]),
            "jump back of 1800 s in line 4.*daylight saving",
        ),
        (
            rows(AZURE, [f"2025-10-26 0{h}:00:00+00:00" for h in (1, 3, 2)]),
            "jump back of 3600 s in line 4.*clock starts again",
        ),
    ],
)
def test_jumps_back_are_warned_of(write, content, said):
    reading = read(write(content))
    assert "rows out of order" in reading.report.notes
    assert len([text for text in reading.report.warnings if "jump back" in text]) == 1
    with pytest.raises(AssertionError, match=f"(?s){said}"):
        raise AssertionError(told(reading))


def test_jumps_are_seen_across_blocks(write, monkeypatch):
    monkeypatch.setattr("traces.readers.blocks.BLOCK_BYTES", 16)
    reading = read(write(rows(BURST, DAY + DAY, "m,1,2,3,l")))
    assert "jump back of 79200 s in line 14, of 1 such rows" in told(reading)


def test_dates_alone_are_midnight_and_counted(write):
    stamps = ["2024-05-09 23:59:59", "2024-05-10", "2024-05-10 00:00:01"]
    reading = read(write(rows(AZURE, stamps)))
    assert reading.content.arrival_s.tolist() == [0, 1, 2]
    assert reading.report.notes == {"dates without a time of day, taken for midnight": 1}


@pytest.mark.parametrize("count", [5, 50, 5000])
def test_the_own_clock_is_kept_however_long_the_file_is(write, count):
    reading = read(write("arrival_s\n" + "".join(f"{100 + i}\n" for i in range(count))))
    assert reading.content.arrival_s[0] == 100
    assert reading.content.span_s == 100 + count
    assert ("100 s before the first request" in told(reading)) == (count < 5000)


def test_the_clock_of_a_machine_is_moved_to_0_and_that_is_said(write):
    reading = read(write("arrival_s\n845123.25\n845124.25\n"))
    assert reading.content.arrival_s.tolist() == [0, 1]
    assert "starts at 845123.25 s: moved to 0" in told(reading)
