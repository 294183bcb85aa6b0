"""Several files of calls per minute: their labels say what comes after what."""

from __future__ import annotations

import gzip

import pytest

from traces.errors import TraceError
from traces.readers.read import read


@pytest.fixture
def part(write):
    """A function that writes one function's calls in the minutes from `first` on."""

    def to_file(name: str, first: int, *calls: int):
        labels = ",".join(str(first + i) for i in range(len(calls)))
        cells = ",".join(map(str, calls))
        header = f"HashOwner,HashApp,HashFunction,Trigger,{labels}"
        return write(f"{header}\no,a,f,http,{cells}\n", name)

    return to_file


def total_of(*paths, merge: bool = False):
    reading = read(paths, merge=merge)
    return reading.content.total.tolist(), reading.content.first_bin, reading.report


@pytest.mark.parametrize("merge", [False, True])
def test_parts_of_a_day_are_put_in_the_order_of_their_labels(part, merge):
    late, noon, early = part("z", 6, 1, 1), part("b", 4, 7, 8), part("c", 1, 9, 2, 3)
    counts, first, report = total_of(late, noon, early, merge=merge)
    assert (counts, first) == ([9, 2, 3, 7, 8, 1, 1], 1)
    assert report.warnings == ["files put in the order of their labels: c, b, z"]
    assert {"1 to 3", "4 to 5", "6 to 7"} < report.columns.keys()
    assert report.sha256.split()[0] == read(early).report.sha256
    counts, _, report = total_of(early, noon)
    assert (counts, report.warnings) == ([9, 2, 3, 7, 8], [])


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ((("a", 1, 1, 2, 3), ("b", 5, 4, 5)), r"a \(minutes 1 to 3\), then b \(minutes 5 to 6\)"),
        ((("a", 1, 1, 2, 3), ("b", 3, 4, 5)), "then b"),
        ((("a", 1, 1, 2, 3), ("b", 2, 4)), "then b"),
        ((("a", 1, 1, 2), ("b", 1, 1, 2)), "the same calls twice"),
        ((("a.d01.csv", 1, 1, 2), ("b.d01.csv", 1, 1, 2)), "the same calls twice"),
        ((("a.d01.csv", 1, 1, 2), ("b.d01.csv", 1, 3, 4)), "then b.d01.csv"),
        ((("a", 1, 1, 2), ("b", 3, 5), ("c", 1, 1, 2)), "the same calls twice"),
    ],
)
def test_gaps_overlaps_and_repetitions_are_refused(part, parts, said):
    with pytest.raises(TraceError, match=said):
        read([part(*each) for each in parts])


def test_one_file_twice_is_refused_under_any_name(part, write):
    path = part("day.d01.csv", 1, 2, 2, 2)
    packed = write(gzip.compress(path.read_bytes()), "copy.d01.csv.gz")
    for merge in (False, True):
        for other in (path, packed):
            with pytest.raises(TraceError, match="the same calls twice"):
                read([path, other], merge=merge)


def test_parts_of_numbered_days(part):
    day = part("x.d02.csv", 1, 5, 6)
    evening, morning = part("b.d01.csv", 3, 3), part("a.d01.csv", 1, 1, 2)
    counts, _, report = total_of(day, evening, morning)
    assert counts == [1, 2, 3, 5, 6]
    assert any("minutes between" in text and "left out" in text for text in report.warnings)
    whole = [part(f"w.d0{i}.csv", 1, *[i] * 1440) for i in (1, 2)]
    assert total_of(*whole)[2].warnings == []


def test_days_that_are_alike_are_doubted_and_unnumbered_ones_taken_as_given(part):
    first, second = part("x.d01.csv", 1, *[1] * 1440), part("x.d02.csv", 1, *[1] * 1440)
    assert total_of(first, second)[2].warnings == ["x.d01.csv and x.d02.csv hold the same calls"]
    monday, tuesday = part("monday", 1, 1, 2), part("tuesday", 1, 3, 4)
    counts, _, report = total_of(tuesday, monday)
    assert counts == [3, 4, 1, 2]
    assert "one after the other as given" in report.warnings[0]
