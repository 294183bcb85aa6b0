"""How fast the simulator steps, and how fast routers decide and learn."""
