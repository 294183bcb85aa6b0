"""Quoted cells of CSV (RFC 4180): records of one line each, without quotes, whatever they held."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from traces.readers.blocks import Block, numbered

COMMA = b"\x1f"
"""Stands for a comma within a quoted cell, so that every other comma separates cells."""

LONGEST_RECORD_BYTES = 1 << 20
"""A quote that nothing closes within this is taken for one that nothing closes at all."""

CELL = re.compile(rb'[ \t]*"((?:[^"]|"")*+)"[ \t]*(?=[,\n])|((?:[^",\n][^,\n]*+)?)(?=[,\n])')
"""A quoted cell, or a plain one, up to its comma or the end of the line."""

NEEDLESS = re.compile(rb'"(?<![^,\n]")([^",\n]*)"(?=[,\n])')
"""A quoted cell that would be the same without quotes. Where it stands within another quoted cell
it is a doubled quote, without which that cell is as long as before."""

OPENED = re.compile(rb'[ \t]*"(?:[^"]|"")*+\Z')


@dataclass
class Records:
    """Records as they are found, and the line from which on the rest of the block is open."""

    rows: list[bytes] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    broken: list[bool] = field(default_factory=list)

    def add(self, row: bytes, line: int, broken: bool = False) -> None:
        """One more record, the number of its first line, and whether a quote is not closed."""
        self.rows.append(row)
        self.lines.append(line)
        self.broken.append(broken)

    def block(self) -> Block:
        """All of them as a block."""
        lengths = np.array([0, *(len(row) + 1 for row in self.rows)], np.int64)
        text = b"".join(row + b"\n" for row in self.rows)
        lines, broken = np.array(self.lines, np.int64), np.array(self.broken, np.bool_)
        return Block(text, lines, np.cumsum(lengths)[:-1], broken)


def whole_records(blocks: Iterator[Block]) -> Iterator[Block]:
    """Blocks of lines as blocks of records; JSON, which has its own quotes, as it is.

    A record that spans lines has as many cells as the header has; else its first line is broken,
    and the others are read on their own, so that no quote swallows rows.
    """
    rest: Block | None = None
    width = 0
    for block in blocks:
        whole = block if rest is None else joined(rest, block)
        rest = None
        if len(whole.lines) and not width:
            if whole.text.lstrip().startswith((b"{", b"[")):
                yield whole
                yield from blocks
                return
            width = width_of(whole)
        whole = without_needless(whole)
        if b'"' in whole.text:
            whole, rest = split(whole, width)
        yield whole
    if rest is not None:
        yield split(rest, width, last=True)[0]


def joined(first: Block, second: Block) -> Block:
    """Two blocks as one."""
    starts = np.concatenate([first.starts, second.starts + len(first.text)])
    lines = np.concatenate([first.lines, second.lines])
    return Block(first.text + second.text, lines, starts)


def without_needless(block: Block) -> Block:
    """The block without the quotes around cells that need none, which most quoted files have."""
    if b'"' not in block.text:
        return block
    text = NEEDLESS.sub(rb"\1", block.text)
    return Block(text, block.lines, numbered(text, 1).starts)


def width_of(block: Block) -> int:
    """Number of cells of the first record."""
    found = cells_of(block.text, 0, 0)
    return block.rows()[0].count(b",") + 1 if found is None else len(found[0])


def split(block: Block, width: int, last: bool = False) -> tuple[Block, Block | None]:
    """The records of a block, and its lines from a record on that may go on in the next block."""
    found = Records()
    rows, row = block.rows(), 0
    while row < len(rows):
        start, line = int(block.starts[row]), int(block.lines[row])
        end = start + len(rows[row])
        record = cells_of(block.text, start, end + 1) if b'"' in rows[row] else None
        if b'"' not in rows[row]:
            found.add(rows[row], line)
        elif record is not None and (record[1] == end or width == len(record[0])):
            found.add(b",".join(record[0]), line)
            row += block.text.count(b"\n", start, record[1])
        elif record is None and not last and is_open(block.text, start):
            return found.block(), block.take(np.arange(len(rows)) >= row)
        else:
            found.add(rows[row].replace(b'"', b""), line, broken=True)
        row += 1
    return found.block(), None


def cells_of(text: bytes, start: int, least: int) -> tuple[list[bytes], int] | None:
    """Cells of the record at `start`, and the place of its newline; None: a quote is not closed.

    It is looked for up to LONGEST_RECORD_BYTES, and to `least` in any case.
    """
    cells, end = [], min(len(text), max(least, start + LONGEST_RECORD_BYTES))
    while match := CELL.match(text, start, end):
        quoted, plain = match.groups()
        cells.append(plain if quoted is None else freed(quoted))
        start = match.end()
        if text[start] == ord("\n"):
            return cells, start
        start += 1
    return None


def is_open(text: bytes, start: int) -> bool:
    """Whether a quote of the record at `start` may be closed by what follows after `text`."""
    if len(text) - start > LONGEST_RECORD_BYTES:
        return False
    while match := CELL.match(text, start):
        start = match.end() + 1
    return OPENED.match(text, start) is not None


def freed(quoted: bytes) -> bytes:
    """The content of a quoted cell as one that needs no quotes."""
    return quoted.replace(b'"', b"").replace(b",", COMMA).replace(b"\n", b" ")
