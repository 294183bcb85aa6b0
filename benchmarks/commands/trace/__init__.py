"""What `llmroute trace` takes and does."""
