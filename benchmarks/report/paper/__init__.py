"""The chapters on the results of arXiv 2401.07886."""
