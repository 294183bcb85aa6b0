"""Routers as compiled code: episodes and rollouts run without returning to Python."""
