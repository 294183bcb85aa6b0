"""Scores of this package in the TensorBoard of a script of one's own, on the axes of our runs."""
