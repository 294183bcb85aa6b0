"""Whatever the bytes: a TraceError or valid content whose rows are all accounted for."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.commands.trace.info import figures_of, row_of
from traces import storage
from traces.counts import CountTable
from traces.errors import TraceError
from traces.readers.read import read
from traces.statistics import of_counts, of_trace
from traces.trace import Provenance, Trace

from . import samples

WORDS = (
    b'nan -inf 1e309 -1 5.0 0 0x10 1_000 true null +1 , " { } '
    b'2023-02-30T25:61:61 2024-01-01T00:00:00Z "timestamp": {"timestamp": '
    b"\x00 \xff \xef\xbb\xbf \xe2\x80\xa8 "
    b'1731000000000 1e18 "" \x1f 1,100 "1,100" delay [ 2024-01-01'
).split(b" ")
TOKENS = st.sampled_from([*WORDS, b"", b" ", b"\n", b"\r", b"\r\n", b"[" * 5000, b"9" * 400])


@st.composite
def npz(draw: st.DrawFn) -> bytes:
    """A valid npz of ours."""
    times = np.sort(draw(st.lists(st.floats(0, 9), max_size=4)))
    zeros = np.zeros(len(times), np.int32)
    trace = Trace(times, zeros.astype(np.int16), zeros, zeros, 10.0, Provenance("fuzz"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.npz"
        storage.save(trace, path)
        return path.read_bytes()


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A real file with a few places overwritten, cut out, repeated or filled with junk."""
    content = draw(st.sampled_from(samples.EVERY) | npz())
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 20)))
        repeated = content[start:end] * draw(st.integers(0, 3))
        junk = draw(TOKENS | st.binary(max_size=6))
        content = content[:start] + draw(st.sampled_from([junk, repeated])) + content[end:]
    return content


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """Rows of odd cells under the header of a real file."""
    header = draw(st.sampled_from(samples.EVERY)).splitlines()[0]
    width = header.count(b",") + 1
    row = st.lists(
        TOKENS | st.integers(-3, 10**12).map(lambda n: b"%d" % n), min_size=width, max_size=width
    )
    rows = draw(st.lists(row.map(b",".join), max_size=5))
    return b"\n".join([header, *rows])


def recoded(content: bytes) -> bytes:
    """The text in UTF-16."""
    return content.decode("utf-8", "replace").encode("utf-16")


FILES = st.binary(max_size=300) | mutated() | tables()
PACKED = st.sampled_from([bytes, gzip.compress, lzma.compress, bz2.compress, recoded])


def check(content: bytes, pack, cut: int, merge: bool) -> None:
    """Read a packed and perhaps truncated file."""
    packed = pack(content)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace"
        path.write_bytes(packed[: len(packed) - cut])
        try:
            reading = read(path, merge=merge)
        except TraceError:
            return
    json.dumps(row_of(reading, figures_of(reading)), allow_nan=False)
    report = reading.report
    assert report.rows_read == report.rows_kept + sum(report.rows_dropped.values())
    if isinstance(reading.content, CountTable):
        assert reading.content.counts.dtype == np.int64
        assert of_counts(reading.content, np.random.default_rng(0)).requests >= 0
    else:
        assert len(reading.content) == of_trace(reading.content).requests == report.rows_kept


def fuzz(examples: int, derandomize: bool) -> None:
    """Try this many inputs."""

    @settings(
        max_examples=examples,
        derandomize=derandomize,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(FILES, PACKED, st.sampled_from([0, 0, 0, 1, 7]), st.booleans())
    def run(content, pack, cut, merge):
        check(content, pack, cut, merge)

    run()


def several(examples: int, derandomize: bool) -> None:
    """Try this many pairs of files of calls per minute."""

    @settings(max_examples=examples, derandomize=derandomize, deadline=None, database=None)
    @given(st.lists(st.tuples(st.integers(-1, 4), st.integers(1, 3)), min_size=2, max_size=3))
    def run(parts):
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for number, (first, count) in enumerate(parts):
                labels = ",".join(str(first + i) for i in range(count))
                cells = ",".join(str(number + i) for i in range(count))
                paths.append(Path(folder) / f"{number}.csv")
                paths[-1].write_text(f"HashApp,{labels}\na,{cells}\n")
            try:
                reading = read(paths)
            except TraceError:
                return
            assert isinstance(reading.content, CountTable)
            alone = [read(path).content for path in paths]
        assert reading.content.counts.sum() == sum(table.counts.sum() for table in alone)
        assert reading.content.span_s == sum(table.span_s for table in alone)

    run()


def test_a_few_parts_of_days():
    several(100, derandomize=True)


def test_a_few_hundred_inputs():
    fuzz(150, derandomize=True)


@pytest.mark.verify
def test_many_inputs():
    fuzz(20_000, derandomize=False)
