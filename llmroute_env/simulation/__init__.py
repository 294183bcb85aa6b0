"""E envs as arrays, and the compiled functions that move them; knows nothing of Gymnasium."""
