"""Suites: what is compared on what, cut into cells that any process can run."""
