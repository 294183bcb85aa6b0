"""Requests and where they come from; knows nothing of gymnasium, torch or the simulator."""

from __future__ import annotations

from traces.tasks import TASKS, TaskMix
from traces.trace import Provenance, Trace, TraceError

__all__ = ["TASKS", "Provenance", "TaskMix", "Trace", "TraceError"]
