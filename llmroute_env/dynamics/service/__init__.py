"""Service models: what happens to requests on a GPU, behind a border of a few questions."""
