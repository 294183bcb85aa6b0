"""The chapter on the paper's own setting, in which nothing is shed."""
