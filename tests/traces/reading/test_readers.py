"""Every format and every oddity of public trace files."""

from __future__ import annotations

import gzip
import lzma

import numpy as np
import pytest

from llmroute_env.recording.serialization import trace_sha256
from traces import catalog, storage
from traces.counts import CountTable
from traces.errors import TraceError
from traces.readers import blocks
from traces.readers.read import Reading, read
from traces.trace import Trace

from . import samples


def requests_of(reading: Reading) -> Trace:
    assert isinstance(reading.content, Trace)
    assert_balanced(reading)
    return reading.content


def counts_of(reading: Reading) -> CountTable:
    assert isinstance(reading.content, CountTable)
    assert_balanced(reading)
    return reading.content


def assert_balanced(reading: Reading) -> None:
    report = reading.report
    assert report.rows_read == report.rows_kept + sum(report.rows_dropped.values())


@pytest.mark.parametrize("name", samples.REQUESTS)
def test_every_format_is_known_by_its_content(write, name):
    content, rows = samples.REQUESTS[name]
    reading = read(write(content, "misleading.dat"))
    trace = requests_of(reading)
    assert (reading.report.format, reading.report.rows_kept, len(trace)) == (name, rows, rows)
    assert reading.report.rows_dropped == {}


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, lambda raw: b"\xef\xbb\xbf" + raw])
@pytest.mark.parametrize("content", [samples.AZURE_2023, samples.MAF_2019, samples.MAF_2021])
def test_compression_and_byte_order_mark_change_nothing(write, pack, content):
    plain, packed = read(write(content, "a")), read(write(pack(content), "b"))
    for name in ("arrival_s", "counts"):
        ours, theirs = (getattr(r.content, name, np.zeros(0)) for r in (plain, packed))
        assert np.array_equal(ours, theirs)
    assert packed.report.rows_kept == plain.report.rows_kept == 3
    assert packed.report.sha256 != plain.report.sha256


def test_azure_fractions_keep_their_digits(write):
    trace = requests_of(read(write(samples.AZURE_2023)))
    assert trace.arrival_s == pytest.approx([0, 4.314579, 4.541579], abs=1e-9)
    assert trace.prompt_tokens.tolist() == [374, 396, 879]
    long = samples.AZURE_2023.replace(b".6805900", b".68059001234567891")
    assert requests_of(read(write(long))).arrival_s[1] == pytest.approx(4.314579, abs=1e-7)


def test_offsets_are_honoured_and_never_mixed_with_naive_times(write):
    trace = requests_of(read(write(samples.AZURE_2024)))
    assert trace.arrival_s == pytest.approx([0, 0.007405, 0.99007], abs=1e-9)
    mixed = read(write(samples.AZURE_2024 + b"2024-05-10 00:00:05.0,1,1\n"))
    assert mixed.report.rows_dropped == {"naive and offset times mixed": 1}


def test_burstgpt_columns_are_found_by_name_and_ties_keep_their_order(write):
    trace = requests_of(read(write(samples.BURST)))
    assert trace.arrival_s.tolist() == [0, 40, 40, 113]
    assert trace.prompt_tokens.tolist() == [472, 1087, 417, 0]
    assert read(write(samples.BURST)).report.notes == {"requests with zero tokens": 1}
    assert requests_of(read(write(samples.BURST_2))).output_tokens.tolist() == [20, 21]


def test_mooncake_milliseconds(write):
    trace = requests_of(read(write(samples.MOONCAKE)))
    assert trace.arrival_s.tolist() == [0, 3]
    assert trace.prompt_tokens.tolist() == [6758, 7322]


def test_maf2021_start_is_end_minus_duration_and_rows_are_sorted(write):
    reading = read(write(samples.MAF_2021))
    trace = requests_of(reading)
    assert trace.arrival_s == pytest.approx([0, 0.2485, 2.4985])
    assert reading.report.notes == {"rows out of order": 1}
    odd = samples.MAF_2021 + b"a,f,1.0,3.0\na,f,9.0,-1.0\n"
    reading = read(write(odd))
    assert reading.report.rows_dropped == {"negative duration": 1}
    assert requests_of(reading).arrival_s[1] == pytest.approx(2.0015)


def test_tasks_of_functions_do_not_depend_on_the_window(write):
    whole = requests_of(read(write(samples.MAF_2021)))
    rows = samples.MAF_2021.splitlines(keepends=True)
    part = requests_of(read(write(rows[0] + rows[2])))
    assert part.task[0] == whole.task[2]


def test_own_csv_keeps_its_clock_unless_it_starts_far_away(write):
    trace = requests_of(read(write(samples.OWN)))
    assert trace.arrival_s.tolist() == [1.5, 4.5]
    assert [trace.tasks[i] for i in trace.task] == ["piqa", "copa"]
    far = requests_of(read(write(b"arrival_s\n1700000000.5\n1700000002\n")))
    assert far.arrival_s.tolist() == [0, 1.5]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"nan,1,1", "time"),
        (b"inf,1,1", "time"),
        (b"1e300,1,1", "time"),
        (b"soon,1,1", "time"),
        (b"1,-1,1", "prompt tokens"),
        (b"1,1.5,1", "prompt tokens"),
        (b"1,1,3000000000", "output tokens"),
        (b"1,1,", "output tokens"),
        (b"1,1", "number of cells"),
        (b"1,1,1,1", "number of cells"),
        (b"\xff\xfe,1,1", "time"),
    ],
)
def test_a_bad_row_is_counted_and_strict_names_its_line(write, row, reason):
    path = write(b"\n" + samples.VIDUR + b"\n" + row + b"\n3e0, 7 ,8.0\n")
    reading = read(path)
    assert reading.report.rows_dropped == {reason: 1}
    assert requests_of(reading).prompt_tokens.tolist() == [100, 200, 7]
    assert reading.report.notes["blank lines"] == 2
    with pytest.raises(TraceError, match=rf"trace.txt:6: {reason}"):
        read(path, strict=True)


def test_bad_json_lines_are_counted(write):
    bad = b'{"timestamp": 1, "input_length": 2}\n[1]\n{"timestamp"\n'
    text = b'{"timestamp": "9", "input_length": true, "output_length": 1}\n'
    reading = read(write(samples.MOONCAKE + bad + text))
    assert reading.report.rows_dropped == {"not a JSON object with the fields": 3, "time": 1}
    assert len(requests_of(reading)) == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty file"),
        (b"\n \n\n", "accepted columns"),
        (samples.VIDUR.splitlines()[0], "0 rows"),
        (samples.MAF_2019.splitlines()[0], "0 rows"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS pointer"),
        (b"HashOwner,Average,percentile_Average_0\n", "durations"),
        (b"time,what\n1,2\n", "got 'time,what'"),
        (b"<!DOCTYPE html>\n<p>", "DOCTYPE"),
        (samples.VIDUR.splitlines()[0] + b"\nx,1,1\n", "none is usable .*'time': 1"),
        (gzip.compress(samples.VIDUR, mtime=0)[:30], "broken compression"),
        (lzma.compress(samples.VIDUR)[:40], "broken compression"),
        (b"PK\x03\x04" + bytes(100), "npz that this package wrote"),
    ],
)
def test_what_cannot_be_read_says_what_was_found(write, content, said):
    with pytest.raises(TraceError, match=f"(?s){said}"):
        read(write(content))


def test_a_missing_file_and_no_file():
    with pytest.raises(TraceError, match="No such file"):
        read("no/such/file.csv")
    with pytest.raises(TraceError, match="paths"):
        read([])


def test_blocks_of_any_size_give_the_same_trace(write, monkeypatch):
    path = write(samples.BURST.replace(b"\n", b"\r\n"))
    whole = requests_of(read(path))
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 7)
    assert np.array_equal(requests_of(read(path)).arrival_s, whole.arrival_s)
    monkeypatch.setattr(blocks, "LONGEST_LINE_BYTES", 20)
    with pytest.raises(TraceError, match="length of a line"):
        read(path)


@pytest.mark.parametrize("template", ["{}", "minute_{}", "{}_minute"])
@pytest.mark.parametrize("first", [1, 480])
def test_labels_of_minutes(write, template, first):
    labels = ",".join(template.format(first + i) for i in (1, 0, 2))
    header = f"HashFunction,HashApp,HashOwner,{labels}\n".encode()
    table = counts_of(read(write(header + b"f,a,o,2,1,3\n")))
    assert table.counts.tolist() == [[1, 2, 3]]
    assert (table.first_bin, table.functions, table.triggers) == (first, ("o/a/f",), (None,))


def test_warm_up_minutes_are_left_out_and_ids_may_be_missing(write):
    reading = read(write(b"-1,0,1,2\n9,9,1,2\n9,9,1,2\n"))
    assert counts_of(reading).counts.tolist() == [[1, 2], [1, 2]]
    assert counts_of(reading).functions == ("line 2", "line 3")
    assert reading.report.notes == {"warm-up minutes left out": 2}
    table = counts_of(read(write(b"Trigger,1\nhttp,5\n")))
    assert (table.functions, table.triggers) == (("line 2",), ("http",))
    with pytest.raises(TraceError, match="3 minutes from 1 to 4"):
        read(write(b"1,2,4\n1,1,1\n"))
    with pytest.raises(TraceError, match="2 minutes from 1 to 999999999"):
        read(write(b"1,999999999\n1,1\n"))
    with pytest.raises(TraceError, match="3 minutes from 1 to 2"):
        read(write(b"1,2,2\n1,1,1\n"))


@pytest.mark.parametrize(
    ("cell", "value"),
    [(b"5.0", 5), (b"", 0), (b"3e2", 300), (b"4000000000", 4_000_000_000), (b"-1", None)]
    + [(cell, None) for cell in (b"1.5", b"x", b"nan", b"9" * 25)],
)
def test_cells_of_counts(write, cell, value):
    row = b"o,a,h,http,1," + cell + b",1\n"
    reading = read(write(samples.MAF_2019 + row + b"1,2,3,http,0,4000000000,0\n"))
    table = counts_of(reading)
    if value is None:
        assert reading.report.rows_dropped == {"count is not a whole number from 0 to 2^40": 1}
    else:
        assert table.counts[3].tolist() == [1, value, 1]
    # Two of these minutes do not fit into 32 bits.
    assert table.total[1] == 4_000_000_010 + (value or 0)
    assert table.functions[-1] == "1/2/3"


def test_duplicate_functions(write):
    again = b"o,a,f,http,1,0,4\no,a,f,http,7,7,7\n"
    reading = read(write(samples.MAF_2019 + again))
    assert reading.report.rows_dropped == {"duplicate row": 1}
    assert counts_of(reading).counts.sum() == 17 + 21


def test_days_in_order_of_their_numbers_with_absent_functions(write):
    first = write(samples.MAF_2019, "counts.d01.csv")
    later = write(
        b"HashOwner,HashApp,HashFunction,Trigger,1,2\no,a,g,timer,5,5\nn,n,n,http,1,2\n",
        "counts.d04.csv",
    )
    reading = read([later, first])
    table = counts_of(reading)
    both = [[1, 0, 4, 0, 0], [1, 1, 1, 5, 5], [0, 9, 0, 0, 0], [0, 0, 0, 1, 2]]
    assert table.counts.tolist() == both
    assert table.triggers == ("http", "timer", "queue", "http")
    assert reading.report.notes == {"missing days left out": 2}
    with pytest.raises(TraceError, match="several of calls per minute"):
        read([first, write(samples.VIDUR, "v.csv")])


def test_merged_counts_keep_totals_tasks_and_triggers(write):
    path = write(samples.MAF_2019 + b"o,c,k,http,2,2,2\no,c,l,http,2,2,2\n")
    whole, merged = counts_of(read(path)), counts_of(read(path, merge=True))
    assert np.array_equal(whole.per_task, merged.per_task)
    for trigger in ("http", "timer"):
        ours, theirs = (t.filter_trigger((trigger,)).total for t in (whole, merged))
        assert np.array_equal(ours, theirs)


def test_npz_round_trip_is_exact_and_csv_keeps_the_requests(tmp_path):
    trace = catalog.load("maf2021-998")
    storage.save(trace, tmp_path / "t.npz")
    again = requests_of(read(tmp_path / "t.npz"))
    assert np.array_equal(again.arrival_s, trace.arrival_s)
    assert (again.span_s, again.provenance) == (trace.span_s, trace.provenance)
    storage.save(trace, tmp_path / "t.csv")
    plain = requests_of(read(tmp_path / "t.csv"))
    assert np.array_equal(plain.arrival_s, trace.arrival_s)
    assert np.array_equal(plain.task, trace.task)
    with pytest.raises(TraceError, match=r"ends in .npz or .csv"):
        storage.save(trace, tmp_path / "t.pkl")


def test_an_npz_is_never_unpickled(tmp_path):
    np.savez(tmp_path / "evil.npz", about=np.array([{"x": 1}], dtype=object))
    with pytest.raises(TraceError, match="npz that this package wrote"):
        read(tmp_path / "evil.npz")


def test_catalogue():
    table = catalog.load_counts("maf2019-500fn")
    assert (table.counts.shape, table.counts.sum()) == ((500, 480), 3_037_902)
    assert table is catalog.load_counts("maf2019-500fn")
    digests = {
        "azure-conv": "e48c406640e302d368edd06ea777354a71906f238ef4e4d8f3347379174476d7",
        "azure-code": "f845d21b95ffef08f869bd80db4b92bb06c02ce56562f21d75b9db7f0f2621a1",
        "maf2021-998": "cd416714dfc1f6744d319c9354b115d6a95d1e51c82b072d1702eada784a94b2",
    }
    assert {name: trace_sha256(catalog.load(name)) for name in digests} == digests
    conversations = catalog.load("azure-conv")
    assert len(conversations) == 19_366
    assert conversations.mean_rate_per_s == pytest.approx(5.530, abs=1e-3)
    with pytest.raises(TraceError, match="maf2019-500fn, maf2021-998"):
        catalog.load("unheard-of")
    with pytest.raises(TraceError, match="load_counts"):
        catalog.load("maf2019-500fn")
    with pytest.raises(TraceError, match="accepted: maf2019-500fn"):
        catalog.load_counts("azure-conv")
