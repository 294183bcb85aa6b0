"""A training run in progress, and what it shows in TensorBoard."""
