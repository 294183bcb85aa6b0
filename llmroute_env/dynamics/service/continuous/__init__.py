"""Continuous batching, exact by leaping over steps that are alike (docs/continuous-batching.md)."""
