"""Pictures and text of a moment of an episode."""
