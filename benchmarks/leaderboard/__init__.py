"""Rows that `llmroute validate` has confirmed, as a page that compares routers."""
