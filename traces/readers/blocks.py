"""A file as blocks of whole lines: decompressed, hashed and counted on the way.

Only one block is in memory at a time, so a file may be larger than memory.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from traces.errors import TraceError, require

BLOCK_BYTES = 4 << 20
LONGEST_LINE_BYTES = 64 << 20
PROGRESS_FROM_BYTES = 64 << 20
"""Smaller files are read before anybody would look at a progress bar."""

GZIP, XZ, ZIP = b"\x1f\x8b", b"\xfd7zXZ\x00", b"PK\x03\x04"
"""First bytes of compressed files; NumPy's npz is a zip."""


class Readable(Protocol):
    """Something that bytes can be read from."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most `size`; empty at the end of the file."""
        ...


@dataclass(frozen=True)
class Block:
    """Whole lines, each ended by a newline, none of them blank.

    Attributes:
        text: the lines.
        lines: (N,) the number of each line in the file, counted from 1.
        starts: (N,) offset of each line in `text`.
    """

    text: bytes
    lines: NDArray[np.int64]
    starts: NDArray[np.int64]

    def rows(self) -> list[bytes]:
        """The lines without their newlines."""
        return self.text[:-1].split(b"\n") if self.text else []

    def take(self, keep: NDArray[np.bool_]) -> Block:
        """A block of the lines that the (N,) mask `keep` chooses, with their old numbers."""
        if keep.all():
            return self
        chosen = [row for row, wanted in zip(self.rows(), keep, strict=True) if wanted]
        lengths = np.array([0, *(len(row) + 1 for row in chosen)], np.int64)
        text = b"".join(row + b"\n" for row in chosen)
        return Block(text, self.lines[keep], np.cumsum(lengths)[:-1])


class HashedFile(io.RawIOBase):
    """A file that hashes what is read from it and shows how far it is."""

    def __init__(self, raw: BinaryIO, size_bytes: int, name: str) -> None:
        super().__init__()
        self.raw = raw
        self.digest = hashlib.sha256()
        self.bar = tqdm(
            total=size_bytes,
            desc=name,
            unit="B",
            unit_scale=True,
            leave=False,
            file=sys.stderr,
            # None: shown on a terminal only.
            disable=True if size_bytes < PROGRESS_FROM_BYTES else None,
        )

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most `size`, which are hashed and counted; empty at the end."""
        data = self.raw.read(size)
        self.digest.update(data)
        self.bar.update(len(data))
        return data

    def readable(self) -> bool:
        """True: it may be read, which is what io.RawIOBase asks of its subclasses."""
        return True

    def sha256(self) -> str:
        """Fingerprint of the whole file, as hex; reads what is left of it."""
        while self.read(BLOCK_BYTES):
            pass
        self.bar.close()
        return self.digest.hexdigest()


def magic(path: Path) -> bytes:
    """The first bytes of a file.

    Raises:
        TraceError: it cannot be opened.
    """
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError as error:
        accepted = "a readable trace file"
        raise TraceError(
            f"trace file: got {path} ({error.strerror}); accepted: {accepted}"
        ) from error


class LineFile:
    """The lines of a plain, gz or xz file, block by block; `sha256` is known after the last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sha256 = ""
        self.blank_lines = 0

    def blocks(self) -> Iterator[Block]:
        """Every block of lines, in order.

        Raises:
            TraceError: a broken compressed file, or a line that is absurdly long.
        """
        first = magic(self.path)
        with self.path.open("rb") as raw:
            file = HashedFile(raw, self.path.stat().st_size, self.path.name)
            try:
                yield from self._number(chunks(decompressed(file, first)))
                self.sha256 = file.sha256()
            except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
                accepted = "a whole gz or xz file"
                message = f"{self.path}: got broken compression ({error}); accepted: {accepted}"
                raise TraceError(message) from error
            finally:
                file.bar.close()

    def _number(self, pieces: Iterator[bytes]) -> Iterator[Block]:
        line, first = 1, True
        for piece in pieces:
            # Some editors put a byte order mark before the text, which would join the first name.
            text = piece.removeprefix(b"\xef\xbb\xbf") if first else piece
            first = False
            block = numbered(text.replace(b"\r\n", b"\n"), line)
            line += len(block.lines)
            blank = np.diff(np.append(block.starts, len(block.text))) == 1
            self.blank_lines += int(blank.sum())
            yield block.take(~blank)


def decompressed(file: HashedFile, first: bytes) -> Readable:
    """The content of a file that begins with `first`: unpacked if that is gzip's or xz's mark."""
    if first.startswith(GZIP):
        return gzip.GzipFile(fileobj=cast(BinaryIO, file))
    if first.startswith(XZ):
        return lzma.LZMAFile(cast(BinaryIO, file))
    return file


def chunks(source: Readable) -> Iterator[bytes]:
    """Pieces that end where a line ends; a newline is added to the last if it has none.

    Raises:
        TraceError: a line longer than LONGEST_LINE_BYTES.
    """
    rest = b""
    while piece := source.read(BLOCK_BYTES):
        whole, newline, tail = piece.rpartition(b"\n")
        if newline:
            yield rest + whole + newline
            rest = tail
        else:
            rest += piece
        # A file of no lines at all, such as a picture, must not end up in memory as one line.
        accepted = f"at most {LONGEST_LINE_BYTES} bytes"
        require(len(rest) <= LONGEST_LINE_BYTES, "length of a line", len(rest), accepted)
    if rest:
        yield rest + b"\n"


def numbered(text: bytes, first_line: int) -> Block:
    """A block of all lines in `text`, counted from `first_line`."""
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else np.zeros(0, np.int64)
    return Block(text, first_line + np.arange(len(ends), dtype=np.int64), starts)


def separators(block: Block) -> NDArray[np.int64]:
    """(N,) number of commas in each line."""
    commas = np.flatnonzero(np.frombuffer(block.text, np.uint8) == ord(","))
    edges = np.append(block.starts, len(block.text))
    return np.diff(np.searchsorted(commas, edges)).astype(np.int64)
