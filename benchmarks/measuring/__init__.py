"""How long steps of continuous batching take on a machine at hand, and the profile made of it."""
