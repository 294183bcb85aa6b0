"""Arrival processes: times of requests, drawn from a Generator."""
