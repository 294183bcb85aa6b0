"""What no router can exceed, and how loose that is."""
