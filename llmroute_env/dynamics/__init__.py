"""What happens to requests, compiled: the only implementation."""
