"""Files to read."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def write(tmp_path):
    """A function that writes bytes, or lines of text, to a file and returns its path."""

    def to_file(content: bytes | str, name: str = "trace.txt") -> Path:
        path: Path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to_file
