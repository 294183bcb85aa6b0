"""Reading trace files."""
