"""Other files of the names of this distribution's packages, noticed when it is imported.

A script's folder comes first where Python looks for modules: a `traces.py` there, or another
distribution's `agents`, hides ours.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
NEEDED, OTHERS = "traces", ("agents", "benchmarks")
"""What this package imports, and the packages beside it that it does not."""


def check_neighbours() -> None:
    """Raise an ImportError if `traces` is not ours, and warn if another package is not."""
    if hidden := hidden_by(NEEDED):
        raise ImportError(words(NEEDED, hidden))
    for name in OTHERS:
        if hidden := hidden_by(name):
            warnings.warn(words(name, hidden), stacklevel=2)


def hidden_by(name: str) -> Path | None:
    """The file that Python imports as `name` instead of our package; None if it is ours.

    None too where there is none, or it tells no file.
    """
    try:
        spec = find_spec(name)
    except ValueError:
        return None
    if spec is None or not spec.origin or spec.origin in ("namespace", "built-in", "frozen"):
        return None
    found, ours = Path(spec.origin).resolve(), HERE / name / "__init__.py"
    return None if found == ours or not ours.exists() else found


def words(name: str, hidden: Path) -> str:
    """What hides which package."""
    return (
        f"{name}: Python finds {hidden}, which hides the package of llmroute, {HERE / name}; "
        "accepted: another name for that file, or an environment without that distribution"
    )


check_neighbours()
