"""Episodes as files: run cards, configurations as JSON, timelines."""
