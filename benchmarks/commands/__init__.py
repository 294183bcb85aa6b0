"""What each `llmroute` command takes and does."""
