"""What a training run is to do and what it leaves: plans, cards, weights, checkpoints."""
