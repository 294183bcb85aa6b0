"""What a file is packed in, coded in and how its lines end: read, or named."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile

import numpy as np
import pytest

from traces.errors import TraceError
from traces.readers import blocks
from traces.readers.read import read

from . import samples


def tar(content: bytes, form: int = tarfile.GNU_FORMAT) -> bytes:
    """An archive of two days."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as archive:
        for name in ("d/day.d01.csv", "d/day.d02.csv"):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def zipped(*names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, samples.VIDUR)
    return packed.getvalue()


def saved(array: np.ndarray) -> bytes:
    packed = io.BytesIO()
    np.savez(packed, x=array)
    return packed.getvalue()


def old_tar() -> bytes:
    """An archive from before there was a mark in it: only its checksum tells."""
    head = bytearray(tar(samples.VIDUR, tarfile.USTAR_FORMAT)[:1024])
    head[257:265] = bytes(8)
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\x00 " % sum(head[:512])
    return bytes(head)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (tar(samples.MAF_2019), "a tar archive; accepted: unpack it"),
        (old_tar(), "a tar archive"),
        (gzip.compress(tar(samples.MAF_2019), mtime=0), "a tar archive"),
        (lzma.compress(tar(samples.VIDUR)), "a tar archive"),
        (bz2.compress(tar(samples.VIDUR)), "a tar archive"),
        (zipped("conv.csv"), "a zip archive with conv.csv; .*unpack"),
        (zipped("a.csv", "b.csv", "c.csv", "d.csv"), r"a.csv, b.csv, c.csv, \.\.\."),
        (zipped(), "a zip archive with nothing"),
        (zipped("[Content_Types].xml", "xl/workbook.xml"), "a spreadsheet"),
        (saved(np.zeros(3)), "an npz of others, with x.npy"),
        (gzip.compress(zipped("conv.csv"), mtime=0), "packed file within"),
        (gzip.compress(gzip.compress(samples.VIDUR), mtime=0), "packed file within"),
        (b"\x28\xb5\x2f\xfd" + bytes(20), "zstd .*zstd -d"),
        (gzip.compress(b"\x28\xb5\x2f\xfd" + bytes(20), mtime=0), "zstd"),
        (b"\x04\x22\x4d\x18" + bytes(20), "lz4"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(20), "7z"),
        (b"PAR1" + bytes(20), "Parquet .*read_parquet"),
        (b"ARROW1\x00\x00" + bytes(20), "Arrow"),
        (b"SQLite format 3\x00" + bytes(20), "SQLite"),
        (b"\x80\x04\x95" + bytes(20), "pickle, which is never loaded"),
        (samples.VIDUR.decode().encode("utf-32"), "UTF-32"),
        (samples.VIDUR.decode().encode("utf-16-le"), "UTF-16 without its mark"),
        (bytes(range(256)), "zero bytes"),
        (bz2.compress(samples.VIDUR)[:40], "broken compression"),
    ],
)
def test_what_is_not_unpacked_is_named(write, content, said):
    with pytest.raises(TraceError, match=f"(?s){said}"):
        read(write(content, "trace.csv"))


def with_line_ends(end: bytes) -> bytes:
    return samples.AZURE_2024.replace(b"\n", end)


@pytest.mark.parametrize(
    "content",
    [
        bz2.compress(samples.AZURE_2024),
        samples.AZURE_2024.decode().encode("utf-16"),
        samples.AZURE_2024.decode().encode("utf-16-be").join([b"\xfe\xff", b""]),
        gzip.compress(samples.AZURE_2024.decode().encode("utf-16"), mtime=0),
        with_line_ends(b"\r"),
        with_line_ends(b"\r\n"),
        with_line_ends(b"\r").removesuffix(b"\r"),
        with_line_ends(b"\r").removesuffix(b"\r") + b"\n",
        bz2.compress(with_line_ends(b"\r")),
        with_line_ends(b"\r").decode().encode("utf-16"),
    ],
)
@pytest.mark.parametrize("block_bytes", [4 << 20, 7])
def test_packed_and_coded_files_hold_what_plain_ones_hold(write, monkeypatch, content, block_bytes):
    plain = read(write(samples.AZURE_2024, "plain")).content
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block_bytes)
    packed = read(write(content))
    assert packed.report.rows_dropped == packed.report.notes == {}
    assert np.array_equal(packed.content.arrival_s, plain.arrival_s)
    assert np.array_equal(packed.content.output_tokens, plain.output_tokens)


def test_what_is_no_file_on_disk_is_named(tmp_path):
    with pytest.raises(TraceError, match="a directory; accepted: names of its files"):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TraceError, match="not a regular file"):
        read(tmp_path / "pipe")


def test_a_line_that_is_too_long_is_named_by_file_and_number(write, monkeypatch):
    monkeypatch.setattr(blocks, "LONGEST_LINE_BYTES", 100)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 50)
    path = write(samples.VIDUR + b"1,2," + b"3" * 200)
    with pytest.raises(TraceError, match=r"trace.txt:4: length of a line: got \d+; accepted"):
        read(path)
