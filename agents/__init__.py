"""Who decides: heuristics and learned routers. Importing it does not import torch."""
