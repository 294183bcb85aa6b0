"""Networks and the heuristics that guard them, in torch."""
