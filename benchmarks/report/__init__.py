"""What rows say: a page of figures and tables."""
