"""Routers that need no training, and their settings."""
