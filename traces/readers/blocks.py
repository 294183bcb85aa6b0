"""A file as blocks of whole lines: decompressed, hashed and counted on the way.

Only one block is in memory at a time, so a file may be larger than memory.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from traces.errors import TraceError, require
from traces.readers.packing import HashedFile, Readable, magic, unpacked

BLOCK_BYTES = 4 << 20
LONGEST_LINE_BYTES = 64 << 20


@dataclass(frozen=True)
class Block:
    """Whole lines, each ended by a newline, none of them blank.

    Attributes:
        text: the lines.
        lines: (N,) the number of each line in the file, counted from 1.
        starts: (N,) offset of each line in `text`.
        broken: (N,) which lines hold a quote that nothing closes; None: none does.
    """

    text: bytes
    lines: NDArray[np.int64]
    starts: NDArray[np.int64]
    broken: NDArray[np.bool_] | None = None

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
        broken = None if self.broken is None else self.broken[keep]
        return Block(text, self.lines[keep], np.cumsum(lengths)[:-1], broken)


class LineFile:
    """The lines of a file, block by block; `sha256` is known after the last.

    Lines end with LF, CRLF or CR.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sha256 = ""
        self.blank_lines = 0
        self.next_line = 1

    def blocks(self) -> Iterator[Block]:
        """Every block of lines, in order.

        Raises:
            TraceError: a broken compressed file, no text, or a line that is absurdly long.
        """
        magic(self.path)
        with self.path.open("rb") as raw:
            file = HashedFile(raw, self.path.stat().st_size, self.path.name)
            try:
                yield from self._number(self._pieces(unpacked(file, self.path)))
                self.sha256 = file.sha256()
            except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
                accepted = "a whole gz, xz or bz2 file"
                message = f"{self.path}: got broken compression ({error}); accepted: {accepted}"
                raise TraceError(message) from error
            finally:
                file.bar.close()

    def _number(self, pieces: Iterator[bytes]) -> Iterator[Block]:
        for piece in pieces:
            # Some editors put a byte order mark before the text, which would join the first name.
            text = piece.removeprefix(b"\xef\xbb\xbf") if self.next_line == 1 else piece
            block = numbered(text, self.next_line)
            self.next_line += len(block.lines)
            blank = np.diff(np.append(block.starts, len(block.text))) == 1
            self.blank_lines += int(blank.sum())
            yield block.take(~blank)

    def _pieces(self, source: Readable) -> Iterator[bytes]:
        """Pieces that end where a line ends; a newline is added to the last if it has none."""
        rest, held = b"", b""
        while piece := source.read(BLOCK_BYTES):
            piece = held + piece
            # Whether a CR at the very end is a line's end or half of one is not known yet.
            held = b"\r" if piece.endswith(b"\r") else b""
            piece = piece.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            whole, newline, tail = piece.rpartition(b"\n")
            if newline:
                yield rest + whole + newline
                rest = tail
            else:
                rest += piece
            # A file of no lines at all, such as a picture, must not end up in memory as one line.
            where = f"{self.path}:{self.next_line}: length of a line"
            accepted = f"at most {LONGEST_LINE_BYTES} bytes"
            require(len(rest) <= LONGEST_LINE_BYTES, where, len(rest), accepted)
        if rest or held:
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
