"""How routers are compared; the `llmroute` command lives here."""
