"""How well continuous batching as it is simulated here predicts real engines."""
